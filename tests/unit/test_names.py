"""One event's name on machines of many kinds: what it stands for there."""

from __future__ import annotations

import pytest
from unit.trees import (
    A53_EVENTS,
    HYBRID_TYPES,
    TRACEPOINTS,
    MachineOf,
    Tree,
)

import kperf
from kperf.events import generic
from kperf.events.event import BREAKPOINT, CORE, DEVICE, SOFTWARE, TRACEPOINT, Event
from kperf.events.names import resolve
from kperf.machine import Machine


def one(text: str, machine: Machine) -> Event:
    events = resolve(text, machine)
    assert len(events) == 1
    return events[0]


def refusal(text: str, machine: Machine) -> kperf.KperfError:
    with pytest.raises(kperf.KperfError) as caught:
        resolve(text, machine)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.fixture
def xeon(machine_of: MachineOf) -> Machine:
    return machine_of("xeon")


@pytest.fixture
def kunpeng(machine_of: MachineOf) -> Machine:
    return machine_of("kunpeng-96")


@pytest.fixture
def hybrid(machine_of: MachineOf) -> Machine:
    return machine_of("hybrid")


@pytest.fixture
def big_little(machine_of: MachineOf) -> Machine:
    return machine_of("big-little")


@pytest.fixture
def guest(machine_of: MachineOf) -> Machine:
    return machine_of("guest")


# ---- generic events: include/uapi/linux/perf_event.h has the numbers ----

HARDWARE = {
    "cpu-cycles": 0,
    "cycles": 0,
    "instructions": 1,
    "cache-references": 2,
    "cache-misses": 3,
    "branch-instructions": 4,
    "branches": 4,
    "branch-misses": 5,
    "bus-cycles": 6,
    "stalled-cycles-frontend": 7,
    "idle-cycles-frontend": 7,
    "stalled-cycles-backend": 8,
    "idle-cycles-backend": 8,
    "ref-cycles": 9,
}
SOFTWARE_EVENTS = {
    "cpu-clock": 0,
    "task-clock": 1,
    "page-faults": 2,
    "faults": 2,
    "context-switches": 3,
    "cs": 3,
    "cpu-migrations": 4,
    "migrations": 4,
    "minor-faults": 5,
    "major-faults": 6,
    "alignment-faults": 7,
    "emulation-faults": 8,
    "dummy": 9,
    "bpf-output": 10,
    "cgroup-switches": 11,
}


@pytest.mark.parametrize("tree_name", ["xeon", "epyc", "kunpeng-96", "grace", "guest"])
@pytest.mark.parametrize(("name", "config"), HARDWARE.items())
def test_hardware_events(machine_of: MachineOf, tree_name: str, name: str, config: int) -> None:
    event = one(name, machine_of(tree_name))
    assert (event.name, event.kind, event.type, event.config) == (name, CORE, 0, config)
    assert event.cpus is None
    assert event.host_by_default
    assert not event.kernel_only


@pytest.mark.parametrize("tree_name", ["xeon", "hybrid", "big-little", "guest"])
@pytest.mark.parametrize(("name", "config"), SOFTWARE_EVENTS.items())
def test_software_events(machine_of: MachineOf, tree_name: str, name: str, config: int) -> None:
    event = one(name, machine_of(tree_name))
    assert (event.name, event.kind, event.type, event.config) == (name, SOFTWARE, 1, config)
    assert event.unit == ("ns" if name in ("cpu-clock", "task-clock") else "")
    assert not event.host_by_default


def test_events_that_happen_in_the_kernel_only(guest: Machine) -> None:
    kernel_only = {name for name in SOFTWARE_EVENTS if one(name, guest).kernel_only}
    assert kernel_only == {
        *("context-switches", "cs", "cpu-migrations", "migrations"),
        *("bpf-output", "cgroup-switches"),
    }


def test_every_generic_name_is_tested() -> None:
    tables = {**generic.HARDWARE, **generic.SOFTWARE}
    names = {*tables, *(alias for event in tables.values() for alias in event.aliases)}
    assert names == {*HARDWARE, *SOFTWARE_EVENTS}


@pytest.mark.parametrize("name", ["CYCLES", "Task-Clock", "l1-DCACHE-load-MISSES", "llc-loads"])
def test_case_does_not_matter(guest: Machine, name: str) -> None:
    lower = one(name.lower(), guest)
    assert one(name, guest) == lower._replace(name=name)


# ---- cache events ----

# perf's spellings (perf-list(1), tools/perf/util/evsel.c), and the kernel's numbers.
CACHES = (
    (("L1-dcache", "l1-d", "l1d", "L1-data"), "rwp"),
    (("L1-icache", "l1-i", "l1i", "L1-instruction"), "rp"),
    (("LLC", "L2"), "rwp"),
    (("dTLB", "d-tlb", "Data-TLB"), "rwp"),
    (("iTLB", "i-tlb", "Instruction-TLB"), "r"),
    (("branch", "bpu", "btb", "bpc"), "r"),
    (("node",), "rwp"),
)
OPERATIONS = {
    "r": (0, ("load", "loads", "read")),
    "w": (1, ("store", "stores", "write")),
    "p": (2, ("prefetch", "prefetches", "speculative-read", "speculative-load")),
}
RESULTS = ((0, ("refs", "reference", "ops", "access")), (1, ("misses", "miss")))


def cache_spellings() -> dict[str, int]:
    """Every spelling of every cache event, with its config."""
    names: dict[str, int] = {}
    for cache, (caches, possible) in enumerate(CACHES):
        for operation, operations in (OPERATIONS[letter] for letter in possible):
            for stem in (f"{name}-{op}" for name in caches for op in operations):
                names[stem] = cache | operation << 8
                for result, results in RESULTS:
                    names.update({f"{stem}-{r}": names[stem] | result << 16 for r in results})
    return names


def test_cache_events_in_every_spelling(guest: Machine) -> None:
    spellings = cache_spellings()
    # "branch-misses" and the like are hardware events first, in perf too.
    found = {name: one(name, guest) for name in spellings}
    assert {name: event.config for name, event in found.items()} == spellings
    assert {event.type for event in found.values()} == {3}
    assert {event.kind for event in found.values()} == {CORE}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("LLC", 2),
        ("LLC-misses", 0x10002),
        ("LLC-misses-loads", 0x10002),
        ("node-stores-miss", 0x10106),
    ],
)
def test_cache_events_in_perfs_looser_forms(guest: Machine, name: str, config: int) -> None:
    assert one(name, guest).config == config


@pytest.mark.parametrize(
    "name",
    [
        "L1-icache-stores",
        "iTLB-prefetches",
        "branch-stores",
        "LLC-",
        "LLC-loads-",
        "LLC--loads",
        "LLC-loads-stores",
        "LLC-misses-miss",
        "LLC-loads-misses-loads",
        "L3-loads",
    ],
)
def test_what_is_no_cache_event(guest: Machine, name: str) -> None:
    assert f"unknown event '{name}'" in refusal(name, guest).message


def test_listed_cache_names_are_perfs() -> None:
    spellings = cache_spellings()
    listed = generic.cache_names()
    assert listed == {name: spellings[name] for name in listed}
    assert set(listed.values()) == set(spellings.values())


# ---- raw events ----


@pytest.mark.parametrize(
    ("text", "config"),
    [("r1", 1), ("r1a8", 0x1A8), ("r0x1A8", 0x1A8), ("rffffffffffffffff", (1 << 64) - 1)],
)
def test_raw_events(xeon: Machine, text: str, config: int) -> None:
    event = one(text, xeon)
    assert (event.kind, event.type, event.config) == (CORE, 4, config)


@pytest.mark.parametrize("text", ["r", "rxyz", "r1ffffffffffffffff", "r-1", "R1a8"])
def test_what_is_no_raw_event(xeon: Machine, text: str) -> None:
    assert "unknown event" in refusal(text, xeon).message


# ---- breakpoints ----


@pytest.mark.parametrize(
    ("text", "address", "length", "access"),
    [
        ("mem:0", 0, 4, 3),
        ("mem:4096", 4096, 4, 3),
        ("mem:0123", 123, 4, 3),
        ("mem:0x1000", 0x1000, 4, 3),
        ("mem:0x1000:r", 0x1000, 4, 1),
        ("mem:0x1000:w", 0x1000, 4, 2),
        ("mem:0x1000:rw", 0x1000, 4, 3),
        ("mem:0x1000:x", 0x1000, 8, 4),
        ("mem:0x1000/1", 0x1000, 1, 3),
        ("mem:0x1000/8:wr", 0x1000, 8, 3),
        ("mem:0xffffffffffffffff/2:r", (1 << 64) - 1, 2, 1),
    ],
)
def test_breakpoints(guest: Machine, text: str, address: int, length: int, access: int) -> None:
    event = one(text, guest)
    assert (event.name, event.kind, event.type) == (text, BREAKPOINT, 5)
    assert (event.config1, event.config2, event.bp_type) == (address, length, access)
    assert (event.config, event.exclude_user, event.exclude_kernel) == (0, False, False)


@pytest.mark.parametrize(
    ("text", "more", "name", "user", "kernel"),
    [
        ("mem:0x10:rw:u", "", "mem:0x10:rw:u", False, True),
        ("mem:0x10:u", "", "mem:0x10:u", False, True),
        ("mem:0xD0:w", "D", "mem:0xD0:w:D", False, False),
        ("mem:0x10/2:r:k", "u", "mem:0x10/2:r:ku", False, False),
    ],
)
def test_breakpoints_with_modifiers(
    guest: Machine, text: str, more: str, name: str, user: bool, kernel: bool
) -> None:
    (event,) = resolve(text, guest, more)
    assert (event.name, event.exclude_user, event.exclude_kernel) == (name, user, kernel)


@pytest.mark.parametrize(
    "text",
    [
        "mem:",
        "mem:xyz",
        "mem:main",
        "mem:0x",
        "mem:-1",
        "mem:0x10000000000000000",
        "mem:18446744073709551616",
        "mem:0x10/",
        "mem:0x10/0",
        "mem:0x10/9",
        "mem:0x10/0x4",
        "mem:0x10/99999999999999999999",
        "mem:0x10:rwxr",
        "mem:0x10:z",
        "mem:0x10:rw:q",
        "mem:0x10:",
        "mem:٣",
    ],
)
def test_what_is_no_breakpoint(guest: Machine, text: str) -> None:
    assert refusal(text, guest).code == kperf.Error.INVALID_EVENT


# ---- modifiers on all kinds ----


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cycles:u", "cycles:u"),
        ("cycles:", "cycles"),
        ("task-clock:uk", "task-clock:uk"),
        ("L1-dcache-loads:k", "L1-dcache-loads:k"),
        ("r1a8:uP", "r1a8:uP"),
        ("mem-loads:p", "mem-loads:p"),
        ("cpu/event=0x3c/u", "cpu/event=0x3c/u"),
        ("cpu/event=0x3c/:u", "cpu/event=0x3c/u"),
        ("cpu/cycles/D", "cpu/cycles/D"),
        ("sched:sched_switch:k", "sched:sched_switch:k"),
        ("uncore_imc_0/clockticks/D", "uncore_imc_0/clockticks/D"),
    ],
)
def test_modifiers_stand_in_the_name(xeon: Machine, text: str, name: str) -> None:
    assert one(text, xeon).name == name


def test_modifiers_of_the_group_are_added_to_the_name(xeon: Machine) -> None:
    (event,) = resolve("cycles:u", xeon, "kp")
    assert (event.name, event.exclude_user, event.exclude_kernel) == ("cycles:ukp", False, False)
    assert (event.exclude_hv, event.precise) == (True, 1)
    (event,) = resolve("cpu/instructions/", xeon, "u")
    assert (event.name, event.exclude_kernel) == ("cpu/instructions/u", True)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("cycles:x", "unknown modifier 'x'"),
        ("cycles:u:k", "unknown modifier ':'"),
        ("cpu/cycles/x", "unknown modifier 'x'"),
        ("sched:sched_switch:x", "unknown modifier 'x'"),
        ("cycles:uu", "'u' 2 times"),
        ("cycles:pppp", "precision 4"),
        ("uncore_imc_0/clockticks/u", "counts a device"),
    ],
)
def test_wrong_modifiers(xeon: Machine, text: str, wrong: str) -> None:
    failure = refusal(text, xeon)
    assert wrong in failure.message
    assert failure.code == kperf.Error.INVALID_EVENT


def test_wrong_modifiers_of_the_group(xeon: Machine) -> None:
    with pytest.raises(kperf.KperfError, match="unknown modifier 'Z'"):
        resolve("cycles", xeon, "Z")


# ---- PMU events ----


@pytest.mark.parametrize(
    ("text", "kind", "type_", "config"),
    [
        ("cpu/event=0xa8,umask=0x1/", CORE, 4, 0x1A8),
        ("cpu/instructions/", CORE, 4, 0xC0),
        ("cpu/config=0x1b7,config1=3/", CORE, 4, 0x1B7),
        ("cpu/cycles/", CORE, 0, 0),
        ("cpu/branches/", CORE, 0, 4),
        ("cpu/LLC-load-misses/", CORE, 3, 0x10002),
        ("cpu/r1a8/", CORE, 4, 0x1A8),
        ("cpu/r0x1a8/", CORE, 4, 0x1A8),
        ("software/config=2/", SOFTWARE, 1, 2),
        ("msr//", SOFTWARE, None, 0),
        ("msr/aperf/", SOFTWARE, None, 1),
        ("power/energy-pkg/", DEVICE, None, 2),
    ],
)
def test_pmu_events(xeon: Machine, text: str, kind: str, type_: int | None, config: int) -> None:
    event = one(text, xeon)
    pmu = xeon.pmu(text.partition("/")[0])
    assert (event.name, event.kind, event.config) == (text, kind, config)
    assert event.type == (pmu.type if type_ is None else type_)
    assert event.pmu == pmu.name
    assert event.cpus == (pmu.cpumask if kind == DEVICE else None)
    assert event.host_by_default is (kind == CORE)


def test_a_generic_event_of_another_kind_is_no_pmus(xeon: Machine) -> None:
    assert "knows no term or event 'task-clock'" in refusal("cpu/task-clock/", xeon).message
    assert "knows no term or event 'cycles'" in refusal("power/cycles/", xeon).message


def test_a_name_of_the_users_own(xeon: Machine) -> None:
    assert one("cpu/event=0xa8,name=mine/u", xeon).name == "mine:u"


def test_bare_names_of_the_core_pmu(xeon: Machine, kunpeng: Machine) -> None:
    event = one("mem-loads", xeon)
    assert (event.type, event.config, event.config1, event.pmu) == (4, 0x1CD, 3, "cpu")
    event = one("inst_retired", kunpeng)
    assert (event.config, event.pmu, event.cpus) == (8, "armv8_pmuv3_0", tuple(range(96)))
    assert event.type == kunpeng.pmu("armv8_pmuv3_0").type


@pytest.mark.parametrize(
    ("tree_name", "name", "config"),
    [
        ("kunpeng-128", "exe_stall_cycle", 0x7001),
        ("kunpeng-128", "EXE_STALL_CYCLE", 0x7001),
        ("kunpeng-128", "l2d_cache_refill_rd", 0x52),
        ("grace", "stall_slot_backend", 0x3D),
        ("grace", "fp_dp_spec", 0x801C),
    ],
)
def test_bare_names_of_the_arm_tables(
    machine_of: MachineOf, tree_name: str, name: str, config: int
) -> None:
    event = one(name, machine_of(tree_name))
    assert (event.name, event.kind, event.config) == (name, CORE, config)
    assert event.host_by_default


def test_the_tables_are_each_cores_own(machine_of: MachineOf) -> None:
    assert "unknown event" in refusal("exe_stall_cycle", machine_of("grace")).message
    assert "unknown event" in refusal("sve_inst_spec", machine_of("kunpeng-96")).message
    assert "unknown event" in refusal("inst_spec", machine_of("xeon")).message


@pytest.mark.parametrize("scale_of", ["uncore_imc_0/cas_count_read/", "power/energy-ram/"])
def test_scaled_events(xeon: Machine, scale_of: str) -> None:
    event = one(scale_of, xeon)
    assert event.is_scaled
    assert 0 < event.scale < 1
    assert event.unit in ("MiB", "Joules")


def test_a_device_is_counted_on_its_cpumask(kunpeng: Machine) -> None:
    # One CPU of each die, on the node whose memory it is.
    dies = {"hisi_sccl3": 0, "hisi_sccl1": 24, "hisi_sccl7": 48, "hisi_sccl5": 72}
    for die, cpu in dies.items():
        event = one(f"{die}_ddrc2/flux_rd/", kunpeng)
        assert (event.kind, event.cpus, event.config) == (DEVICE, (cpu,), 1)
        assert not event.host_by_default


# ---- which PMUs a name stands for ----


def pmus(text: str, machine: Machine) -> list[str]:
    return [event.pmu for event in resolve(text, machine)]


@pytest.mark.parametrize(
    ("tree_name", "text", "expected"),
    [
        ("xeon", "uncore_imc/clockticks/", ["0", "1", "2", "10"]),
        ("xeon", "imc/clockticks/", ["0", "1", "2", "10"]),
        ("xeon", "uncore_imc_[01]/clockticks/", ["0", "1"]),
        ("xeon", "uncore_imc_?/clockticks/", ["0", "1", "2"]),
        ("xeon", "*imc_1*/clockticks/", ["1", "10"]),
        ("xeon", "uncore_imc_1/clockticks/", ["1"]),
        ("xeon", "imc_1/clockticks/", ["1"]),
    ],
)
def test_patterns_and_prefixes_of_pmus(
    machine_of: MachineOf, tree_name: str, text: str, expected: list[str]
) -> None:
    names = [f"uncore_imc_{number}" for number in expected]
    assert pmus(text, machine_of(tree_name)) == names


def test_each_pmu_of_a_pattern_has_its_own_name(xeon: Machine) -> None:
    names = [event.name for event in resolve("imc/cas_count_read/D", xeon)]
    assert names == [f"uncore_imc_{number}/cas_count_read/D" for number in (0, 1, 2, 10)]


def test_a_prefix_that_stands_for_one_pmu_keeps_its_spelling(xeon: Machine) -> None:
    assert one("uncore_cha/clockticks/", xeon).name == "uncore_cha/clockticks/"


def test_all_channels_of_one_die_and_of_all(kunpeng: Machine) -> None:
    die = [f"hisi_sccl1_ddrc{number}" for number in range(4)]
    assert pmus("hisi_sccl1_ddrc/flux_rd/", kunpeng) == die
    assert len(pmus("hisi_sccl*_ddrc*/flux_rd/", kunpeng)) == 16
    slices = pmus("hisi_sccl1_l3c/rd_cpipe/", kunpeng)
    assert slices == [f"hisi_sccl1_l3c{number}" for number in range(8, 14)]


def test_the_second_generations_names(tree: Tree) -> None:
    for name in (
        "hisi_sccl1_ddrc0_0",
        "hisi_sccl1_ddrc0_1",
        "hisi_sccl1_ddrc2_0",
        "hisi_sccl11_ddrc0_0",
    ):
        tree.pmu(name, formats={"event": "config:0-7"}, cpumask=[0])
    machine = tree.machine()
    assert pmus("hisi_sccl1_ddrc0/event=0x84/", machine) == [
        "hisi_sccl1_ddrc0_0",
        "hisi_sccl1_ddrc0_1",
    ]
    assert len(pmus("hisi_sccl1_ddrc/event=0x84/", machine)) == 3


@pytest.mark.parametrize(("tree_name", "number"), [("grace", 2), ("kunpeng-96", 3)])
def test_smmus_go_by_the_number_of_their_page(
    machine_of: MachineOf, tree_name: str, number: int
) -> None:
    assert len(pmus("smmuv3_pmcg/transaction/", machine_of(tree_name))) == number


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("cpuu/cycles/", "cpu"),
        ("uncore_img_0/clockticks/", "uncore_imc_0"),
        ("nosuch*/x/", "kperf list"),
        ("/x/", "kperf list"),
    ],
)
def test_pmus_that_are_not_there(xeon: Machine, text: str, near: str) -> None:
    failure = refusal(text, xeon)
    assert f"there is no PMU '{text.partition('/')[0]}' here" in failure.message
    assert near in failure.hint


@pytest.mark.parametrize("text", ["cpu/cycles", "cpu/cycles/u/", "a/b/c/d", "/"])
def test_slashes_that_do_not_pair(xeon: Machine, text: str) -> None:
    assert refusal(text, xeon).code == kperf.Error.INVALID_EVENT


@pytest.mark.parametrize(("file", "text"), [("cpumask", ""), ("cpumask", "zz"), ("cpus", "")])
def test_a_pmu_without_a_cpu(tree: Tree, file: str, text: str) -> None:
    tree.pmu("odd", formats={"event": "config:0-7"}, events={"a": "event=1"})
    tree.pmu_file("odd", file, text)
    failure = refusal("odd/a/", tree.machine())
    assert failure.code == kperf.Error.NOT_SUPPORTED_BY_CPU
    assert f"its {file} names none" in failure.message


def test_a_pmu_without_a_type(tree: Tree) -> None:
    tree.pmu("odd", formats={"event": "config:0-7"})
    tree.pmu_file("odd", "type", "").unlink()
    failure = refusal("odd/event=1/", tree.machine())
    assert "the PMU odd has no readable type" in failure.message


# ---- several kinds of cores ----


def test_a_generic_event_on_every_kind_of_core(hybrid: Machine) -> None:
    found = resolve("cycles:u", hybrid)
    assert [event.name for event in found] == ["cpu_atom/cycles/u", "cpu_core/cycles/u"]
    assert {event.cpus for event in found} == {tuple(range(8)), tuple(range(8, 16))}
    for event in found:
        # PERF_PMU_TYPE_SHIFT: the upper half chooses the PMU.
        assert (event.type, event.config) == (0, HYBRID_TYPES[event.pmu] << 32)
        assert event.exclude_kernel
        assert event.host_by_default


@pytest.mark.parametrize(
    ("text", "type_", "config"),
    [("branch-misses", 0, 5), ("LLC-load-misses", 3, 0x10002)],
)
def test_generic_numbers_on_every_kind_of_core(
    hybrid: Machine, text: str, type_: int, config: int
) -> None:
    for event in resolve(text, hybrid):
        assert (event.type, event.config) == (type_, config | HYBRID_TYPES[event.pmu] << 32)


def test_raw_codes_on_every_kind_of_core(hybrid: Machine, big_little: Machine) -> None:
    found = resolve("r1a8", hybrid)
    assert {(event.pmu, event.type) for event in found} == set(HYBRID_TYPES.items())
    assert {event.config for event in found} == {0x1A8}
    found = resolve("r1b", big_little)
    assert [event.cpus for event in found] == [(0, 1, 2, 3), (4, 5)]
    assert {event.type for event in found} == {pmu.type for pmu in big_little.core_pmus}


def test_one_kind_of_core_by_name(hybrid: Machine) -> None:
    event = one("cpu_core/cycles/", hybrid)
    assert (event.name, event.type, event.config) == ("cpu_core/cycles/", 0, 4 << 32)
    assert event.cpus == tuple(range(8))
    event = one("cpu_atom/event=0xc0/", hybrid)
    assert (event.type, event.config, event.cpus) == (10, 0xC0, tuple(range(8, 16)))
    event = one("cpu_atom/r1a8/u", hybrid)
    assert (event.name, event.type, event.config) == ("cpu_atom/r1a8/u", 10, 0x1A8)


def test_a_name_that_only_one_kind_of_core_has(hybrid: Machine) -> None:
    assert [event.name for event in resolve("slots", hybrid)] == ["cpu_core/slots/"]
    assert pmus("topdown-be-bound", hybrid) == ["cpu_atom"]
    assert len(resolve("instructions", hybrid)) == 2
    assert "knows no term or event 'slots'" in refusal("cpu_atom/slots/", hybrid).message


ARM_GENERIC = {
    "cycles": (0x11, 0x11),
    "instructions": (0x08, 0x08),
    "branches": (0x21, 0x21),
    "branch-misses": (0x10, 0x10),
    "cache-misses": (0x03, 0x03),
    "bus-cycles": (0x1D, 0x1D),
    "L1-dcache-loads": (0x04, 0x04),
    "L1-dcache-load-misses": (0x03, 0x03),
    "L1-icache-load-misses": (0x01, 0x01),
    "dTLB-loads": (0x25, 0x25),
    "iTLB-loads": (None, 0x26),  # this A53 does not announce it
    "branch-loads": (0x12, 0x12),
}


@pytest.mark.parametrize(("name", "codes"), ARM_GENERIC.items())
def test_generic_events_by_the_names_that_arm_pmus_have(
    big_little: Machine, name: str, codes: tuple[int | None, int]
) -> None:
    """Kernels without extended types would open them on the first PMU only."""
    expected = [
        (f"{pmu.name}/{name}/", pmu.type, code, pmu.cpus)
        for pmu, code in zip(big_little.core_pmus, codes)
        if code is not None
    ]
    found = resolve(name, big_little)
    assert [(event.name, event.type, event.config, event.cpus) for event in found] == expected


def test_arm_names_of_generic_events() -> None:
    """As armv8_pmuv3_perf_map and armv8_pmuv3_perf_cache_map in drivers/perf/arm_pmuv3.c say."""
    hardware = {
        0: "cpu_cycles",
        1: "inst_retired",
        2: "l1d_cache",
        3: "l1d_cache_refill",
        4: "br_retired",
        5: "br_mis_pred",
        6: "bus_cycles",
        7: "stall_frontend",
        8: "stall_backend",
    }
    caches = {
        0x00000: "l1d_cache",
        0x10000: "l1d_cache_refill",
        0x00001: "l1i_cache",
        0x10001: "l1i_cache_refill",
        0x00002: "ll_cache_rd",
        0x10002: "ll_cache_miss_rd",
        0x00003: "l1d_tlb",
        0x10003: "l1d_tlb_refill",
        0x00004: "l1i_tlb",
        0x10004: "l1i_tlb_refill",
        0x00005: "br_pred",
        0x10005: "br_mis_pred",
    }
    for config in range(10):
        assert generic.arm_names(0, config)[:1] == ((hardware[config],) if config < 9 else ())
    for config in generic.cache_names().values():
        own = caches.get(config)
        assert generic.arm_names(3, config) == ((own,) if own else ())


@pytest.mark.parametrize(
    "name", ["ref-cycles", "LLC-loads", "node-loads", "stalled-cycles-backend"]
)
def test_a_generic_event_that_no_kind_of_core_has(big_little: Machine, name: str) -> None:
    """It stays as it is: the kernel refuses it, and a row says so instead of nothing."""
    event = one(name, big_little)
    assert (event.name, event.type in (0, 3), event.pmu) == (name, True, "")


def test_branches_where_only_the_older_name_exists(tree: Tree) -> None:
    tree.cpus(range(4))
    for cpu in range(4):
        tree.cpu(cpu, core=cpu, socket=0, midr=0x410FD034)
    for name, cpus in (("armv8_a", (0, 1)), ("armv8_b", (2, 3))):
        events = {"pc_write_retired": "event=0x000c"}
        tree.pmu(name, formats={"event": "config:0-15"}, events=events, cpus=cpus)
    assert [event.config for event in resolve("branches", tree.machine())] == [0x0C, 0x0C]


def test_each_kind_of_core_has_the_table_of_its_own_midr(tree: Tree) -> None:
    tree.cpus(range(4))
    for cpu, midr in enumerate([0x410FD034, 0x410FD034, 0x410FD0C1, 0x410FD0C1]):
        tree.cpu(cpu, core=cpu, socket=0, midr=midr)
    for name, cpus in (("armv8_cortex_a53", (0, 1)), ("armv8_neoverse_n1", (2, 3))):
        tree.pmu(name, formats={"event": "config:0-15"}, cpus=cpus)
    event = one("l3d_cache", tree.machine())
    assert (event.name, event.config) == ("armv8_neoverse_n1/l3d_cache/", 0x2B)


def test_a_kind_of_core_that_is_offline_is_left_out(tree: Tree) -> None:
    tree.cpus(range(4), range(2))
    formats = {"event": "config:0-7"}
    tree.pmu("cpu_core", type=4, formats=formats, cpus=range(2))
    tree.pmu("cpu_atom", type=10, formats=formats, events={"a": "event=1"}, cpus=())
    machine = tree.machine()
    assert [pmu.name for pmu in machine.core_pmus] == ["cpu_core"]
    assert one("cycles", machine).name == "cycles"
    assert "counts on no CPU that is online" in refusal("cpu_atom/a/", machine).message


def test_little_cores_names(big_little: Machine) -> None:
    for name in A53_EVENTS:
        assert "armv8_cortex_a53" in pmus(name, big_little)
    assert pmus("exc_taken", big_little) == ["armv8_cortex_a53"]


# ---- tracepoints ----


def test_tracepoints(xeon: Machine) -> None:
    event = one("sched:sched_switch", xeon)
    assert (event.name, event.kind, event.type) == ("sched:sched_switch", TRACEPOINT, 2)
    assert event.config == TRACEPOINTS["sched"]["sched_switch"]
    assert event.kernel_only
    assert not event.host_by_default


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sched:*", ["sched_process_exit", "sched_switch", "sched_waking"]),
        ("sched:*w*", ["sched_switch", "sched_waking"]),
        ("syscalls:sys_e[nx]*_write:u", ["sys_enter_write", "sys_exit_write"]),
        ("sched:*_?rite", []),
    ],
)
def test_patterns_of_tracepoints(xeon: Machine, text: str, names: list[str]) -> None:
    if not names:
        assert "unknown event" in refusal(text, xeon).message
        return
    system = text.partition(":")[0]
    suffix = ":u" if text.endswith(":u") else ""
    found = resolve(text, xeon)
    assert [event.name for event in found] == [f"{system}:{name}{suffix}" for name in names]
    assert [event.config for event in found] == [TRACEPOINTS[system][name] for name in names]


def test_a_pattern_of_systems_leaves_the_function_tracers_out(xeon: Machine) -> None:
    names = {event.name for event in resolve("*:*", xeon)}
    every = {f"{system}:{name}" for system, points in TRACEPOINTS.items() for name in points}
    assert names == {name for name in every if not name.startswith("ftrace:")}
    assert one("ftrace:function", xeon).config == 1


def test_probes_of_user_space_are_not_the_kernels(xeon: Machine) -> None:
    assert not one("probe_libc:malloc", xeon).kernel_only
    assert one("kprobes:p_vfs_read_0", xeon).kernel_only


@pytest.mark.parametrize(
    "text",
    ["sched:", "sched:no", "no:sched_switch", f"{'x' * 300}:{'y' * 300}", "..:sched", "sched:."],
)
def test_tracepoints_that_are_not_there(xeon: Machine, text: str) -> None:
    failure = refusal(text, xeon)
    assert failure.code == kperf.Error.INVALID_EVENT
    assert "unknown event" in failure.message


def test_a_tree_without_tracefs(guest: Machine) -> None:
    failure = refusal("sched:sched_switch", guest)
    assert failure.code == kperf.Error.TRACEFS_UNAVAILABLE
    assert "tracing" in failure.hint


# ---- names that are not there ----


@pytest.mark.parametrize(
    ("tree_name", "text", "near"),
    [
        ("xeon", "cyclse", "cycles"),
        ("xeon", "cyclse:u", "cycles"),
        ("xeon", "instrutions", "instructions"),
        ("xeon", "L1-dcache-load-mises", "L1-dcache-load-misses"),
        ("xeon", "task_clock", "task-clock"),
        ("xeon", "memloads", "mem-loads"),
        ("xeon", "sched_switch", "sched:sched_switch"),
        ("xeon", "sched:sched_swich", "sched:sched_switch"),
        ("xeon", "energy-pkg", "power/energy-pkg/"),
        ("xeon", "cas_count_read", "uncore_imc_0/cas_count_read/"),
        ("kunpeng-96", "flux_rd", "hisi_sccl1_ddrc0/flux_rd/"),
        ("kunpeng-96", "inst_retird", "inst_retired"),
        ("kunpeng-96", "exe_stall_cycles", "exe_stall_cycle"),
        ("guest", "cyclse", "cycles"),
        ("guest", "cyclse:u", "cycles"),
        ("guest", "page-fault", "page-faults"),
        ("hybrid", "slot", "cpu_core/slots/"),
    ],
)
def test_unknown_names_say_the_nearest(
    machine_of: MachineOf, tree_name: str, text: str, near: str
) -> None:
    failure = refusal(text, machine_of(tree_name))
    assert failure.code == kperf.Error.INVALID_EVENT
    assert failure.message.startswith("unknown event '")
    assert near in failure.hint.removeprefix("did you mean ").rstrip("?").split(", ")


def test_unknown_names_without_a_near_one(xeon: Machine) -> None:
    assert "kperf list" in refusal("qqqqqqqq", xeon).hint
