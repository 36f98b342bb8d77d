"""Rows for people and scripts from traces of system calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

from kperf.calls import CallRow, PmuTraceData


class Call(NamedTuple):
    """One call, apart from the read that gave it. Times in ns."""

    syscall: str
    start_ns: int
    elapsed_ns: int
    ret: int
    pid: int
    tid: int
    cpu: int
    comm: str


def calls(data: PmuTraceData, order: Iterable[int] | None = None) -> list[Call]:
    """The calls of a read, or those at some places of it."""
    columns: dict[str, Any] = data.columns()
    if not columns:
        return []
    names, comms = data.names, data.comms
    start, elapsed, ret = columns["start"], columns["elapsed"], columns["ret"]
    pid, tid, cpu = columns["pid"], columns["tid"], columns["cpu"]
    which, comm = columns["which"], columns["comm"]
    return [
        Call(names[which[i]], start[i], elapsed[i], ret[i], pid[i], tid[i], cpu[i], comms[comm[i]])
        for i in (range(len(data)) if order is None else order)
    ]


class Caller(NamedTuple):
    """One function of a call's stack."""

    symbol: str
    module: str


class SlowCall(NamedTuple):
    """A call, and who made it from the innermost out; none where no stacks were recorded."""

    call: Call
    stack: tuple[Caller, ...]


def _stack(row: Any) -> tuple[Caller, ...]:
    return tuple(Caller(symbol.symbolName, symbol.module) for symbol in row.frames)


def slowest(known: Sequence[SlowCall], data: PmuTraceData, most: int) -> list[SlowCall]:
    """The slowest of those known and those of a read, the slowest first."""
    if len(data):
        elapsed: Any = data.columns()["elapsed"]
        rows = nlargest(most, range(len(data)), key=elapsed.__getitem__)
        known = [*known, *map(SlowCall, calls(data, rows), (_stack(data[row]) for row in rows))]
    return nlargest(most, known, key=lambda slow: slow.call.elapsed_ns)


class Octave(NamedTuple):
    """Calls that took from `from_ns` to below `to_ns`; `share` is of the fullest range."""

    from_ns: int
    to_ns: int
    calls: int
    share: float


def octaves(row: CallRow) -> list[Octave]:
    """A row's histogram by powers of two, the empty ones between the others included."""
    if not row.histogram:
        return []
    found: dict[int, int] = {}
    for first, _, number in row.histogram:
        found[first.bit_length()] = found.get(first.bit_length(), 0) + number
    fullest = max(found.values())
    return [
        Octave(1 << power >> 1, 1 << power, found.get(power, 0), found.get(power, 0) / fullest)
        for power in range(min(found), max(found) + 1)
    ]
