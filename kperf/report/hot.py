"""Hot symbols: samples in, table rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

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


class HotLine(NamedTuple):
    """Samples of one event that have the values of the sort keys in common."""

    event: str
    values: dict[str, _Value]
    share: float  # of the event's periods, 0 to 1
    samples: int
    period: int


def _symbol(data: SampleData, row: HotRow) -> Symbol:
    return data.stacks.symbols[row.frame]


def _largest_first(pair: tuple[int, HotLine]) -> tuple[int, int, list[str]]:
    event, line = pair
    return event, -line.period, [str(value) for value in line.values.values()]


def hot_lines(data: SampleData, keys: Sequence[str]) -> list[HotLine]:
    """The samples by event and sort keys, the largest share of each event first."""
    mask = HotKey.EVENT
    for key in keys:
        mask |= SORT_KEYS[key][0]
    sums: dict[tuple[int, tuple[_Value, ...]], list[int]] = {}
    totals: dict[int, int] = {}
    for row in data.hot(mask):
        values = tuple(SORT_KEYS[key][1](data, row) for key in keys)
        total = sums.setdefault((row.event, values), [0, 0])
        total[0] += row.samples
        total[1] += row.period
        totals[row.event] = totals.get(row.event, 0) + row.period
    lines = [
        (
            event,
            HotLine(
                event=data.event_names[event],
                values=dict(zip(keys, values)),
                share=period / totals[event] if totals[event] else 0.0,
                samples=samples,
                period=period,
            ),
        )
        for (event, values), (samples, period) in sums.items()
    ]
    lines.sort(key=_largest_first)
    return [line for _, line in lines]
