"""Event lists with their groups on machines of many kinds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.trees import BUILDERS, MachineOf, Tree

import kperf
from kperf.events import grammar
from kperf.events.event import Event, EventGroup
from kperf.events.grammar import EventText, GroupText
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine


def groups(text: str, machine: Machine) -> list[EventGroup]:
    return resolve_groups(grammar.parse(text), machine)


def names(text: str, machine: Machine) -> list[tuple[int, list[str]]]:
    return [(g.number, [event.name for event in g.events]) for g in groups(text, machine)]


def refusal(text: str, machine: Machine) -> kperf.KperfError:
    with pytest.raises(kperf.KperfError) as caught:
        groups(text, machine)
    return caught.value


@pytest.fixture
def xeon(machine_of: MachineOf) -> Machine:
    return machine_of("xeon")


@pytest.fixture
def hybrid(machine_of: MachineOf) -> Machine:
    return machine_of("hybrid")


@pytest.fixture
def kunpeng(machine_of: MachineOf) -> Machine:
    return machine_of("kunpeng-128")


@pytest.fixture
def big_little(machine_of: MachineOf) -> Machine:
    return machine_of("big-little")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cycles", [(-1, ["cycles"])]),
        ("cycles,instructions:u", [(-1, ["cycles"]), (-1, ["instructions:u"])]),
        ("{cycles}", [(0, ["cycles"])]),
        ("{cycles,instructions}", [(0, ["cycles", "instructions"])]),
        (
            "cs,{cycles,instructions},faults,{branches,branch-misses}:u",
            [
                (-1, ["cs"]),
                (0, ["cycles", "instructions"]),
                (-1, ["faults"]),
                (1, ["branches:u", "branch-misses:u"]),
            ],
        ),
        ("{task-clock,cycles,r1a8}", [(0, ["task-clock", "cycles", "r1a8"])]),
        (
            "{cycles,cpu/instructions/,mem-loads}",
            [(0, ["cycles", "cpu/instructions/", "mem-loads"])],
        ),
        ("{cycles,sched:sched_switch}", [(0, ["cycles", "sched:sched_switch"])]),
        ("{cycles,mem:0x10:w}", [(0, ["cycles", "mem:0x10:w"])]),
        ("{cycles,msr/tsc/}", [(0, ["cycles", "msr/tsc/"])]),
        (
            "sched:*w*",
            [(-1, ["sched:sched_switch"]), (-1, ["sched:sched_waking"])],
        ),
        ("{sched:*w*}", [(0, ["sched:sched_switch", "sched:sched_waking"])]),
        (
            "{sched:*w*,syscalls:sys_enter_read}:k",
            [(0, ["sched:sched_switch:k", "sched:sched_waking:k", "syscalls:sys_enter_read:k"])],
        ),
        (
            "{uncore_imc_0/cas_count_read/,uncore_imc_0/cas_count_write/}",
            [(0, ["uncore_imc_0/cas_count_read/", "uncore_imc_0/cas_count_write/"])],
        ),
    ],
)
def test_groups(xeon: Machine, text: str, expected: list[tuple[int, list[str]]]) -> None:
    assert names(text, xeon) == expected


@pytest.mark.parametrize(
    ("text", "user", "kernel", "precise"),
    [
        ("{cycles}:u", False, True, 0),
        ("{cycles:u}:k", False, False, 0),
        ("{cycles:u}:u", False, True, 0),
        ("{cycles:kp}:p", True, False, 2),
        ("{cycles:p}:pp", False, False, 3),
        ("{cycles}:D", False, False, 0),
    ],
)
def test_a_groups_modifiers_add_to_its_members(
    xeon: Machine, text: str, user: bool, kernel: bool, precise: int
) -> None:
    ((event,),) = [group.events for group in groups(text, xeon)]
    assert (event.exclude_user, event.exclude_kernel, event.precise) == (user, kernel, precise)
    assert event.pinned is text.endswith("D")


def test_more_precision_than_there_is_by_member_and_group(xeon: Machine) -> None:
    assert "precision 4" in refusal("{cycles:pp}:pp", xeon).message


@pytest.mark.parametrize(
    ("text", "mixed"),
    [
        ("{cycles,uncore_imc_0/clockticks/}", "cycles and uncore_imc_0/clockticks/"),
        ("{uncore_imc_0/clockticks/,cycles}", "uncore_imc_0/clockticks/ and cycles"),
        (
            "{uncore_imc_0/clockticks/,uncore_imc_1/clockticks/}",
            "uncore_imc_0/clockticks/ and uncore_imc_1/clockticks/",
        ),
        ("{power/energy-pkg/,task-clock}", "power/energy-pkg/, which is counted on CPU 0,16 alone"),
        ("{sched:sched_switch,power/energy-pkg/}", "power/energy-pkg/, which is counted on CPU"),
    ],
)
def test_groups_that_mix_pmus(xeon: Machine, text: str, mixed: str) -> None:
    failure = refusal(text, xeon)
    assert failure.code == kperf.Error.INVALID_GROUP
    assert "mixes" in failure.message
    assert mixed in failure.message
    assert failure.hint


def test_exclusions_beside_the_text(xeon: Machine) -> None:
    group = GroupText((EventText("cycles:k", exclude_user=True), EventText("cs")), braced=True)
    ((first, second),) = [found.events for found in resolve_groups([group], xeon)]
    assert (first.name, first.exclude_user, first.exclude_kernel) == ("cycles:k", True, False)
    assert (second.exclude_user, second.exclude_kernel) == (False, False)
    with pytest.raises(kperf.KperfError, match="nothing is left"):
        resolve_groups([GroupText((EventText("cycles:u", exclude_user=True),))], xeon)


# ---- several PMUs ----


def test_a_group_of_devices_is_one_on_each(xeon: Machine, kunpeng: Machine) -> None:
    text = "{imc/cas_count_read/,imc/cas_count_write/}"
    assert names(text, xeon) == [
        (n, [f"uncore_imc_{number}/cas_count_{what}/" for what in ("read", "write")])
        for n, number in enumerate((0, 1, 2, 10))
    ]
    found = groups("{hisi_sccl*_ddrc*/flux_rd/,hisi_sccl*_ddrc*/flux_wr/}", kunpeng)
    assert len(found) == 16
    for group in found:
        assert len({event.pmu for event in group.events}) == 1
        assert [event.config for event in group.events] == [1, 0]


def test_a_lone_name_of_many_devices_is_no_group(kunpeng: Machine) -> None:
    found = groups("hisi_sccl3_ddrc/flux_rd/", kunpeng)
    assert [group.number for group in found] == [-1] * 4


def test_a_group_on_each_kind_of_core(hybrid: Machine) -> None:
    assert names("cs,{cycles,instructions}:u,{branches}", hybrid) == [
        (-1, ["cs"]),
        (0, ["cpu_atom/cycles/u", "cpu_atom/instructions/u"]),
        (1, ["cpu_core/cycles/u", "cpu_core/instructions/u"]),
        (2, ["cpu_atom/branches/"]),
        (3, ["cpu_core/branches/"]),
    ]
    for group in groups("{cycles,instructions}", hybrid):
        assert len({event.cpus for event in group.events}) == 1


def test_software_events_stand_in_each_of_the_groups(hybrid: Machine) -> None:
    assert names("{cycles,task-clock}", hybrid) == [
        (0, ["cpu_atom/cycles/", "task-clock"]),
        (1, ["cpu_core/cycles/", "task-clock"]),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{cpu_core/slots/,cycles}", ["cpu_core/slots/", "cpu_core/cycles/"]),
        ("{slots,cycles}", ["cpu_core/slots/", "cpu_core/cycles/"]),
        ("{cycles,cpu_atom/instructions/}", ["cpu_atom/cycles/", "cpu_atom/instructions/"]),
    ],
)
def test_a_member_of_one_kind_of_core_decides(
    hybrid: Machine, text: str, expected: list[str]
) -> None:
    assert names(text, hybrid) == [(0, expected)]


def test_members_of_two_kinds_of_cores(hybrid: Machine) -> None:
    failure = refusal("{cpu_core/cycles/,cpu_atom/cycles/}", hybrid)
    assert failure.code == kperf.Error.INVALID_GROUP


def test_arm_groups(big_little: Machine) -> None:
    assert names("{cycles,L1-dcache-load-misses}", big_little) == [
        (0, ["armv8_cortex_a53/cycles/", "armv8_cortex_a53/L1-dcache-load-misses/"]),
        (1, ["armv8_cortex_a72/cycles/", "armv8_cortex_a72/L1-dcache-load-misses/"]),
    ]
    # Only this A72 has it, so that is where the group can be.
    assert names("{cycles,l1i_tlb}", big_little) == [
        (0, ["armv8_cortex_a72/cycles/", "armv8_cortex_a72/l1i_tlb/"])
    ]


# ---- anything ----

_PIECES = st.sampled_from(
    [
        *(
            "cycles",
            "instructions:u",
            "LLC-load-misses",
            "task-clock",
            "r1a8",
            "rx",
            "inst_retired",
        ),
        *("cpu/event=1/", "cpu_core/slots/u", "*imc*/clockticks/", "hisi_sccl1_ddrc/flux_rd/"),
        *("sched:*", "sched:sched_switch:k", "probe_libc:malloc", "mem:0x10/4:rw:u", "mem:x"),
        *("{", "}", ",", ":", "/", "*", "?", "[", "=", "u", "p", "0x", "config=", " ", ":D", "//"),
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=3), max_size=8).map("".join)


@pytest.mark.parametrize("tree_name", sorted(BUILDERS))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_TEXTS)
def test_any_list_is_events_or_one_clear_error(
    machine_of: MachineOf, tree_name: str, text: str
) -> None:
    found: list[EventGroup] = []
    words = "fine"
    try:
        found = groups(text, machine_of(tree_name))
    except kperf.KperfError as failure:
        words = str(failure)
    assert words.isprintable()
    assert bool(found) is (words == "fine")
    for group in found:
        assert group.events
        assert all(is_openable(event) for event in group.events)


def is_openable(event: Event) -> bool:
    """Whether an event fits the kernel's structure, and is counted on some CPU."""
    words = (event.config, event.config1, event.config2, event.config3)
    fits = 0 <= event.type < 1 << 32 and all(0 <= word < 1 << 64 for word in words)
    return fits and event.cpus != () and bool(event.name) and 0 <= event.precise <= 3


def test_a_pattern_for_nothing(tree: Tree) -> None:
    failure = refusal("*/x/", tree.machine())
    assert "there is no PMU '*' here" in failure.message
