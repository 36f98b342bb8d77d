"""Metrics over core events: their tables, the groups they are counted in, their values."""

from __future__ import annotations

import re
from typing import Any

import pytest
from unit.trees import ARM_FORMATS, MachineOf, Tree

from kperf.errors import Error, KperfError
from kperf.events.event import CORE, Event
from kperf.events.resolve import resolve_groups
from kperf.metrics.metric import choose, event_groups, metrics, recipe_for, sets
from kperf.report.counts import CountRow
from kperf.report.metrics import metric_values
from kperf.request import ask_for, resolve_asked

# Implementer and part of each core that has a table.
CORES = {
    "TSV110": 0x481FD010,
    "Neoverse N1": 0x413FD0C1,
    "Neoverse V1": 0x411FD401,
    "Neoverse N2": 0x410FD490,
    "Neoverse V2": 0x410FD4F0,
}


@pytest.mark.parametrize("core", CORES)
def test_every_event_exists_on_its_cores(tree: Tree, core: str) -> None:
    tree.cpus(range(2))
    tree.arm_cpuinfo([CORES[core]] * 2)
    tree.pmu("armv8_pmuv3_0", formats=ARM_FORMATS, cpus=range(2))
    machine = tree.machine()
    here = [metric.name for metric in metrics().values() if recipe_for(metric, machine)]
    assert {"ipc", "branch-miss-rate", "l1d-miss-rate", "frontend-stalled"} <= set(here)
    chosen = choose(here, machine)
    groups = resolve_asked(ask_for(event_groups(chosen), None), machine)
    assert all(event.kind == CORE for group in groups for event in group.events)
    assert all(recipe.source for _, recipe in chosen)


@pytest.mark.parametrize("core", sorted(CORES.keys() - {"Neoverse N1"}))
def test_level_1_fits_into_one_group(tree: Tree, core: str) -> None:
    tree.cpus(range(2))
    tree.arm_cpuinfo([CORES[core]] * 2)
    tree.pmu("armv8_pmuv3_0", formats=ARM_FORMATS, cpus=range(2))
    (group,) = event_groups(choose(["topdown-l1"], tree.machine()))
    assert len(group.split(",")) <= 7  # six counters, and one for cycles


def test_level_2_is_of_level_1(machine_of: MachineOf) -> None:
    """What level 2 takes apart adds up to level 1, whatever is counted."""
    chosen = choose(["topdown-l1", "topdown-l2"], machine_of("kunpeng-128"))
    counts: dict[str, float] = {
        "cpu_cycles": 1000,
        "inst_retired": 1500,
        "inst_spec": 1900,
        "fetch_bubble": 700,
        "fetch_latency_bubble": 90,
        "br_mis_pred": 30,
        "other_flush": 10,
        "exe_stall_cycle": 400,
        "mem_stall_anyload": 250,
        "mem_stall_anystore": 50,
    }
    value = {metric.name: recipe.formula.value(counts) for metric, recipe in chosen}
    first = ["frontend-bound", "bad-speculation", "retiring", "backend-bound"]
    assert sum(value[name] or 0 for name in first) == pytest.approx(1)
    assert value["retiring"] == 0.375
    assert value["frontend-bound"] == pytest.approx(
        (value["fetch-latency-bound"] or 0) + (value["fetch-bandwidth-bound"] or 0)
    )
    assert value["bad-speculation"] == pytest.approx(
        (value["branch-mispredicts"] or 0) + (value["machine-clears"] or 0)
    )
    assert (value["core-bound"], value["memory-bound"]) == (0.1, 0.3)


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        ("Neoverse V2", (0.25, 0.05, 0.45, 0.25)),
        ("Neoverse N2", (0.2, 0.06, 0.54, 0.4)),
        ("Neoverse V1", (0.25 - 0.04, 0.05 + 0.04, 0.45, 0.25)),
    ],
)
def test_level_1_of_neoverse(tree: Tree, core: str, expected: tuple[float, ...]) -> None:
    tree.cpus([0])
    tree.arm_cpuinfo([CORES[core]])
    counts: dict[str, float] = {
        "cpu_cycles": 1000,
        "stall_slot_frontend": 2000,
        "stall_slot_backend": 2000,
        "stall_slot": 4000 if core != "Neoverse N2" else 3000,
        "op_retired": 900,
        "op_spec": 1000,
        "br_mis_pred": 10,
    }
    chosen = choose(["topdown-l1"], tree.machine())
    values = [recipe.formula.value(counts) for _, recipe in chosen]
    assert values == pytest.approx(list(expected))


def test_sets_name_metrics() -> None:
    for members in sets().values():
        assert set(members) <= set(metrics())
    assert not set(sets()) & set(metrics())
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in [*metrics(), *sets()])


def test_groups_are_shared(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-128")
    assert event_groups(choose(["ipc", "ipc"], machine)) == ["{instructions,cycles}"]
    groups = event_groups(choose(["core-bound", "memory-bound"], machine))
    assert groups == ["{exe_stall_cycle,mem_stall_anyload,r7005,cpu_cycles}"]
    resolved = resolve_asked(ask_for(groups, None), machine)
    assert [event.config for event in resolved[0].events] == [0x7001, 0x7004, 0x7005, 0x11]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("ipcc", Error.INVALID_METRIC, "did you mean ipc"),
        ("topdown-l3", Error.INVALID_METRIC, "did you mean topdown-l"),
        ("topdown-l1", Error.NOT_SUPPORTED_BY_CPU, "is not known for this CPU"),
        ("l2-miss-rate", Error.NOT_SUPPORTED_BY_CPU, "Xeon"),
    ],
)
def test_refused(machine_of: MachineOf, name: str, code: Error, words: str) -> None:
    with pytest.raises(KperfError, match=words) as caught:
        choose([name], machine_of("xeon"))
    assert caught.value.code == code


# ---- values ----


def row(name: str, total: int | None, group: int = 0, **known: Any) -> CountRow:
    event = Event(name, CORE, 0, pmu=known.pop("pmu", ""))
    state = "counted" if total is not None else "not-counted"
    return CountRow(event, group, known, state, total, total or 0, 100, 100)


def test_values_stand_behind_the_first_event(machine_of: MachineOf) -> None:
    chosen = choose(["ipc", "branch-miss-rate"], machine_of("xeon"))
    rows = [
        *(row("task-clock", 5, -1), row("instructions:u", 30), row("cycles:u", 20)),
        *(row("branch-misses", 1, 1), row("branches", 4, 1)),
    ]
    values = metric_values(rows, chosen)
    found = [[(value.name, value.value) for value in of_row] for of_row in values]
    assert found == [[], [("ipc", 1.5)], [], [("branch-miss-rate", 0.25)], []]
    assert not values[1][0].is_share
    assert values[3][0].is_share


def test_values_of_each_place_and_kind_of_core(machine_of: MachineOf) -> None:
    chosen = choose(["ipc"], machine_of("hybrid"))
    rows = [
        row("cpu_core/instructions/", 10, 0, pmu="cpu_core", cpu=0),
        row("cpu_core/cycles/", 5, 0, pmu="cpu_core", cpu=0),
        row("cpu_core/instructions/", 9, 0, pmu="cpu_core", cpu=1),
        row("cpu_core/cycles/", 9, 0, pmu="cpu_core", cpu=1),
        row("cpu_atom/instructions/", 1, 1, pmu="cpu_atom", cpu=8),
        row("cpu_atom/cycles/", 4, 1, pmu="cpu_atom", cpu=8),
    ]
    values = [[value.value for value in of_row] for of_row in metric_values(rows, chosen)]
    assert values == [[2.0], [], [1.0], [], [0.25], []]


def test_nothing_is_made_of_what_was_not_counted(machine_of: MachineOf) -> None:
    chosen = choose(["ipc"], machine_of("xeon"))
    assert metric_values([row("instructions", 3), row("cycles", None)], chosen) == [[], []]
    assert metric_values([row("instructions", 3), row("cycles", 0)], chosen) == [[], []]
    assert metric_values([row("instructions", 3)], chosen) == [[]]


def test_hybrid_gets_a_group_a_kind_of_core(machine_of: MachineOf) -> None:
    machine = machine_of("hybrid")
    (text,) = event_groups(choose(["ipc"], machine))
    (asked,) = ask_for(text, None)
    groups = resolve_groups([asked.text], machine)
    assert [[event.pmu for event in group.events] for group in groups] == [
        ["cpu_atom"] * 2,
        ["cpu_core"] * 2,
    ]
