"""Every read of sysfs, procfs and tracefs: CPUs, nodes, PMUs, limits.

`Machine(root)` reads a copied tree as well as the live system, so what depends on hardware is
tested without it. Everything is read when it is asked for and kept: a session needs little of it.
"""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE
from functools import cache

from kperf._cached import cached_property
from kperf.errors import Error, as_kperf_error, error

_EVENT_SOURCE = "sys/bus/event_source/devices"
_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_DEVICE_TREE = "sys/firmware/devicetree/base"
_HYPERVISOR = "sys/hypervisor/type"
_VIRTUAL_VENDORS = ("QEMU", "VMware, Inc.", "Xen", "Amazon EC2", "Google")
_TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


# What stands in cpuN/topology for "unknown": no file, -1, and the BAD_APICID that x86 kernels show
# as the cluster of a CPU whose caches they could not tell (arch/x86/include/asm/apicdef.h).
_UNKNOWN_PLACES = (None, -1, 0xFFFF)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The kernel's list format, `0-3,8`, as sorted numbers without repetition.

    Raises ValueError for anything else, with a range that runs backwards (`3-1`) among it.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise ValueError(f"'{part.strip()}' is no CPU number and no range such as 0-3")
        low, high = int(first), int(last) if dash else int(first)
        if high < low:
            raise ValueError(f"the range '{part.strip()}' runs backwards")
        if high >= 1 << 20:
            raise ValueError(f"there is no CPU {high}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def format_cpu_list(cpus: tuple[int, ...]) -> str:
    """The inverse of `parse_cpu_list`."""
    parts: list[str] = []
    start = previous = None
    for cpu in (*sorted(cpus), None):
        if start is not None and previous is not None and cpu != previous + 1:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = cpu
        previous = cpu
    return ",".join(parts)


# Files in events/ that say something of the event whose name they begin with.
_COMPANIONS = (".scale", ".unit", ".per-pkg", ".snapshot")


_INFINITE = float("inf")


class Pmu:
    """One directory below event_source/devices."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self._path = f"{_EVENT_SOURCE}/{name}"
        self.name = name

    @cached_property
    def type(self) -> int:
        """The number for perf_event_attr.type."""
        text = self.machine.read(f"{self._path}/type")
        if text is None or not text.isdecimal():
            raise error(
                Error.NOT_SUPPORTED_BY_KERNEL,
                f"the PMU {self.name} has no readable type",
                hint=f"look at /{self._path}/type",
            )
        return int(text)

    @cached_property
    def cpus(self) -> tuple[int, ...] | None:
        """The CPUs whose core PMU this is; None where the kernel does not say (one PMU for all).

        Empty where all of them are offline.
        """
        return self._cpu_file("cpus")

    @cached_property
    def cpumask(self) -> tuple[int, ...] | None:
        """The CPUs that read a device's counters; None for what is no device."""
        return self._cpu_file("cpumask")

    def _cpu_file(self, name: str) -> tuple[int, ...] | None:
        """None: no such file. Empty: a file, but no CPU in it that can be read."""
        if self.machine.read(f"{self._path}/{name}") is None:
            return None
        return self.machine.read_cpus(f"{self._path}/{name}") or ()

    @cached_property
    def associated_cpus(self) -> tuple[int, ...] | None:
        """The CPUs that a device stands beside, where its driver tells; else None."""
        return self.machine.read_cpus(f"{self._path}/associated_cpus")

    def number(self, name: str) -> int | None:
        """A number that a file of the PMU's directory holds, such as its identifier."""
        return self.machine.read_int(f"{self._path}/{name}")

    @property
    def is_there(self) -> bool:
        """Whether its driver still has it: it may have been unloaded since."""
        return self.machine.read(f"{self._path}/type") is not None

    @cached_property
    def midr(self) -> tuple[int, int] | None:
        """Implementer and part of the cores that this core PMU belongs to; None if not Arm's."""
        return self.machine.midr_of(min(self.cpus or (0,)))

    @property
    def is_core(self) -> bool:
        return self.name == "cpu" or self.cpus is not None

    @property
    def is_device(self) -> bool:
        return self.cpumask is not None

    @cached_property
    def formats(self) -> dict[str, str]:
        """Term to bits, such as {'event': 'config:0-7,32-35'}; "" for a file that is closed."""
        path = f"{self._path}/format"
        return {n: self.machine.read(f"{path}/{n}") or "" for n in self.machine.list_dir(path)}

    def cap(self, name: str) -> str | None:
        """What a file below caps/ says."""
        return self.machine.read(f"{self._path}/caps/{name}")

    @cached_property
    def event_names(self) -> tuple[str, ...]:
        """The names in events/, without their .scale, .unit and other companions."""
        names = self.machine.list_dir(f"{self._path}/events")
        return tuple(n for n in names if not n.endswith(_COMPANIONS))

    def event_terms(self, name: str) -> str | None:
        """The terms that a named event stands for, such as 'event=0x11,umask=0x1'."""
        return self.machine.read(f"{self._path}/events/{name}")

    def event_unit(self, name: str) -> str:
        return self.machine.read(f"{self._path}/events/{name}.unit") or ""

    def event_scale(self, name: str) -> float:
        """What a count is multiplied by; 1 where the machine says nothing."""
        text = self.machine.read(f"{self._path}/events/{name}.scale")
        if text is None:
            return 1.0
        try:
            scale = float(text)
        except ValueError:
            scale = _INFINITE
        if not abs(scale) < _INFINITE:  # "nan" is not
            raise error(
                Error.INVALID_EVENT,
                f"{self.name}: events/{name}.scale says '{text}', which is no number",
                hint="report it to the driver's authors, or write the event's terms instead",
            )
        return scale


def _pairs(block: str) -> dict[str, str]:
    """Lines of 'key : value'."""
    lines = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


class Machine:
    """The machine below `root`: "/" is this one, anything else a copied tree."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.join(root, "")
        self.is_live = os.path.abspath(root) == "/"
        self._pmus: dict[str, Pmu] = {}

    # ---- reading ----

    def read(self, path: str) -> str | None:
        """A small file's text without surrounding white space; None where it cannot be read."""
        try:
            with open(self.root + path, "rb") as file:
                return file.read().decode("utf-8", "replace").strip()
        except OSError as failure:
            _check_looked(failure)
            return None

    def read_bytes(self, path: str) -> bytes:
        """A file as it is; empty where it cannot be read."""
        try:
            with open(self.root + path, "rb") as file:
                return file.read()
        except OSError as failure:
            _check_looked(failure)
            return b""

    def read_int(self, path: str) -> int | None:
        text = self.read(path)
        try:
            return int(text, 0) if text else None
        except ValueError:
            return None

    def read_cpus(self, path: str) -> tuple[int, ...] | None:
        text = self.read(path)
        try:
            return parse_cpu_list(text) if text else None
        except ValueError:
            return None

    def list_dir(self, path: str) -> list[str]:
        """The names in a directory; empty where there is none."""
        try:
            return sorted(os.listdir(self.root + path))
        except OSError as failure:
            _check_looked(failure)
            return []

    def read_link(self, path: str) -> str:
        """Where a symbolic link points to; "" where there is none."""
        try:
            return os.readlink(self.root + path)
        except OSError as failure:
            _check_looked(failure)
            return ""

    # ---- CPUs ----

    @cached_property
    def online_cpus(self) -> tuple[int, ...]:
        return self.read_cpus(f"{_CPU}/online") or (0,)

    @cached_property
    def present_cpus(self) -> tuple[int, ...]:
        return self.read_cpus(f"{_CPU}/present") or self.online_cpus

    def cpu_topology(self, cpu: int, name: str) -> int | None:
        """One number of cpuN/topology; None where the kernel does not know it."""
        value = self.read_int(f"{_CPU}/cpu{cpu}/topology/{name}")
        return None if value in _UNKNOWN_PLACES else value

    def core_siblings(self, cpu: int) -> tuple[int, ...]:
        """The CPUs of one core; only itself where the kernel does not tell."""
        return self.read_cpus(f"{_CPU}/cpu{cpu}/topology/thread_siblings_list") or (cpu,)

    def nodes(self) -> tuple[int, ...]:
        """The NUMA nodes; empty on a kernel without NUMA."""
        return self.read_cpus(f"{_NODE}/online") or ()

    def node_cpus(self, node: int) -> tuple[int, ...]:
        return self.read_cpus(f"{_NODE}/node{node}/cpulist") or ()

    def node_memory(self, node: int) -> int | None:
        """Bytes of a node's memory: `Node 0 MemTotal:  65433124 kB`."""
        for line in (self.read(f"{_NODE}/node{node}/meminfo") or "").splitlines():
            words = line.split()
            if "MemTotal:" in words and words[-2].isdecimal():
                return int(words[-2]) * 1024
        return None

    def node_distances(self, node: int) -> tuple[int, ...]:
        """The distances to all nodes in their order, 10 to itself; empty where not known."""
        words = (self.read(f"{_NODE}/node{node}/distance") or "").split()
        return tuple(int(word) for word in words if word.isdecimal())

    def _cpuinfo(self, cpu: int) -> dict[str, str]:
        """A CPU's block of /proc/cpuinfo; the first one where none is its own."""
        blocks = (self.read("proc/cpuinfo") or "").split("\n\n")
        own = (
            block for block in blocks if _pairs(block.partition("\n")[0]) == {"processor": str(cpu)}
        )
        return _pairs(next(own, blocks[0]))

    @cached_property
    def _first_cpuinfo(self) -> dict[str, str]:
        return self._cpuinfo(self.online_cpus[0])

    def midr_of(self, cpu: int) -> tuple[int, int] | None:
        """Implementer and part of an Arm core, from MIDR_EL1 or /proc/cpuinfo; None elsewhere."""
        register = self.read_int(f"{_CPU}/cpu{cpu}/regs/identification/midr_el1")
        if register is not None:
            return register >> 24 & 0xFF, register >> 4 & 0xFFF
        info = self._cpuinfo(cpu)
        try:
            return int(info["CPU implementer"], 0), int(info["CPU part"], 0)
        except (KeyError, ValueError):
            return None

    @cached_property
    def midr(self) -> tuple[int, int] | None:
        """Implementer and part of the first core that is online; None elsewhere than on Arm."""
        return self.midr_of(self.online_cpus[0])

    @cached_property
    def arch(self) -> str:
        """As `uname -m` says; from /proc/cpuinfo in a copied tree."""
        if self.is_live:
            return os.uname().machine
        return "aarch64" if "CPU implementer" in self._first_cpuinfo else "x86_64"

    @cached_property
    def cpu_maker(self) -> str:
        """Who made the CPUs: GenuineIntel, or an Arm implementer's number such as 0x48; "" if not
        known."""
        if self.midr is not None:
            return f"{self.midr[0]:#04x}"
        return self._first_cpuinfo.get("vendor_id", "")

    def _x86_number(self, name: str) -> int | None:
        text = self._first_cpuinfo.get(name, "")
        return int(text) if _is_number(text) else None

    @property
    def x86_family(self) -> int | None:
        """The CPU's family as x86 numbers it; None elsewhere."""
        return self._x86_number("cpu family")

    @property
    def x86_model(self) -> int | None:
        """The CPU's model within its family; None elsewhere than on x86."""
        return self._x86_number("model")

    @cached_property
    def cpu_model(self) -> str | None:
        """What the CPU calls itself; for Arm cores of our tables their name."""
        if "model name" in self._first_cpuinfo:
            return self._first_cpuinfo["model name"]
        if self.midr is None:
            return None
        from kperf.events.arm import core_events

        core = core_events(*self.midr)
        return core.name if core else "implementer 0x{:02x} part 0x{:03x}".format(*self.midr)

    @property
    def is_virtual(self) -> bool:
        """Whether the CPU or the firmware says that this is a virtual machine."""
        info = self.read("proc/cpuinfo") or ""
        flags = next((line for line in info.splitlines() if line.startswith("flags")), "")
        vendor = self.read("sys/class/dmi/id/sys_vendor") or ""
        return (
            "hypervisor" in flags.split()
            or self.read(_HYPERVISOR) is not None
            or "hypervisor" in self.list_dir(_DEVICE_TREE)
            or vendor in _VIRTUAL_VENDORS
        )

    @cached_property
    def cpu_id(self) -> str | None:
        """As `perf` names a CPU: vendor, family, model and stepping, or Arm's MIDR."""
        info = self._first_cpuinfo
        if "vendor_id" in info:
            names = ("vendor_id", "cpu family", "model", "stepping")
            return ",".join(info.get(name, "") for name in names)
        midr = self.read("sys/devices/system/cpu/cpu0/regs/identification/midr_el1")
        return midr or None

    @cached_property
    def kernel(self) -> str | None:
        return self.read("proc/sys/kernel/osrelease")

    @cached_property
    def max_sample_rate(self) -> int | None:
        """kernel.perf_event_max_sample_rate, in samples a second; None where it is not known."""
        return self.read_int("proc/sys/kernel/perf_event_max_sample_rate")

    @cached_property
    def max_stack(self) -> int | None:
        """kernel.perf_event_max_stack, in frames; None where it is not known."""
        return self.read_int("proc/sys/kernel/perf_event_max_stack")

    @cached_property
    def paranoid(self) -> int | None:
        """kernel.perf_event_paranoid; None on a kernel without perf events."""
        return self.read_int("proc/sys/kernel/perf_event_paranoid")

    # ---- PMUs ----

    @cached_property
    def pmu_names(self) -> tuple[str, ...]:
        return tuple(self.list_dir(_EVENT_SOURCE))

    def pmu(self, name: str) -> Pmu:
        """A PMU by its exact name, which must be one of `pmu_names`."""
        if name not in self._pmus:
            self._pmus[name] = Pmu(self, name)
        return self._pmus[name]

    @cached_property
    def core_pmus(self) -> tuple[Pmu, ...]:
        """The PMUs of the CPU cores: one, or several where cores differ; none in most guests.

        Those of cores that are all offline are left out.
        """
        pmus = map(self.pmu, self.pmu_names)
        return tuple(pmu for pmu in pmus if pmu.is_core and pmu.cpus != ())

    # ---- tracefs ----

    @cached_property
    def _events_dir(self) -> str:
        for path in _TRACEFS:
            if os.path.isdir(f"{self.root}{path}/events"):
                return f"{self.root}{path}/events"
        if not _may_enter(self.root + _TRACEFS[0]):  # mounted, and closed: only open to root
            raise _tracefs_refused(f"/{_TRACEFS[0]}")
        if not self.is_live:
            raise error(
                Error.TRACEFS_UNAVAILABLE,
                f"{self.root} has no copy of tracefs",
                hint=f"copy {_TRACEFS[0]}/events into it as well",
            )
        return f"{_own_tracefs()}/events"

    def trace_systems(self) -> list[str]:
        """The subsystems that have tracepoints, such as 'sched'."""
        return _trace_dirs(self._events_dir)

    def trace_names(self, system: str) -> list[str]:
        """The tracepoints of a subsystem."""
        return _trace_dirs(f"{self._events_dir}/{system}")

    def trace_id(self, system: str, name: str) -> int | None:
        """A tracepoint's number for perf_event_attr.config; None where there is none such."""
        text = self._trace_file(system, name, "id")
        return int(text) if text is not None and text.strip().isdecimal() else None

    def trace_format(self, system: str, name: str) -> str | None:
        """The kernel's description of a tracepoint's fields; None where there is none such."""
        return self._trace_file(system, name, "format")

    def trace_header(self, name: str) -> str | None:
        """The kernel's description of the ring (header_page) or its records (header_event)."""
        return self._trace_file("", "", name)

    def _trace_file(self, system: str, name: str, file_name: str) -> str | None:
        try:
            path = f"{self._events_dir}/{system}/{name}/{file_name}"
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except PermissionError:
            raise _tracefs_refused(self._events_dir) from None
        except OSError as failure:
            _check_looked(failure)
            return None


def _check_looked(failure: OSError) -> None:
    """What cannot be read counts as not there. What no descriptor was left to read does not."""
    if failure.errno in (EMFILE, ENFILE):
        raise as_kperf_error(failure) from None


def _may_enter(path: str) -> bool:
    """Whether a directory can be looked into, or is not there at all."""
    try:
        os.stat(f"{path}/.")
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _trace_dirs(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except PermissionError:
        raise _tracefs_refused(path) from None
    except OSError as failure:
        _check_looked(failure)
        return []


def _tracefs_refused(path: str) -> Exception:
    return error(
        Error.NO_PERMISSION,
        f"tracepoints may not be read: {path} is closed to this user",
        hint="run as root, or let your group in with: mount -o remount,gid=GROUP,mode=750 "
        "/sys/kernel/tracing",
    )


@cache
def _own_tracefs() -> str:
    """A tracefs that only this process sees, for systems where none is mounted.

    Its descriptor is left open on purpose, one a process: the mount lives as long as it.
    """
    from kperf._core import ffi, lib

    fd = ffi.new("int32_t *")
    if lib.kp_tracefs_open(fd) == 0:
        return f"/proc/self/fd/{fd[0]}"
    errno = lib.kp_last_error().sys_errno
    raise error(
        Error.TRACEFS_UNAVAILABLE,
        f"tracepoints need tracefs, which is not mounted ({os.strerror(errno)})",
        hint="run as root, or have root run: mount -t tracefs nodev /sys/kernel/tracing",
        errno=errno,
    )
