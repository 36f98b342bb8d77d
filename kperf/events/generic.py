"""The kernel's generic events and perf's spellings of them, as tables.

Source: perf_event_open(2) for the numbers; perf-list(1) for the names.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_HARDWARE = 0
TYPE_SOFTWARE = 1
TYPE_TRACEPOINT = 2
TYPE_HW_CACHE = 3
TYPE_RAW = 4
TYPE_BREAKPOINT = 5


class GenericEvent(NamedTuple):
    config: int
    description: str
    aliases: tuple[str, ...] = ()
    unit: str = ""
    kernel_only: bool = False  # happens in the kernel: nothing is left when that is excluded


HARDWARE: dict[str, GenericEvent] = {
    "cycles": GenericEvent(0, "CPU cycles", ("cpu-cycles",)),
    "instructions": GenericEvent(1, "instructions retired"),
    "cache-references": GenericEvent(2, "cache accesses, mostly of the last level"),
    "cache-misses": GenericEvent(3, "cache misses, mostly of the last level"),
    "branches": GenericEvent(4, "branch instructions retired", ("branch-instructions",)),
    "branch-misses": GenericEvent(5, "mispredicted branches"),
    "bus-cycles": GenericEvent(6, "bus cycles"),
    "stalled-cycles-frontend": GenericEvent(
        7, "cycles in which the front end delivered nothing", ("idle-cycles-frontend",)
    ),
    "stalled-cycles-backend": GenericEvent(
        8, "cycles in which the back end accepted nothing", ("idle-cycles-backend",)
    ),
    "ref-cycles": GenericEvent(9, "CPU cycles at the reference frequency"),
}

SOFTWARE: dict[str, GenericEvent] = {
    "cpu-clock": GenericEvent(0, "time on the CPU, by its clock", unit="ns"),
    "task-clock": GenericEvent(1, "time that the task ran", unit="ns"),
    "page-faults": GenericEvent(2, "page faults", ("faults",)),
    "context-switches": GenericEvent(3, "context switches", ("cs",), kernel_only=True),
    "cpu-migrations": GenericEvent(4, "moves to another CPU", ("migrations",), kernel_only=True),
    "minor-faults": GenericEvent(5, "page faults without input"),
    "major-faults": GenericEvent(6, "page faults that read from a device"),
    "alignment-faults": GenericEvent(7, "unaligned accesses that the kernel carried out"),
    "emulation-faults": GenericEvent(8, "instructions that the kernel carried out"),
    "dummy": GenericEvent(9, "counts nothing"),
    "bpf-output": GenericEvent(10, "output of BPF programs", kernel_only=True),
    "cgroup-switches": GenericEvent(
        11, "context switches to a task of another cgroup", kernel_only=True
    ),
}

ALIASES: dict[str, str] = {
    alias: name
    for table in (HARDWARE, SOFTWARE)
    for name, event in table.items()
    for alias in event.aliases
}

# A cache event's name is cache-operation, or cache-operation-misses in perf's spelling of each.
# The first name of each row is the one that is listed.
_CACHES: tuple[tuple[str, ...], ...] = (
    ("L1-dcache", "l1-d", "l1d", "L1-data"),
    ("L1-icache", "l1-i", "l1i", "L1-instruction"),
    ("LLC", "L2"),
    ("dTLB", "d-tlb", "Data-TLB"),
    ("iTLB", "i-tlb", "Instruction-TLB"),
    ("branch", "bpu", "btb", "bpc"),
    ("node",),
)
_OPERATIONS: tuple[tuple[str, ...], ...] = (
    ("load", "loads", "read"),
    ("store", "stores", "write"),
    ("prefetch", "prefetches", "speculative-read", "speculative-load"),
)
_RESULTS: tuple[tuple[str, ...], ...] = (
    ("refs", "reference", "ops", "access"),
    ("misses", "miss"),
)
# The operations that exist for each cache (an instruction cache is not stored to).
_POSSIBLE: tuple[tuple[int, ...], ...] = (
    (0, 1, 2),
    (0, 2),
    (0, 1, 2),
    (0, 1, 2),
    (0,),
    (0,),
    (0, 1, 2),
)


def cache_names() -> dict[str, int]:
    """The listed cache events: name to config."""
    names: dict[str, int] = {}
    for cache, operations in enumerate(_POSSIBLE):
        for operation in operations:
            plural = _OPERATIONS[operation][0] + ("es" if operation == 2 else "s")
            stem = f"{_CACHES[cache][0]}-{plural}"
            misses = f"{_CACHES[cache][0]}-{_OPERATIONS[operation][0]}-misses"
            names[stem] = cache | operation << 8
            names[misses] = cache | operation << 8 | 1 << 16
    return names


def _longest_first(table: tuple[tuple[str, ...], ...]) -> list[tuple[str, int]]:
    pairs = [(name.lower(), index) for index, row in enumerate(table) for name in row]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _take(rest: str, table: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    for name, index in _longest_first(table):
        if rest == name or rest.startswith(name + "-"):
            return index, rest[len(name) + 1 :]
    return None


def cache_config(name: str) -> int | None:
    """The config of a cache event in any of perf's spellings; None if it is none."""
    cache = _take(name.lower(), _CACHES)
    if cache is None:
        return None
    operation, result, rest = 0, 0, cache[1]
    taken = _take(rest, _OPERATIONS)
    if taken is not None:
        operation, rest = taken
    taken = _take(rest, _RESULTS)
    if taken is not None:
        result, rest = taken
    if rest or not cache[1] or operation not in _POSSIBLE[cache[0]]:
        return None
    return cache[0] | operation << 8 | result << 16


# What the generic names are called in the sysfs events of Arm core PMUs: where cores differ, each
# kind has a PMU of its own, and kernels before 6.6 open a generic event on the first one only.
ARM_NAMES: dict[str, tuple[str, ...]] = {
    "cycles": ("cpu_cycles",),
    "instructions": ("inst_retired",),
    "cache-references": ("l1d_cache",),
    "cache-misses": ("l1d_cache_refill",),
    "branches": ("br_retired", "pc_write_retired"),
    "branch-misses": ("br_mis_pred",),
    "bus-cycles": ("bus_cycles",),
    "stalled-cycles-frontend": ("stall_frontend",),
    "stalled-cycles-backend": ("stall_backend",),
}
