"""Values that follow from counts, and what they are not derived from."""

from __future__ import annotations

import pytest
from unit.trees import MachineOf

from kperf.data import COUNTED, NOT_COUNTED
from kperf.events import grammar
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine
from kperf.report.counts import CountRow, Place
from kperf.report.derived import NAMES, derive_all

S = 1_000_000_000


def count(machine: Machine, text: str, total: float | None, place: Place | None = None) -> CountRow:
    ((event,),) = [group.events for group in resolve_groups(grammar.parse(text), machine)]
    state = NOT_COUNTED if total is None else COUNTED
    return CountRow(event, -1, place or {}, state, total, int(total or 0), S, S)


def values(rows: list[CountRow], duration_ns: int = S) -> list[dict[str, float]]:
    derived = derive_all(rows, duration_ns)
    assert len(derived) == len(rows)
    assert {value.name for values in derived for value in values} <= set(NAMES)
    return [{value.name: value.value for value in values} for values in derived]


def words(rows: list[CountRow]) -> list[list[str]]:
    return [[value.words for value in values] for values in derive_all(rows, S)]


@pytest.fixture
def xeon(machine_of: MachineOf) -> Machine:
    return machine_of("xeon")


@pytest.fixture
def kunpeng(machine_of: MachineOf) -> Machine:
    return machine_of("kunpeng-96")


def test_the_default_events(xeon: Machine) -> None:
    rows = [
        count(xeon, "task-clock", S // 2),
        count(xeon, "context-switches", 10),
        count(xeon, "page-faults", 0),
        count(xeon, "cycles", 1_500_000_000),
        count(xeon, "instructions", 3_000_000_000),
        count(xeon, "branches", 600_000_000),
        count(xeon, "branch-misses", 6_000_000),
    ]
    assert values(rows) == [
        {"cpus_utilized": 0.5},
        {"per_second": 20.0},
        {"per_second": 0.0},
        {"ghz": 3.0},
        {"ipc": 2.0},
        {"per_second": 1.2e9},
        {"miss_rate": 0.01},
    ]
    assert words(rows) == [
        ["CPUs utilized"],
        ["per second of task-clock"],
        ["per second of task-clock"],
        ["GHz"],
        ["per cycle"],
        ["per second of task-clock"],
        ["of branches"],
    ]


@pytest.mark.parametrize(
    ("part", "base", "name"),
    [
        ("instructions", "cycles", "ipc"),
        ("instructions", "cpu-cycles", "ipc"),
        ("branch-misses", "branch-instructions", "miss_rate"),
        ("cache-misses", "cache-references", "miss_rate"),
        ("L1-dcache-load-misses", "L1-dcache-loads", "miss_rate"),
        ("l1d-read-miss", "L1-dcache-loads-refs", "miss_rate"),
        ("LLC-misses", "LLC-loads", "miss_rate"),
        ("dTLB-store-misses", "dTLB-stores", "miss_rate"),
        ("branch-load-misses", "branch-loads", "miss_rate"),
        ("stalled-cycles-frontend", "cycles", "cycle_share"),
        ("idle-cycles-backend", "cycles", "cycle_share"),
        ("cpu/instructions/", "cycles", "ipc"),
        ("cpu/instructions/u", "cycles:u", "ipc"),
        ("INSTRUCTIONS", "Cycles", "ipc"),
    ],
)
def test_ratios(xeon: Machine, part: str, base: str, name: str) -> None:
    rows = [count(xeon, base, 400), count(xeon, part, 100)]
    assert values(rows)[1] == {name: 0.25}
    assert values(rows[::-1])[0] == {name: 0.25}


@pytest.mark.parametrize(
    ("part", "base", "name"),
    [
        ("inst_retired", "cpu_cycles", "ipc"),
        ("br_mis_pred_retired", "br_retired", "miss_rate"),
        ("br_mis_pred", "br_pred", "miss_rate"),
        ("l1d_cache_refill", "l1d_cache", "miss_rate"),
        ("l2d_cache_refill", "l2d_cache", "miss_rate"),
        ("l2d_tlb_refill", "l2d_tlb", "miss_rate"),
        ("ll_cache_miss", "ll_cache", "miss_rate"),
        ("ll_cache_miss_rd", "ll_cache_rd", "miss_rate"),
        ("stall_backend", "cpu_cycles", "cycle_share"),
        ("armv8_pmuv3_0/inst_retired/", "cpu_cycles", "ipc"),
    ],
)
def test_ratios_of_arm_events(kunpeng: Machine, part: str, base: str, name: str) -> None:
    assert values([count(kunpeng, part, 100), count(kunpeng, base, 400)])[0] == {name: 0.25}


@pytest.mark.parametrize(
    ("part", "base"),
    [
        ("instructions:u", "cycles"),
        ("instructions", "cycles:u"),
        ("instructions:u", "cycles:k"),
        ("instructions:u", "cycles:uk"),
        ("instructions:G", "cycles"),
        ("instructions:G", "cycles:H"),
        ("L1-dcache-load-misses", "L1-dcache-stores"),
        ("L1-dcache-load-misses", "LLC-loads"),
        ("L1-dcache-loads", "L1-dcache-load-misses"),
        ("instructions", "branches"),
    ],
)
def test_counts_that_do_not_belong_together(xeon: Machine, part: str, base: str) -> None:
    assert values([count(xeon, part, 100), count(xeon, base, 400)])[0] == {}


@pytest.mark.parametrize("letters", ["u", "k", "uk", "G", "uH", "pp"])
def test_the_same_modifiers_on_both(xeon: Machine, letters: str) -> None:
    rows = [count(xeon, f"cycles:{letters}", 400), count(xeon, f"instructions:{letters}", 100)]
    assert values(rows)[1] == {"ipc": 0.25}


def test_a_base_is_named_as_it_was_written(xeon: Machine) -> None:
    rows = [count(xeon, "branches:u", 400), count(xeon, "branch-misses:u", 100)]
    assert words(rows)[1] == ["of branches:u"]


@pytest.mark.parametrize("base", [0, None])
def test_bases_of_zero_and_none(xeon: Machine, base: int | None) -> None:
    rows = [
        count(xeon, "task-clock", base),
        count(xeon, "cycles", base),
        count(xeon, "instructions", 100),
        count(xeon, "LLC-loads", base),
        count(xeon, "LLC-load-misses", 1),
        count(xeon, "cs", 5),
    ]
    found = values(rows)
    assert found[0] == ({"cpus_utilized": 0.0} if base == 0 else {})
    assert found[1:] == [{}] * 5


def test_nothing_follows_from_what_was_not_counted(xeon: Machine) -> None:
    rows = [count(xeon, "instructions", None), count(xeon, "cycles", 400)]
    assert values(rows)[0] == {}


def test_no_time_at_all(xeon: Machine) -> None:
    assert values([count(xeon, "task-clock", 5)], duration_ns=0) == [{}]


def test_each_place_has_its_own(kunpeng: Machine) -> None:
    rows = [
        count(kunpeng, text, total, {"numa": numa})
        for numa, factor in ((0, 1), (1, 3), (2, None))
        for text, total in (
            ("task-clock", S),
            ("cycles", 2 * S),
            ("instructions", factor and factor * S),
        )
    ]
    found = values(rows, duration_ns=S)
    assert [found[index]["ipc"] for index in (2, 5)] == [0.5, 1.5]
    assert found[8] == {}
    assert [found[index] for index in (0, 1)] == [{"cpus_utilized": 1.0}, {"ghz": 2.0}]


def test_the_base_of_another_place_is_none(kunpeng: Machine) -> None:
    rows = [
        count(kunpeng, "cycles", 400, {"cpu": 0}),
        count(kunpeng, "instructions", 100, {"cpu": 1}),
    ]
    assert values(rows) == [{}, {}]


@pytest.mark.parametrize("tree_name", ["hybrid", "big-little"])
def test_each_kind_of_core_has_its_own(machine_of: MachineOf, tree_name: str) -> None:
    machine = machine_of(tree_name)
    first, second = (pmu.name for pmu in machine.core_pmus)
    rows = [
        count(machine, "task-clock", S),
        count(machine, f"{first}/cycles/", 1 * S),
        count(machine, f"{second}/cycles/", 2 * S),
        count(machine, f"{first}/instructions/", 1 * S),
        count(machine, f"{second}/instructions/", 6 * S),
        count(machine, f"{first}/L1-dcache-loads/", 100),
        count(machine, f"{second}/L1-dcache-loads/", 400),
        count(machine, f"{second}/L1-dcache-load-misses/", 100),
        count(machine, f"{first}/branch-misses/", 5 * S),
    ]
    assert values(rows) == [
        {"cpus_utilized": 1.0},
        {"ghz": 1.0},
        {"ghz": 2.0},
        {"ipc": 1.0},
        {"ipc": 3.0},
        {"per_second": 100.0},
        {"per_second": 400.0},
        {"miss_rate": 0.25},
        {"per_second": 5e9},
    ]


@pytest.mark.parametrize("clock", ["task-clock", "cpu-clock", "task-clock:u"])
def test_rates_of_either_clock(xeon: Machine, clock: str) -> None:
    rows = [count(xeon, clock, S // 4), count(xeon, "cs", 10), count(xeon, "cycles:u", S)]
    assert values(rows)[1:] == [{"per_second": 40.0}, {"ghz": 4.0}]
    assert words(rows)[1] == [f"per second of {clock}"]


@pytest.mark.parametrize(
    ("tree_name", "text"),
    [
        ("kunpeng-96", "smmuv3_pmcg_100020/cycles/"),
        ("kunpeng-96", "hisi_sccl1_ddrc0/flux_rd/"),
        ("grace", "nvidia_scf_pmu_0/bus_cycles/"),
        ("xeon", "power/energy-pkg/"),
        ("xeon", "uncore_imc_0/cas_count_read/"),
    ],
)
def test_a_device_has_no_share_in_what_cores_do(
    machine_of: MachineOf, tree_name: str, text: str
) -> None:
    """Its cycles are another clock's, and its counts are everybody's."""
    machine = machine_of(tree_name)
    rows = [
        count(machine, "task-clock", S),
        count(machine, "instructions", 400),
        count(machine, text, 100.0),
    ]
    assert values(rows)[1:] == [{"per_second": 400.0}, {}]


def test_tracepoints_and_names_of_ones_own(xeon: Machine) -> None:
    rows = [
        count(xeon, "task-clock", S),
        count(xeon, "sched:sched_switch", 7),
        count(xeon, "cpu/event=0x3c,name=mine/", 9),
    ]
    assert values(rows)[1:] == [{"per_second": 7.0}, {"per_second": 9.0}]
