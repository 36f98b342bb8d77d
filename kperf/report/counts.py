"""Counts by event, thread, CPU, core, cluster, NUMA node or socket: data in, table rows out."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple, Union

from kperf.data import COUNTED, NOT_COUNTED, NOT_SUPPORTED, Number, PmuData
from kperf.events.event import Event
from kperf.topo import Topology

Place = dict[str, Union[int, str, None]]
_Key = tuple[tuple[str, Union[int, str, None]], ...]


class CountRow(NamedTuple):
    """One event in one place. `total` is None where nothing was counted."""

    event: Event
    group: int
    place: Place
    state: str
    total: Number | None
    raw_count: int
    enabled_ns: int
    running_ns: int
    unscheduled: int = 0  # counters of this row that never got their turn, though others did
    mean: float | None = None
    stddev: float | None = None
    runs: int = 1

    @property
    def running(self) -> float | None:
        """The share of its time in which it was counted, 0 to 1; None where it had no time."""
        return self.running_ns / self.enabled_ns if self.enabled_ns else None

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to count: its task did not run. A pinned counter in error looks
        the same, and that is a loss."""
        return self.state == NOT_COUNTED and not self.enabled_ns and not self.event.pinned


class _Sum:
    """The counters of one row, added up."""

    __slots__ = ("count", "counted", "enabled", "raw", "running", "seen", "unscheduled")

    def __init__(self) -> None:
        self.count = self.raw = self.enabled = self.running = 0
        self.counted = self.unscheduled = self.seen = 0

    def state(self) -> str:
        if self.counted:
            return COUNTED
        return NOT_COUNTED if self.seen else NOT_SUPPORTED


_Place = Callable[[Topology, int, int, int, str], _Key]

# How a counter's CPU, pid, tid and comm name the row that it belongs to. Machines described by a
# device tree number the cores of each cluster from 0, so a core is named by its cluster as well.
PLACES: dict[str, _Place] = {
    "total": lambda _topo, _cpu, _pid, _tid, _comm: (),
    "thread": lambda _topo, _cpu, pid, tid, comm: (("pid", pid), ("tid", tid), ("comm", comm)),
    "cpu": lambda _topo, cpu, _pid, _tid, _comm: (("cpu", cpu),),
    "core": lambda topo, cpu, _pid, _tid, _comm: (
        ("core", topo.place(cpu).core),
        ("cluster", topo.place(cpu).cluster),
        ("socket", topo.place(cpu).socket),
    ),
    "cluster": lambda topo, cpu, _pid, _tid, _comm: (
        ("cluster", topo.place(cpu).cluster),
        ("socket", topo.place(cpu).socket),
    ),
    "numa": lambda topo, cpu, _pid, _tid, _comm: (("numa", topo.place(cpu).numa),),
    "socket": lambda topo, cpu, _pid, _tid, _comm: (("socket", topo.place(cpu).socket),),
}

# What orders the rows: the outermost place first, threads by number.
_ORDER = ("socket", "numa", "cluster", "core", "cpu", "pid", "tid")


def _sort_key(key: _Key) -> tuple[int, ...]:
    place = dict(key)
    return tuple(value if isinstance(value := place.get(name), int) else -1 for name in _ORDER)


def _names(data: PmuData) -> list[str]:
    """Each row's comm, decoded once a different one."""
    width = 16
    raw = bytes(data.columns().get("comm", memoryview(b"")))
    cache: dict[bytes, str] = {}
    names = []
    for first in range(0, len(raw), width):
        comm = raw[first : first + width]
        if comm not in cache:
            cache[comm] = comm.partition(b"\0")[0].decode("utf-8", "replace")
        names.append(cache[comm])
    return names


def _sums(data: PmuData, by: str, topology: Topology) -> dict[tuple[_Key, int], _Sum]:
    place = PLACES[by]
    columns = data.columns()
    sums: dict[tuple[_Key, int], _Sum] = {}
    keys: dict[tuple[int, int, int, str], _Key] = {}
    if not columns:
        return sums
    supported = _STATE_NUMBERS
    for cpu, pid, tid, comm, event, count, raw, enabled, running, state in zip(
        columns["cpu"],
        columns["pid"],
        columns["tid"],
        _names(data),
        columns["event"],
        columns["count"],
        columns["value"],
        columns["enabled"],
        columns["running"],
        columns["state"],
    ):
        where = (cpu, pid, tid, comm)
        key = keys.get(where)
        if key is None:
            key = keys[where] = place(topology, cpu, pid, tid, comm)
        total = sums.get((key, event))
        if total is None:
            total = sums[key, event] = _Sum()
        if state == supported[NOT_SUPPORTED]:
            continue
        total.seen += 1
        total.count += count
        total.raw += raw
        total.enabled += enabled
        total.running += running
        total.counted += state == supported[COUNTED]
        total.unscheduled += enabled > 0 and running == 0
    return sums


_STATE_NUMBERS = {COUNTED: 0, NOT_COUNTED: 1, NOT_SUPPORTED: 2}


def _scaled(count: int, event: Event) -> Number:
    return count * event.scale if event.is_scaled else count


def aggregate(
    data: PmuData, events: Sequence[Event], groups: Sequence[int], by: str, topology: Topology
) -> list[CountRow]:
    """The rows of a read, added up by place (a key of `PLACES`), in order of place and event.

    A count is the sum of its counters' own scaled counts, so each is scaled by its own run share.
    """
    sums = _sums(data, by, topology)
    return [
        CountRow(
            event=events[index],
            group=groups[index],
            place=dict(key),
            state=total.state(),
            total=_scaled(total.count, events[index]) if total.counted else None,
            raw_count=total.raw,
            enabled_ns=total.enabled,
            running_ns=total.running,
            unscheduled=total.unscheduled if total.counted else 0,
        )
        for (key, index), total in sorted(
            sums.items(), key=lambda item: (_sort_key(item[0][0]), item[0][1])
        )
    ]


def _deviation(values: Sequence[Number], mean: float) -> float:
    """The sample's standard deviation; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _combine(rows: Sequence[CountRow]) -> CountRow:
    first = rows[0]
    counts = [row.total for row in rows if row.total is not None]
    summed = first._replace(
        raw_count=sum(row.raw_count for row in rows) // len(rows),
        enabled_ns=sum(row.enabled_ns for row in rows) // len(rows),
        running_ns=sum(row.running_ns for row in rows) // len(rows),
        unscheduled=max(row.unscheduled for row in rows),
        runs=len(counts),
    )
    if not counts:
        return summed
    mean = sum(counts) / len(counts)
    return summed._replace(
        state=COUNTED,
        total=mean if first.event.is_scaled else round(mean),
        mean=mean,
        stddev=_deviation(counts, mean),
    )


def combine_runs(runs: Sequence[Sequence[CountRow]]) -> list[CountRow]:
    """Repeated runs as one: means with their deviation. Rows meet by place and event.

    Threads differ from run to run in their numbers: with several runs, use total rows.
    """
    gathered: dict[tuple[_Key, int], list[CountRow]] = {}
    for rows in runs:
        seen: dict[_Key, int] = {}
        for row in rows:
            key = tuple(row.place.items())
            position = seen.get(key, 0)
            seen[key] = position + 1
            gathered.setdefault((key, position), []).append(row)
    return [_combine(rows) for rows in gathered.values()]


def multiplexed(rows: Sequence[CountRow]) -> list[CountRow]:
    """The rows that were counted for a part of their time only."""
    return [
        row
        for row in rows
        if row.state == COUNTED and row.running is not None and row.running < 0.995
    ]


def _unfit_groups(rows: Sequence[CountRow]) -> list[str]:
    """The groups that had time and of which nothing was counted. A kernel may take a group that its
    PMU can never hold: Arm's leaves a disabled leader out when it looks, devices have counters for
    one event alone."""
    groups: dict[int, list[CountRow]] = {}
    for row in rows:
        if row.group >= 0 and row.state != NOT_SUPPORTED:
            groups.setdefault(row.group, []).append(row)
    names = [
        ",".join(row.event.name for row in members if row.place == members[0].place)
        for members in groups.values()
        if all(row.state == NOT_COUNTED and row.enabled_ns for row in members)
    ]
    return [
        f"the group {{{group}}} never found its counters free at once: take events out of it"
        for group in names
    ]


def count_notes(rows: Sequence[CountRow], hidden: Container[str] = ()) -> list[str]:
    """What the numbers do not hold, in words; `hidden` names events of which others tell."""
    notes = []
    missing = [row for row in rows if row.state == NOT_SUPPORTED and row.event.name not in hidden]
    without_count = (
        ("not supported here", missing),
        ("not counted", [row for row in rows if row.state == NOT_COUNTED and not row.is_idle]),
        ("nothing to count, as the target did not run", [row for row in rows if row.is_idle]),
    )
    for words, found in without_count:
        if found:
            names = dict.fromkeys(row.event.name for row in found)
            notes.append(f"{words}: {', '.join(names)}")
    notes += _unfit_groups(rows)
    shared = multiplexed(rows)
    if shared:
        lowest = min(row.running or 0.0 for row in shared)
        notes.append(f"{len(shared)} scaled up from a part of the time (at least {lowest:.0%})")
    waiting: dict[str, int] = {}
    for row in rows:
        waiting[row.event.name] = waiting.get(row.event.name, 0) + row.unscheduled
    notes += [f"{name}: {n} of its counters never got a turn" for name, n in waiting.items() if n]
    return notes
