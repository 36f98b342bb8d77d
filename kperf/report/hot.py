"""Hot symbols: samples in, table rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

from kperf.report.callers import CallNames, CallTree, Ended
from kperf.samples import HotKey, HotRow, SampleData
from kperf.symbols.symbol import Symbol

_Value = Union[str, int]

# What rows may be sorted by: the core's key for it, and how it is read from a sum of samples.
SORT_KEYS: dict[str, tuple[int, Callable[[SampleData, HotRow], _Value]]] = {
    "symbol": (HotKey.FRAME, lambda data, row: _symbol(data, row).symbolName),
    "module": (HotKey.FRAME, lambda data, row: _symbol(data, row).module),
    "file": (HotKey.FRAME, lambda data, row: _symbol(data, row).fileName),
    "line": (HotKey.FRAME, lambda data, row: _symbol(data, row).lineNum),
    "comm": (HotKey.COMM, lambda data, row: data.stacks.comms[row.comm]),
    "pid": (HotKey.PID, lambda _data, row: row.pid),
    "tid": (HotKey.TID, lambda _data, row: row.tid),
    "cpu": (HotKey.CPU, lambda _data, row: row.cpu),
}

# Which way the call trees of rows go: to who called the sampled function, or, the rows being the
# functions in which stacks begin, to whom those called.
CALLERS, CALLEES = "callers", "callees"


class HotLine(NamedTuple):
    """Samples of one event that have the values of the sort keys in common."""

    event: str
    values: dict[str, _Value]
    share: float  # of the event's periods, 0 to 1
    samples: int
    period: int
    tree: CallTree | None = None


class _Sum:
    """What is added up of a line."""

    __slots__ = ("ends", "period", "samples")

    def __init__(self) -> None:
        self.samples = 0
        self.period = 0
        self.ends: list[Ended] = []

    def add(self, row: HotRow) -> None:
        self.samples += row.samples
        self.period += row.period
        self.ends.append(Ended(row.stack, row.samples, row.period))


def _symbol(data: SampleData, row: HotRow) -> Symbol:
    return data.stacks.symbols[row.frame]


def _largest_first(pair: tuple[int, HotLine]) -> tuple[int, int, list[str]]:
    event, line = pair
    return event, -line.period, [str(value) for value in line.values.values()]


def _rows(
    data: SampleData, keys: Sequence[str], names: CallNames | None, tree: str
) -> list[HotRow]:
    mask = HotKey.EVENT
    for key in keys:
        mask |= SORT_KEYS[key][0]
    if names is None:
        return data.hot(mask)
    rows = data.hot(mask | HotKey.STACK)
    if tree == CALLEES:
        roots = names.roots()
        rows = [row._replace(frame=roots[row.stack]) for row in rows]
    return rows


def hot_lines(data: SampleData, keys: Sequence[str], tree: str = "") -> list[HotLine]:
    """The samples by event and sort keys, the largest share of each event first.

    `tree` gives the lines call trees: CALLERS or CALLEES.
    """
    names = CallNames(data.stacks) if tree else None
    sums: dict[tuple[int, tuple[_Value, ...]], _Sum] = {}
    totals: dict[int, int] = {}
    for row in _rows(data, keys, names, tree):
        values = tuple(SORT_KEYS[key][1](data, row) for key in keys)
        sums.setdefault((row.event, values), _Sum()).add(row)
        totals[row.event] = totals.get(row.event, 0) + row.period
    lines = []
    for (event, values), found in sums.items():
        total = totals[event]
        line = HotLine(
            event=data.event_names[event],
            values=dict(zip(keys, values)),
            share=found.period / total if total else 0.0,
            samples=found.samples,
            period=found.period,
            tree=None
            if names is None
            else CallTree(
                names,
                found.ends,
                total,
                inward=tree == CALLEES,
                with_first="symbol" not in keys,
            ),
        )
        lines.append((event, line))
    lines.sort(key=_largest_first)
    return [line for _, line in lines]
