"""Names on the machine that runs the tests: what is listed can be opened."""

from __future__ import annotations

from support import privileged

import kperf
from kperf.events import grammar
from kperf.events.listing import core_events, software_events, trace_events, uncore_events
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine


def test_listed_core_and_software_events_open() -> None:
    machine = Machine()
    names = [event.name for event in (*core_events(machine), *software_events(machine))]
    assert set(names) >= {"task-clock", "page-faults"}
    generic = [name for name in names if "/" not in name]
    for name in generic:
        with kperf.Counting(f"{name}:u") as counting:
            assert counting.events[0].name == f"{name}:u"


def test_listed_device_events_are_accepted() -> None:
    machine = Machine()
    for event in uncore_events(machine):
        assert resolve_groups(grammar.parse(event.name), machine), event.name


@privileged
def test_listed_tracepoints_have_numbers() -> None:
    machine = Machine()
    names = [event.name for event in trace_events(machine)]
    assert "sched:sched_switch" in names
    sample = names[:: max(1, len(names) // 100)]
    numbers = {
        event.config
        for name in sample
        for group in resolve_groups(grammar.parse(name), machine)
        for event in group.events
    }
    assert len(numbers) == len(sample)
