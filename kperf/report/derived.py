"""Values derived from counts: IPC, miss rates, GHz, CPUs utilized, rates. Each names its base.

A derived value is data: which event, divided by which, under which name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from kperf.data import Number
from kperf.events import generic
from kperf.report.counts import CountRow


class Derived(NamedTuple):
    """One value: `name` in machine output, `words` in a table after the number."""

    name: str
    value: float
    words: str


class _Ratio(NamedTuple):
    name: str
    words: str
    pairs: tuple[tuple[str, str], ...]  # event, and the event that it is a part of


# Every name that machine output can hold, in the order of its CSV columns.
NAMES = ("cpus_utilized", "ghz", "ipc", "miss_rate", "cycle_share", "per_second")

_RATIOS: tuple[_Ratio, ...] = (
    _Ratio(
        "ipc",
        "per cycle",
        (("instructions", "cycles"), ("inst_retired", "cpu_cycles")),
    ),
    _Ratio(
        "miss_rate",
        "of {base}",
        (
            ("branch-misses", "branches"),
            ("cache-misses", "cache-references"),
            ("br_mis_pred_retired", "br_retired"),
            ("br_mis_pred", "br_pred"),
            ("l1d_cache_refill", "l1d_cache"),
            ("l1i_cache_refill", "l1i_cache"),
            ("l2d_cache_refill", "l2d_cache"),
            ("l1d_tlb_refill", "l1d_tlb"),
            ("l1i_tlb_refill", "l1i_tlb"),
            ("l2d_tlb_refill", "l2d_tlb"),
            ("ll_cache_miss", "ll_cache"),
            ("ll_cache_miss_rd", "ll_cache_rd"),
        ),
    ),
    _Ratio(
        "cycle_share",
        "of {base}",
        (
            ("stalled-cycles-frontend", "cycles"),
            ("stalled-cycles-backend", "cycles"),
            ("stall_frontend", "cpu_cycles"),
            ("stall_backend", "cpu_cycles"),
        ),
    ),
)

_CYCLES = ("cycles", "cpu_cycles")
_CLOCKS = ("task-clock", "cpu-clock")

_PMU_TERM = re.compile(r"[^/]*/([^/,]*)/")

# Where a count was taken: the same place, PMU and levels make two counts comparable.
_Where = tuple[object, ...]


def _base_name(row: CountRow) -> str:
    """An event's name without PMU and modifiers, in the spelling of the tables."""
    match = _PMU_TERM.match(row.event.name)
    name = (match[1] if match else row.event.name.partition(":")[0]).lower()
    if row.event.type == generic.TYPE_HW_CACHE:
        return f"cache {row.event.config:#x}"
    return generic.ALIASES.get(name, name)


def _where(row: CountRow, *, levels: bool) -> _Where:
    event = row.event
    place = tuple(row.place.items())
    if not levels:
        return place
    return (*place, event.pmu, event.exclude_user, event.exclude_kernel, event.exclude_guest)


class _Table:
    """The counts of a report by name and place, for finding what a value is derived from."""

    def __init__(self, rows: Sequence[CountRow]) -> None:
        self._counts: dict[tuple[str, _Where], tuple[str, Number]] = {}
        for row in rows:
            if row.total:
                for levels in (True, False):
                    key = (_base_name(row), _where(row, levels=levels))
                    self._counts.setdefault(key, (row.event.name, row.total))

    def find(
        self, row: CountRow, names: Sequence[str], *, levels: bool
    ) -> tuple[str, Number] | None:
        for name in names:
            found = self._counts.get((name, _where(row, levels=levels)))
            if found is not None:
                return found
        return None


def _ratios(row: CountRow, count: Number, table: _Table) -> list[Derived]:
    name = _base_name(row)
    if row.event.type == generic.TYPE_HW_CACHE and row.event.config >> 16 & 1:
        base = table.find(row, [f"cache {row.event.config & ~(1 << 16):#x}"], levels=True)
        return [Derived("miss_rate", count / base[1], f"of {base[0]}")] if base else []
    derived = []
    for ratio in _RATIOS:
        parts = [part for event, part in ratio.pairs if event == name]
        base = table.find(row, parts, levels=True)
        if base is not None:
            derived.append(Derived(ratio.name, count / base[1], ratio.words.format(base=base[0])))
    return derived


def derive(row: CountRow, table: _Table, duration_ns: int) -> list[Derived]:
    """What one row says beside its count. Nothing is derived from what was not counted."""
    if row.total is None:
        return []
    name = _base_name(row)
    if name in _CLOCKS:
        return (
            [Derived("cpus_utilized", row.total / duration_ns, "CPUs utilized")]
            if duration_ns
            else []
        )
    derived = _ratios(row, row.total, table)
    clock = table.find(row, _CLOCKS, levels=False)
    if clock is None or derived:
        return derived
    if name in _CYCLES:
        return [Derived("ghz", row.total / clock[1], "GHz")]
    if row.event.unit:
        return []
    return [Derived("per_second", row.total * 1e9 / clock[1], f"per second of {clock[0]}")]


def derive_all(rows: Sequence[CountRow], duration_ns: int) -> list[list[Derived]]:
    """The derived values of each row, in the rows' order."""
    table = _Table(rows)
    return [derive(row, table, duration_ns) for row in rows]
