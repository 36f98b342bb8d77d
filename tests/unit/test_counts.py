"""Counters added up by place: data in, rows out."""

from __future__ import annotations

import itertools
import math
import statistics
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import privileged
from unit.trees import KUNPENG_SOCKETS, MachineOf, Tree

import kperf
from kperf.data import COUNTED, NOT_COUNTED, NOT_SUPPORTED
from kperf.events.event import CORE, DEVICE, SOFTWARE, Event
from kperf.machine import Machine
from kperf.report.counts import (
    PLACES,
    CountRow,
    aggregate,
    combine_runs,
    count_notes,
    multiplexed,
)
from kperf.topo import Topology

CYCLES = Event("cycles", CORE, 0, 0)
INSTRUCTIONS = Event("instructions", CORE, 0, 1)
CLOCK = Event("task-clock", SOFTWARE, 1, 1, unit="ns")
READS = Event("uncore_imc_0/cas_count_read/", DEVICE, 9, unit="MiB", scale=2.0**-14)

MS = 1_000_000
_STATES = {COUNTED: 0, NOT_COUNTED: 1, NOT_SUPPORTED: 2}


class Counter(NamedTuple):
    """One counter as the core reads it. `count` is scaled already; `value` None: the same."""

    count: int = 0
    event: int = 0
    cpu: int = -1
    pid: int = -1
    tid: int = -1
    comm: str = ""
    enabled: int = 10 * MS
    running: int = 10 * MS
    state: str = COUNTED
    value: int | None = None


class Columns:
    """Counters in the columns of a read."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters

    def columns(self) -> dict[str, memoryview]:
        def column(form: str, values: Any) -> memoryview:
            return memoryview(array(form, values))

        counters = self._counters
        names = b"".join(c.comm.encode().ljust(16, b"\0") for c in counters)
        return {
            "count": column("Q", [c.count for c in counters]),
            "value": column("Q", [c.count if c.value is None else c.value for c in counters]),
            "enabled": column("Q", [c.enabled for c in counters]),
            "running": column("Q", [c.running for c in counters]),
            "event": column("I", [c.event for c in counters]),
            "cpu": column("i", [c.cpu for c in counters]),
            "pid": column("i", [c.pid for c in counters]),
            "tid": column("i", [c.tid for c in counters]),
            "state": column("B", [_STATES[c.state] for c in counters]),
            "comm": column("B", names),
        }


def rows_of(
    counters: Sequence[Counter],
    by: str = "total",
    events: Sequence[Event] = (CYCLES, INSTRUCTIONS),
    machine: Machine | None = None,
    groups: Sequence[int] | None = None,
) -> list[CountRow]:
    topology = Topology(machine or Machine())
    numbers = groups or [-1] * len(events)
    data: Any = Columns(counters)
    return aggregate(data, events, numbers, by, topology)


# ---- places ----


def per_cpu(cpus: int, event: int = 0) -> list[Counter]:
    """A counter on each CPU, whose count is a power of two: a sum tells its parts."""
    return [Counter(1 << cpu % 60, event=event, cpu=cpu) for cpu in range(cpus)]


def expected_sums(cpus: int, size: int) -> list[int]:
    counts = [1 << cpu % 60 for cpu in range(cpus)]
    return [sum(counts[first : first + size]) for first in range(0, cpus, size)]


@pytest.mark.parametrize("cpus", [96, 128])
@pytest.mark.parametrize(
    ("by", "size"),
    [("total", 0), ("socket", 2), ("numa", 4), ("cluster", 1), ("core", 1), ("cpu", 1)],
)
def test_a_kunpeng_by_each_place(machine_of: MachineOf, cpus: int, by: str, size: int) -> None:
    sizes = {"total": cpus, "socket": cpus // 2, "numa": cpus // 4, "cluster": 4}
    rows = rows_of(per_cpu(cpus), by, machine=machine_of(f"kunpeng-{cpus}"))
    assert [row.total for row in rows] == expected_sums(cpus, sizes.get(by, 1))
    assert sum(row.total or 0 for row in rows) == sum(1 << cpu % 60 for cpu in range(cpus))
    assert sum(row.enabled_ns for row in rows) == cpus * 10 * MS


@pytest.mark.parametrize(
    ("by", "first", "last"),
    [
        ("total", {}, {}),
        ("socket", {"socket": 36}, {"socket": 3180}),
        ("numa", {"numa": 0}, {"numa": 3}),
        ("cluster", {"cluster": 54, "socket": 36}, {"cluster": 1204, "socket": 3180}),
        (
            "core",
            {"core": 10, "cluster": 54, "socket": 36},
            {"core": 1055, "cluster": 1204, "socket": 3180},
        ),
        ("cpu", {"cpu": 0}, {"cpu": 95}),
    ],
)
def test_rows_say_where_they_are(
    machine_of: MachineOf, by: str, first: dict[str, int], last: dict[str, int]
) -> None:
    rows = rows_of(per_cpu(96)[::-1], by, machine=machine_of("kunpeng-96"))
    assert rows[0].place == first
    assert rows[-1].place == last


def test_a_pmu_counted_on_one_cpu_of_a_die_is_its_nodes(machine_of: MachineOf) -> None:
    counters = [Counter(10 + node, cpu=24 * node) for node in range(4)]
    rows = rows_of(counters, "numa", [READS], machine_of("kunpeng-96"))
    assert [row.place["numa"] for row in rows] == [0, 1, 2, 3]
    assert [row.raw_count for row in rows] == [10, 11, 12, 13]
    rows = rows_of(counters, "socket", [READS], machine_of("kunpeng-96"))
    assert [(row.place["socket"], row.raw_count) for row in rows] == [
        (KUNPENG_SOCKETS[0], 21),
        (KUNPENG_SOCKETS[1], 25),
    ]


def test_threads_of_one_core_are_one_row(machine_of: MachineOf) -> None:
    counters = [Counter(1 << cpu, cpu=cpu) for cpu in (48, 32, 16, 0)]
    rows = rows_of(counters, "core", machine=machine_of("xeon"))
    assert [(row.place["core"], row.place["socket"], row.total) for row in rows] == [
        (0, 0, 1 << 0 | 1 << 32),
        (0, 1, 1 << 16 | 1 << 48),
    ]


def test_cores_that_are_numbered_anew_in_each_cluster(machine_of: MachineOf) -> None:
    rows = rows_of(per_cpu(6), "core", machine=machine_of("big-little"))
    assert [row.total for row in rows] == [1, 2, 4, 8, 16, 32]
    assert [row.place["cluster"] for row in rows] == [0, 0, 0, 0, 1, 1]


def test_places_that_the_kernel_does_not_know(machine_of: MachineOf, tree: Tree) -> None:
    rows = rows_of(per_cpu(6), "numa", machine=machine_of("big-little"))
    assert [(row.place, row.total) for row in rows] == [({"numa": None}, 63)]
    rows = rows_of(per_cpu(3), "cluster", machine=tree.machine())
    assert [(row.place, row.total) for row in rows] == [({"cluster": None, "socket": None}, 7)]


def test_threads() -> None:
    counters = [
        Counter(1, pid=30, tid=31, comm="worker"),
        Counter(2, pid=30, tid=30, comm="main"),
        Counter(4, pid=9, tid=9, comm="a name of 15 ch"),
        Counter(8, pid=30, tid=31, comm="worker", event=1),
        Counter(16, pid=30, tid=31, comm="worker", cpu=1),
    ]
    rows = rows_of(counters, "thread")
    assert [(row.place, row.event.name, row.total) for row in rows] == [
        ({"pid": 9, "tid": 9, "comm": "a name of 15 ch"}, "cycles", 4),
        ({"pid": 30, "tid": 30, "comm": "main"}, "cycles", 2),
        ({"pid": 30, "tid": 31, "comm": "worker"}, "cycles", 17),
        ({"pid": 30, "tid": 31, "comm": "worker"}, "instructions", 8),
    ]


def test_names_that_are_no_utf8() -> None:
    class Odd(Columns):
        def columns(self) -> dict[str, memoryview]:
            return {**super().columns(), "comm": memoryview(b"\xff\xfe".ljust(16, b"\0"))}

    data: Any = Odd([Counter(1, pid=1, tid=1)])
    (row,) = aggregate(data, [CYCLES], [-1], "thread", Topology(Machine()))
    assert row.place["comm"] == "\N{REPLACEMENT CHARACTER}" * 2


def test_rows_stand_by_place_and_then_in_the_events_order(machine_of: MachineOf) -> None:
    counters = [
        Counter(cpu, event=event, cpu=cpu) for event, cpu in itertools.product((1, 0), (95, 0, 50))
    ]
    rows = rows_of(counters, "cpu", groups=[3, 3], machine=machine_of("kunpeng-96"))
    assert [(row.place["cpu"], row.event.name) for row in rows] == [
        (cpu, name) for cpu in (0, 50, 95) for name in ("cycles", "instructions")
    ]
    assert {row.group for row in rows} == {3}


def test_every_place_is_tested() -> None:
    assert set(PLACES) == {"total", "thread", "cpu", "core", "cluster", "numa", "socket"}


@pytest.mark.parametrize("by", sorted(PLACES))
def test_nothing_at_all(by: str) -> None:
    assert rows_of([], by) == []
    assert aggregate(kperf.PmuData(), [CYCLES], [-1], by, Topology(Machine())) == []


@given(
    st.lists(
        st.builds(
            Counter,
            st.integers(0, 1 << 50),
            event=st.integers(0, 1),
            cpu=st.integers(-1, 3),
            pid=st.integers(-1, 3),
            tid=st.integers(-1, 3),
            comm=st.sampled_from(["", "a", "b"]),
            enabled=st.integers(1, 1 << 40),
            running=st.integers(0, 1 << 40),
            state=st.sampled_from([COUNTED, COUNTED, NOT_COUNTED, NOT_SUPPORTED]),
            value=st.integers(0, 1 << 50),
        ),
        max_size=12,
    ),
    st.sampled_from(sorted(PLACES)),
)
def test_nothing_is_lost_or_counted_twice(counters: list[Counter], by: str) -> None:
    rows = rows_of(counters, by)
    for event in (CYCLES, INSTRUCTIONS):
        mine = [c for c in counters if c.event == (event is INSTRUCTIONS)]
        theirs = [row for row in rows if row.event is event]
        seen = [c for c in mine if c.state != NOT_SUPPORTED]
        assert sum(row.raw_count for row in theirs) == sum(c.value for c in seen)
        assert sum(row.enabled_ns for row in theirs) == sum(c.enabled for c in seen)
        assert sum(row.running_ns for row in theirs) == sum(c.running for c in seen)
        assert bool(theirs) is bool(mine)
    places = [(tuple(row.place.items()), row.event.name) for row in rows]
    assert len(set(places)) == len(places)


# ---- scaling, shares and states ----


def test_each_counter_is_scaled_by_its_own_share() -> None:
    """One ran half of its time, one all of it: the sum is of what each would have counted."""
    counters = [
        Counter(200, value=100, enabled=10 * MS, running=5 * MS, cpu=0),
        Counter(300, value=300, enabled=10 * MS, running=10 * MS, cpu=1),
    ]
    (row,) = rows_of(counters)
    assert (row.total, row.raw_count) == (500, 400)
    assert (row.enabled_ns, row.running_ns) == (20 * MS, 15 * MS)
    assert row.running == 0.75


def test_a_scaled_event_is_a_float() -> None:
    (row,) = rows_of([Counter(1 << 14, cpu=0), Counter(1 << 13, cpu=1)], events=[READS])
    assert row.total == 1.5
    assert isinstance(row.total, float)
    assert row.raw_count == 3 << 13
    (row,) = rows_of([Counter(7)])
    assert isinstance(row.total, int)


def counter_in(state: str) -> Counter:
    """A counter as the core gives it in that state."""
    if state == COUNTED:
        return Counter(5)
    if state == NOT_COUNTED:
        return Counter(0, running=0, state=NOT_COUNTED)
    return Counter(0, enabled=0, running=0, state=NOT_SUPPORTED)


@pytest.mark.parametrize(
    ("states", "state", "total", "running"),
    [
        ([COUNTED], COUNTED, 5, 1.0),
        ([NOT_COUNTED], NOT_COUNTED, None, 0.0),
        ([NOT_SUPPORTED], NOT_SUPPORTED, None, None),
        ([COUNTED, NOT_COUNTED], COUNTED, 5, 0.5),
        ([NOT_SUPPORTED, COUNTED], COUNTED, 5, 1.0),
        ([NOT_SUPPORTED, NOT_COUNTED], NOT_COUNTED, None, 0.0),
        ([NOT_SUPPORTED, NOT_SUPPORTED], NOT_SUPPORTED, None, None),
    ],
)
def test_states(states: list[str], state: str, total: int | None, running: float | None) -> None:
    (row,) = rows_of([counter_in(s) for s in states])
    assert (row.state, row.total, row.running) == (state, total, running)


def test_a_count_of_zero_is_a_count() -> None:
    (row,) = rows_of([Counter(0)])
    assert (row.state, row.total) == (COUNTED, 0)


def test_a_counter_that_was_never_enabled_has_no_share() -> None:
    (row,) = rows_of([Counter(0, enabled=0, running=0, state=NOT_COUNTED)])
    assert (row.state, row.total, row.running, row.unscheduled) == (NOT_COUNTED, None, None, 0)


def test_counters_that_got_no_turn_though_others_did() -> None:
    waiting = counter_in(NOT_COUNTED)
    (row,) = rows_of([Counter(5), waiting, waiting])
    assert (row.state, row.total, row.unscheduled) == (COUNTED, 5, 2)
    (row,) = rows_of([waiting, waiting])
    assert row.unscheduled == 0  # the state says it already


# ---- repeated runs ----


def run_of(*totals: int | None, event: Event = CYCLES) -> list[CountRow]:
    """The rows of one run: one event in several groups, or not counted where None."""
    return [
        CountRow(
            event=event,
            group=number,
            place={},
            state=NOT_COUNTED if total is None else COUNTED,
            total=total,
            raw_count=total or 0,
            enabled_ns=10 * MS,
            running_ns=0 if total is None else 5 * MS,
        )
        for number, total in enumerate(totals)
    ]


def test_runs_give_their_mean_and_deviation() -> None:
    (row,) = combine_runs([run_of(10), run_of(14), run_of(18)])
    assert (row.total, row.mean, row.stddev, row.runs) == (14, 14.0, 4.0, 3)
    assert (row.raw_count, row.enabled_ns, row.running_ns) == (14, 10 * MS, 5 * MS)
    assert row.running == 0.5
    assert row.state == COUNTED


def test_a_mean_is_rounded_to_a_count() -> None:
    (row,) = combine_runs([run_of(1), run_of(2), run_of(2)])
    assert (row.total, row.mean) == (2, 5 / 3)
    assert isinstance(row.total, int)
    (row,) = combine_runs([run_of(1, event=READS), run_of(2, event=READS)])
    assert (row.total, row.mean) == (1.5, 1.5)


def test_one_run_does_not_deviate() -> None:
    (row,) = combine_runs([run_of(7)])
    assert (row.total, row.mean, row.stddev, row.runs) == (7, 7.0, 0.0, 1)


def test_a_run_in_which_nothing_was_counted_is_no_zero() -> None:
    (row,) = combine_runs([run_of(10), run_of(None), run_of(20)])
    assert (row.state, row.mean, row.runs) == (COUNTED, 15.0, 2)
    (row,) = combine_runs([run_of(None), run_of(30)])
    assert (row.state, row.total, row.runs) == (COUNTED, 30, 1)
    (row,) = combine_runs([run_of(None), run_of(None)])
    assert (row.state, row.total, row.mean, row.stddev, row.runs) == (
        *(NOT_COUNTED, None, None, None),
        0,
    )


def test_an_event_that_stands_twice_is_two_rows() -> None:
    rows = combine_runs([run_of(1, 100), run_of(3, 300)])
    assert [(row.group, row.mean) for row in rows] == [(0, 2.0), (1, 200.0)]


def test_runs_meet_by_place(machine_of: MachineOf) -> None:
    machine = machine_of("xeon")
    runs = [
        rows_of([Counter(n, cpu=0), Counter(10 * n, cpu=16)], "socket", machine=machine)
        for n in (1, 3)
    ]
    assert [(row.place, row.mean) for row in combine_runs(runs)] == [
        ({"socket": 0}, 2.0),
        ({"socket": 1}, 20.0),
    ]
    assert combine_runs([]) == []


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=8))
def test_deviations_are_the_samples(totals: list[int]) -> None:
    (row,) = combine_runs([run_of(total) for total in totals])
    assert row.mean is not None
    assert row.stddev is not None
    assert math.isclose(row.mean, statistics.fmean(totals), abs_tol=1e-6)
    assert math.isclose(row.stddev, statistics.stdev(totals), rel_tol=1e-6, abs_tol=1e-6)


# ---- notes ----


def row(event: Event, state: str = COUNTED, share: float = 1.0, unscheduled: int = 0) -> CountRow:
    running = round(share * 10 * MS)
    return CountRow(event, -1, {}, state, 1, 1, 10 * MS, running, unscheduled)


@pytest.mark.parametrize(
    ("rows", "notes"),
    [
        ([], []),
        ([row(CYCLES), row(CLOCK)], []),
        ([row(CYCLES, share=0.996)], []),
        ([row(CYCLES, NOT_SUPPORTED, 0), row(CLOCK)], ["not supported here: cycles"]),
        (
            [row(CYCLES, NOT_COUNTED, 0), row(INSTRUCTIONS, NOT_COUNTED, 0)],
            ["not counted: cycles, instructions"],
        ),
        ([row(CYCLES, NOT_SUPPORTED, 0)] * 3, ["not supported here: cycles"]),
        (
            [row(CYCLES, share=0.5), row(INSTRUCTIONS, share=0.25), row(CLOCK)],
            ["2 scaled up from a part of the time (at least 25%)"],
        ),
        (
            [row(CYCLES, unscheduled=2), row(CYCLES, unscheduled=1), row(CLOCK)],
            ["cycles: 3 of its counters never got a turn"],
        ),
    ],
)
def test_notes(rows: list[CountRow], notes: list[str]) -> None:
    assert count_notes(rows) == notes


def test_multiplexed_rows() -> None:
    rows = [row(CYCLES, share=0.5), row(CLOCK), row(INSTRUCTIONS, NOT_COUNTED, 0.0)]
    assert multiplexed(rows) == rows[:1]


# ---- on real counters ----


@privileged
@pytest.mark.parametrize("by", sorted(PLACES))
def test_real_counters_add_up(by: str) -> None:
    with kperf.Counting("task-clock,context-switches,{page-faults,cpu-clock}") as counting:
        counting.enable()
        sum(range(100_000))
        counting.disable()
        data = counting.read()
    rows = aggregate(data, counting.events, counting.groups, by, counting.topology)
    for index, event in enumerate(counting.events):
        theirs = [found for found in rows if found.event is event]
        assert sum(found.total or 0 for found in theirs) == sum(
            r.count for r in data if r.evt == event.name
        )
        assert {found.group for found in theirs} == {counting.groups[index]}
        assert all(found.state == COUNTED for found in theirs)
