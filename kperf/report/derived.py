"""Values derived from counts: IPC, miss rates, GHz, CPUs utilized, rates. Each names its base.

A derived value is data: which event, divided by which, under which name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from kperf.data import Number
from kperf.events import generic
from kperf.events.event import CORE, DEVICE, SOFTWARE, Event
from kperf.report.counts import CountRow


class Derived(NamedTuple):
    """One value: `name` in machine output, `words` in a table after the number.

    `is_share`: in percent for people, in 0..1 for machines.
    """

    name: str
    value: float
    words: str
    is_share: bool = False


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

# A cache event goes by its config, as it has many spellings.
_CACHE = "cache "
_CACHE_MISS = 1 << 16

_PMU_TERM = re.compile(r"[^/]*/([^/,]*)/")

# Where a count was taken: the same place, PMU and levels make two counts comparable.
_Where = tuple[object, ...]
_LEVELS = ("exclude_user", "exclude_kernel", "exclude_hv", "exclude_host", "exclude_guest")


def _base_name(event: Event) -> str:
    """An event's name without PMU and modifiers, in the spelling of the tables."""
    if event.kind != CORE and (event.kind != SOFTWARE or event.pmu):
        return event.name  # a device has cycles too, and they are none of the cores'
    match = _PMU_TERM.match(event.name)
    name = (match[1] if match else event.name.partition(":")[0]).lower()
    name = generic.ALIASES.get(name, name)
    cache = None if name in generic.HARDWARE else generic.cache_config(name)
    return name if cache is None else f"{_CACHE}{cache:#x}"


class _Table:
    """The counts of a report by name and place, for finding what a value is derived from."""

    def __init__(self, rows: Sequence[CountRow]) -> None:
        pmus = {row.event.pmu for row in rows if row.event.kind == CORE and row.event.pmu}
        self._has_kinds_of_cores = len(pmus) > 1
        self._counts: dict[tuple[str, _Where], tuple[str, Number]] = {}
        for row in rows:
            if row.total:
                for levels in (True, False):
                    key = (_base_name(row.event), self._where(row, levels=levels))
                    self._counts.setdefault(key, (row.event.name, row.total))

    def _where(self, row: CountRow, *, levels: bool) -> _Where:
        event = row.event
        place = tuple(row.place.items())
        if not levels:
            return place
        pmu = event.pmu if self._has_kinds_of_cores else ""
        return (*place, pmu, *(getattr(event, field) for field in _LEVELS))

    def find(
        self, row: CountRow, names: Sequence[str], *, levels: bool
    ) -> tuple[str, Number] | None:
        """The first of these events that was counted where this row was, and how much."""
        where = self._where(row, levels=levels)
        found = (self._counts.get((name, where)) for name in names)
        return next((count for count in found if count is not None), None)


def _ratios(row: CountRow, count: Number, table: _Table) -> list[Derived]:
    name = _base_name(row.event)
    cache = int(name[len(_CACHE) :], 16) if name.startswith(_CACHE) else 0
    if cache & _CACHE_MISS:
        base = table.find(row, [f"{_CACHE}{cache & ~_CACHE_MISS:#x}"], levels=True)
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
    if row.total is None or row.event.kind == DEVICE:
        return []
    name = _base_name(row.event)
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
