"""Whether this machine lets SPE be used, and why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.machine import Machine, Pmu

_PREFIX = "arm_spe_"
_MELTDOWN = "sys/devices/system/cpu/vulnerabilities/meltdown"
_TREES = ("sys/firmware/devicetree/base", "proc/device-tree")

# Cores that have no SPE, by implementer and part: Arm's technical reference manuals.
_WITHOUT: dict[tuple[int, int], str] = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x43, 0x0AF): "ThunderX2",
}


class Cause(NamedTuple):
    """Why there is no SPE, and what to do."""

    why: str
    fix: str


def _other_architecture(machine: Machine) -> Cause | None:
    if machine.arch == "aarch64":
        return None
    return Cause(
        f"SPE is a part of Arm cores, and this machine is {machine.arch}",
        "sample with 'kperf record' (PmuTaskType.SAMPLING)",
    )


def _core_without(machine: Machine) -> Cause | None:
    name = _WITHOUT.get(machine.midr) if machine.midr else None
    if name is None:
        return None
    return Cause(f"{name} cores have no SPE", "sample with 'kperf record' (PmuTaskType.SAMPLING)")


def _page_table_isolation(machine: Machine) -> Cause | None:
    """The driver refuses to work where the kernel unmaps itself from programs."""
    command_line = (machine.read("proc/cmdline") or "").split()
    asked = {"kpti=1", "kpti=on", "kpti=y"} & set(command_line)
    if not asked and "PTI" not in (machine.read(_MELTDOWN) or ""):
        return None
    return Cause(
        "kernel page-table isolation is on, under which the driver does not work",
        "boot with kpti=off",
    )


def _module_missing(machine: Machine) -> Cause | None:
    modules = machine.read("proc/modules") or ""
    if any(line.split(" ")[0] == "arm_spe_pmu" for line in modules.splitlines()):
        return None
    directory = f"lib/modules/{machine.kernel}"
    if "arm_spe_pmu.ko" in (machine.read(f"{directory}/modules.builtin") or ""):
        return None
    if "arm_spe_pmu.ko" not in (machine.read(f"{directory}/modules.dep") or ""):
        return Cause(
            "this kernel was built without the driver arm_spe_pmu",
            "boot a kernel with CONFIG_ARM_SPE_PMU",
        )
    return Cause("the driver arm_spe_pmu is not loaded", "modprobe arm_spe_pmu")


def _virtual_machine(machine: Machine) -> Cause | None:
    if not machine.is_virtual:
        return None
    return Cause(
        "the driver is here, and this virtual machine shows it no hardware",
        "sample on the host",
    )


def _firmware(machine: Machine) -> Cause | None:
    """ACPI tells in MADT, which is not readable; a device tree has a node for it."""
    described = any("spe-pmu" in machine.list_dir(tree) for tree in _TREES)
    return Cause(
        "the driver is here and does not work with this hardware"
        if described
        else "the driver is here, and the firmware does not describe SPE",
        "see 'dmesg | grep spe', and look for a newer firmware or its setting for SPE",
    )


# In the order in which one hides the next.
_CAUSES: tuple[Callable[[Machine], Cause | None], ...] = (
    _other_architecture,
    _core_without,
    _page_table_isolation,
    _module_missing,
    _virtual_machine,
    _firmware,
)


def cause(machine: Machine) -> Cause | None:
    """Why there is no SPE; None where there is."""
    if spe_pmus(machine):
        return None
    return next(found for find in _CAUSES if (found := find(machine)) is not None)


def spe_pmus(machine: Machine) -> list[Pmu]:
    """The PMUs of SPE: one for all cores, as a rule."""
    return [machine.pmu(name) for name in machine.pmu_names if name.startswith(_PREFIX)]


def unavailable(found: Cause) -> KperfError:
    """The exception for a machine without SPE."""
    return error(Error.SPE_UNAVAILABLE, f"no SPE here: {found.why}", hint=found.fix)
