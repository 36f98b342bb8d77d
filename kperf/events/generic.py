"""The kernel's generic events and perf's spellings of them, as tables.

Source: perf_event_open(2) for the numbers; perf-list(1) for the names.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from kperf.events.event import CORE, Event
from kperf.events.event import SOFTWARE as SOFTWARE_KIND

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
    for index, operations in enumerate(_POSSIBLE):
        for operation in operations:
            plural = _OPERATIONS[operation][0] + ("es" if operation == 2 else "s")
            stem = f"{_CACHES[index][0]}-{plural}"
            misses = f"{_CACHES[index][0]}-{_OPERATIONS[operation][0]}-misses"
            names[stem] = index | operation << 8
            names[misses] = index | operation << 8 | 1 << 16
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
    """The config of a cache event in any of perf's spellings; None if it is none.

    Operation and result may stand in either order; without them, reads are meant, and all of them.
    """
    taken = None if name.endswith("-") else _take(name.lower(), _CACHES)
    if taken is None:
        return None
    index, rest = taken
    found = {"operation": 0, "result": 0}
    left = {"operation": _OPERATIONS, "result": _RESULTS}
    while rest:
        for part, table in left.items():
            taken = _take(rest, table)
            if taken is not None:
                found[part], rest = taken
                del left[part]
                break
        else:
            return None
    if found["operation"] not in _POSSIBLE[index]:
        return None
    return index | found["operation"] << 8 | found["result"] << 16


_RAW = "r(?:0x)?([0-9a-fA-F]{1,16})"


def event_of(name: str) -> Event | None:
    """An event that every machine knows by name, or a raw code."""
    lower = name.lower()
    lower = ALIASES.get(lower, lower)
    if lower in HARDWARE:
        return Event(name, CORE, TYPE_HARDWARE, HARDWARE[lower].config)
    if lower in SOFTWARE:
        row = SOFTWARE[lower]
        event = Event(name, SOFTWARE_KIND, TYPE_SOFTWARE, row.config)
        return event._replace(unit=row.unit, kernel_only=row.kernel_only)
    cache = cache_config(name)
    if cache is not None:
        return Event(name, CORE, TYPE_HW_CACHE, cache)
    raw = re.fullmatch(_RAW, name)
    return Event(name, CORE, TYPE_RAW, int(raw[1], 16)) if raw is not None else None


# What the generic events are called in the sysfs events of Arm core PMUs, by type and config: where
# cores differ, each kind has a PMU of its own, and kernels without extended types open a generic
# event on the first one only. Source: armv8_pmuv3_perf_map and armv8_pmuv3_perf_cache_map in
# drivers/perf/arm_pmuv3.c.
_ARM_HARDWARE: dict[str, tuple[str, ...]] = {
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
_ARM_CACHES: dict[str, tuple[str, ...]] = {
    "L1-dcache-loads": ("l1d_cache",),
    "L1-dcache-load-misses": ("l1d_cache_refill",),
    "L1-icache-loads": ("l1i_cache",),
    "L1-icache-load-misses": ("l1i_cache_refill",),
    "LLC-loads": ("ll_cache_rd",),
    "LLC-load-misses": ("ll_cache_miss_rd",),
    "dTLB-loads": ("l1d_tlb",),
    "dTLB-load-misses": ("l1d_tlb_refill",),
    "iTLB-loads": ("l1i_tlb",),
    "iTLB-load-misses": ("l1i_tlb_refill",),
    "branch-loads": ("br_pred",),
    "branch-load-misses": ("br_mis_pred",),
}


@cache
def _arm_table() -> dict[tuple[int, int], tuple[str, ...]]:
    table = {(TYPE_HARDWARE, HARDWARE[name].config): own for name, own in _ARM_HARDWARE.items()}
    configs = cache_names()
    table.update({(TYPE_HW_CACHE, configs[name]): own for name, own in _ARM_CACHES.items()})
    return table


def arm_names(kind: int, config: int) -> tuple[str, ...]:
    """The names that an Arm core PMU may have for a generic event, the best first."""
    return _arm_table().get((kind, config), ())
