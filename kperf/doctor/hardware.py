"""The PMUs: those of the cores, those of devices, and what records more than counts."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kperf.doctor.finding import LIMITED, MISSING, OK, Finding
from kperf.errors import KperfError
from kperf.machine import Machine
from kperf.spe.available import cause, spe_pmus


def check_core_pmus(machine: Machine) -> Iterator[Finding]:
    if not machine.core_pmus:
        virtual = machine.is_virtual
        yield Finding(
            "pmu",
            MISSING,
            "no hardware PMU: cycles and instructions cannot be counted"
            + (", as this virtual machine has none" if virtual else ""),
            "have its host give the guest a PMU (QEMU: -cpu host,pmu=on), or use cpu-clock and "
            "task-clock"
            if virtual
            else "look for the PMU's driver in dmesg, or use cpu-clock and task-clock",
        )
        return
    for pmu in machine.core_pmus:
        events = len(pmu.event_names)
        yield Finding("pmu", OK, f"{pmu.name}: {events} named events, raw codes besides")
    if machine.read("proc/sys/kernel/nmi_watchdog") == "1":
        yield Finding(
            "pmu",
            LIMITED,
            "the kernel's watchdog holds one counter of every core",
            "sysctl kernel.nmi_watchdog=0",
        )


def check_devices(machine: Machine) -> Iterator[Finding]:
    devices = [name for name in machine.pmu_names if machine.pmu(name).is_device]
    if not devices:
        yield Finding(
            "devices",
            MISSING,
            "no uncore PMU: bandwidth of memory, caches and PCIe cannot be measured",
            "load the drivers of this chip's uncore PMUs; a virtual machine has none"
            if not machine.is_virtual
            else "measure on the host: a virtual machine has none",
        )
        return
    yield Finding("devices", OK, f"device PMUs: {len(devices)}, such as {devices[0]}")


def check_branches(machine: Machine) -> Iterator[Finding]:
    if machine.core_pmus and _records_branches():
        yield Finding("branches", OK, "the CPU records the branches before a sample")
        return
    yield Finding(
        "branches",
        MISSING,
        "no branch records: this machine has no LBR or BRBE, or does not show it",
        "leave --branch out; the call stacks of -g need no hardware",
    )


def _records_branches() -> bool:
    """Whether a session that asks for branch records opens, for this process alone."""
    from kperf.attrs import BranchSampleFilter
    from kperf.sampling import Sampling

    kinds = BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY | BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER
    try:
        Sampling("cycles:u", tids=[os.getpid()], branch_filter=int(kinds)).close()
    except KperfError:
        return False
    return True


def check_spe(machine: Machine) -> Iterator[Finding]:
    why = cause(machine)
    if why is None:
        names = ", ".join(pmu.name for pmu in spe_pmus(machine))
        yield Finding("spe", OK, f"{names}: memory accesses can be sampled")
    else:
        yield Finding("spe", MISSING, f"no SPE: {why.why}", why.fix)
