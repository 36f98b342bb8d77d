"""The events of a machine as they are listed, and that each can be counted by its listed name."""

from __future__ import annotations

import pytest
from unit.trees import A72_EVENTS, ARM_COMMON, DDRC, TRACEPOINTS, MachineOf, Tree

import kperf
from kperf.events import generic, grammar
from kperf.events.arm import core_codes
from kperf.events.listing import (
    KINDS,
    ListedEvent,
    all_names,
    core_events,
    software_events,
    trace_events,
    uncore_events,
    with_details,
)
from kperf.events.names import resolve
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine


def listed(machine: Machine) -> list[ListedEvent]:
    """Everything of every kind; what the tree lacks is left out, as `kperf list` does."""
    events: list[ListedEvent] = []
    for kind in KINDS.values():
        try:
            events += kind(machine)
        except kperf.KperfError as failure:
            if failure.code != kperf.Error.TRACEFS_UNAVAILABLE:
                raise
    return events


def test_every_listed_name_is_accepted(any_machine: Machine) -> None:
    events = listed(any_machine)
    assert len(events) >= 13
    for event in events:
        assert resolve_groups(grammar.parse(event.name), any_machine), event.name


def test_no_name_is_listed_twice(any_machine: Machine) -> None:
    names = [event.name for event in listed(any_machine)]
    assert len(set(names)) == len(names)


def test_a_listed_encoding_is_what_its_name_stands_for(any_machine: Machine) -> None:
    """Where it is a PMU's terms, they are accepted in the name's place and mean the same."""
    checked = 0
    for event in listed(any_machine):
        if event.kind in ("core", "uncore") and event.pmu:
            (by_name,) = resolve(event.name, any_machine)
            (by_terms,) = resolve(event.encoding, any_machine)
            same = ("type", "config", "config1", "config2", "kind", "cpus")
            assert [getattr(by_name, f) for f in same] == [getattr(by_terms, f) for f in same]
            assert by_name.unit == event.unit
            checked += 1
    assert checked >= 1


def test_listed_numbers_are_what_is_opened(any_machine: Machine) -> None:
    numbered = [with_details(e, any_machine) for e in listed(any_machine) if not e.pmu]
    for event in numbered:
        fields = dict(term.split("=") for term in event.encoding.split(","))
        for opened in resolve(event.name, any_machine):
            if opened.pmu:
                continue  # one kind of core among several: it has numbers of its own
            assert (opened.type, opened.config) == (int(fields["type"]), int(fields["config"], 0))


def test_core_events_of_an_arm_server(machine_of: MachineOf) -> None:
    events = {event.name: event for event in core_events(machine_of("kunpeng-128"))}
    assert set(generic.HARDWARE) | set(generic.cache_names()) <= set(events)
    assert set(ARM_COMMON) <= set(events)
    assert set(core_codes(0x48, 0xD01)) <= set(events)
    # What the kernel lists has its description from the tables, and its encoding from the kernel.
    assert events["inst_retired"].description == "Instructions retired"
    assert events["inst_retired"].encoding == "armv8_pmuv3_0/event=0x0008/"
    assert events["fetch_bubble"].encoding == "armv8_pmuv3_0/event=0x2014/"
    assert {event.kind for event in events.values()} == {"core"}


def test_a_pmus_name_that_means_something_else_when_bare(machine_of: MachineOf) -> None:
    names = [event.name for event in core_events(machine_of("xeon"))]
    assert "branch-misses" in names  # the generic one
    assert "cpu/branch-misses/" in names  # the PMU's own
    assert "mem-loads" in names
    assert "cpu/mem-loads/" not in names


def test_core_events_of_several_kinds_of_cores(machine_of: MachineOf) -> None:
    names = {event.name for event in core_events(machine_of("hybrid"))}
    assert {"cycles", "cpu_core/slots/", "cpu_atom/instructions/"} <= names
    assert "cpu_atom/slots/" not in names
    assert "slots" not in names
    names = {event.name for event in core_events(machine_of("big-little"))}
    assert {f"armv8_cortex_a72/{name}/" for name in A72_EVENTS} <= names


def test_a_guest_without_a_pmu_lists_no_core_events(machine_of: MachineOf) -> None:
    machine = machine_of("guest")
    assert list(core_events(machine)) == []
    assert [event.name for event in uncore_events(machine)] == ["msr/tsc/"]


def test_uncore_events(machine_of: MachineOf) -> None:
    events = {event.name: event for event in uncore_events(machine_of("kunpeng-96"))}
    for die in (1, 3, 5, 7):
        for channel in range(4):
            for name in DDRC:
                assert events[f"hisi_sccl{die}_ddrc{channel}/{name}/"].kind == "uncore"
    events = {event.name: event for event in uncore_events(machine_of("xeon"))}
    assert events["power/energy-pkg/"].unit == "Joules"
    assert events["uncore_imc_10/cas_count_read/"].unit == "MiB"
    assert events["uncore_imc_10/cas_count_read/"].pmu == "uncore_imc_10"
    assert not any(name.endswith((".unit/", ".scale/")) for name in events)


def test_software_events(machine_of: MachineOf) -> None:
    events = {event.name: event for event in software_events(machine_of("guest"))}
    assert set(events) == set(generic.SOFTWARE)
    assert events["task-clock"].unit == "ns"
    assert events["task-clock"].encoding == "type=1,config=0x1"
    assert all(event.description for event in events.values())


def test_tracepoints(machine_of: MachineOf) -> None:
    machine = machine_of("xeon")
    events = list(trace_events(machine))
    assert {event.name for event in events} == {
        f"{system}:{name}"
        for system, names in TRACEPOINTS.items()
        for name in names
        if system != "ftrace"
    }
    assert not any(event.encoding for event in events)
    details = {event.name: with_details(event, machine).encoding for event in events}
    assert details["sched:sched_switch"] == f"type=2,config={314:#x}"


def test_details_of_what_has_none_to_read(machine_of: MachineOf) -> None:
    machine = machine_of("xeon")
    (first, *_) = software_events(machine)
    assert with_details(first, machine) is first
    gone = ListedEvent("sched:gone", "trace")
    assert with_details(gone, machine) == gone


def test_tracepoints_of_a_tree_without_tracefs(machine_of: MachineOf) -> None:
    with pytest.raises(kperf.KperfError) as caught:
        list(trace_events(machine_of("guest")))
    assert caught.value.code == kperf.Error.TRACEFS_UNAVAILABLE


def test_what_cannot_be_counted_by_its_name_alone_is_not_listed(tree: Tree) -> None:
    events = {
        "open": "event=0x1,core=?",
        "broken": "event=zz",
        "wild": "event=0x1",
        "wild.scale": "much",
        "good": "event=0x2",
        "good.unit": "B",
        "good.per-pkg": "1",
        "good.snapshot": "1",
    }
    tree.pmu("odd", formats={"event": "config:0-7", "core": "config:8-15"}, events=events)
    tree.pmu("gone", formats={"event": "config:0-7"}, events={"a": "event=1"}, cpumask=())
    assert [(e.name, e.unit) for e in uncore_events(tree.machine())] == [("odd/good/", "B")]


def test_all_names_of_a_tree_without_tracefs(machine_of: MachineOf) -> None:
    names = set(all_names(machine_of("guest")))
    assert {"cycles", "LLC-load-misses", "task-clock", "msr/tsc/"} <= names
    assert set(all_names(machine_of("xeon"))) > {"sched:sched_switch", "mem-loads"}
