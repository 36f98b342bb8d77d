"""What is read of a machine, and what is made of files that are missing, closed or nonsense."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import in_fork, online_cpus, rooted, run_python
from unit.trees import ARM_COMMON, TRACEPOINTS, TSV110, MachineOf, Tree, cpu_list

import kperf
from kperf.machine import Machine, format_cpu_list, parse_cpu_list

# ---- lists of CPUs ----


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", (0,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-1,4,8-9\n", (0, 1, 4, 8, 9)),
        (" 3 , 1 ", (1, 3)),
        ("5,5,4-6", (4, 5, 6)),
        ("007", (7,)),
        ("3-3", (3,)),
        ("1048575", (1048575,)),
    ],
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "1,", "-", "-1", "1-", "0-1-2", "3-1", "a", "0x1", "1.5", "1 2", "٣", "²"),
        *("0-3:1/2", "all", "1048576", "0-1048576", "9" * 30),
    ],
)
def test_what_is_no_cpu_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"CPU|backwards"):
        parse_cpu_list(text)


@given(st.sets(st.integers(0, 600)))
def test_cpu_lists_read_back(cpus: set[int]) -> None:
    text = format_cpu_list(tuple(cpus))
    assert text == cpu_list(cpus)
    assert not cpus or parse_cpu_list(text) == tuple(sorted(cpus))


@given(st.text(alphabet=st.sampled_from("0123456789-, \n") | st.characters(), max_size=12))
def test_any_text_is_a_sorted_list_or_a_value_error(text: str) -> None:
    try:
        cpus = parse_cpu_list(text)
    except ValueError:
        return
    assert cpus
    assert list(cpus) == sorted(set(cpus))
    assert parse_cpu_list(format_cpu_list(cpus)) == cpus


# ---- CPUs and nodes ----


@pytest.mark.parametrize(
    ("tree_name", "present", "online", "nodes"),
    [
        (
            "kunpeng-96",
            96,
            96,
            {0: range(24), 1: range(24, 48), 2: range(48, 72), 3: range(72, 96)},
        ),
        ("kunpeng-128", 128, 128, {3: range(96, 128)}),
        ("xeon", 64, 63, {0: [*range(16), *range(32, 48)], 1: [*range(16, 32), *range(48, 63)]}),
        ("grace", 72, 72, {0: range(72), 1: []}),
        ("big-little", 6, 6, {}),
        ("guest", 2, 2, {0: range(2)}),
    ],
)
def test_cpus_and_nodes(
    machine_of: MachineOf, tree_name: str, present: int, online: int, nodes: dict[int, Any]
) -> None:
    machine = machine_of(tree_name)
    assert machine.present_cpus == tuple(range(present))
    assert machine.online_cpus == tuple(range(online))
    assert set(nodes) <= set(machine.nodes())
    assert bool(nodes) is bool(machine.nodes())
    assert {node: machine.node_cpus(node) for node in nodes} == {
        node: tuple(cpus) for node, cpus in nodes.items()
    }


def test_cpus_with_holes(tree: Tree) -> None:
    tree.cpus([0, 1, 4, 5, 9], [0, 4, 9])
    machine = tree.machine()
    assert machine.present_cpus == (0, 1, 4, 5, 9)
    assert machine.online_cpus == (0, 4, 9)


def test_an_empty_tree(tree: Tree) -> None:
    machine = tree.machine()
    assert machine.online_cpus == machine.present_cpus == (0,)
    assert machine.nodes() == ()
    assert machine.node_cpus(0) == ()
    assert machine.pmu_names == ()
    assert machine.core_pmus == ()
    assert machine.kernel is None
    assert machine.paranoid is None
    assert machine.cpu_model is None
    assert machine.midr is None
    assert machine.cpu_topology(0, "core_id") is None


@pytest.mark.parametrize("text", ["", "3-1", "zz"])
def test_files_of_cpus_that_mean_nothing(tree: Tree, text: str) -> None:
    tree.write("sys/devices/system/cpu/online", text)
    tree.write("sys/devices/system/node/online", text)
    assert tree.machine().online_cpus == (0,)
    assert tree.machine().nodes() == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("654", 654), ("-1", None), ("65535", None), ("", None), ("zz", None)],
)
def test_places_that_the_kernel_does_not_know(tree: Tree, text: str, value: int | None) -> None:
    tree.write("sys/devices/system/cpu/cpu3/topology/cluster_id", text)
    assert tree.machine().cpu_topology(3, "cluster_id") == value


# ---- what it is ----


@pytest.mark.parametrize(
    ("tree_name", "arch", "model", "kernel"),
    [
        ("kunpeng-96", "aarch64", "Kunpeng 920 (TSV110)", "5.10.0-136.12.0.86.oe2203sp1.aarch64"),
        ("grace", "aarch64", "Neoverse V2", "6.8.0-1013-nvidia-64k"),
        ("big-little", "aarch64", "implementer 0x41 part 0xd03", "6.1.75-rockchip"),
        ("epyc", "x86_64", "AMD EPYC 9334 32-Core Processor", "6.1.0-18-amd64"),
    ],
)
def test_what_the_machine_is(
    machine_of: MachineOf, tree_name: str, arch: str, model: str, kernel: str
) -> None:
    machine = machine_of(tree_name)
    assert (machine.arch, machine.cpu_model, machine.kernel) == (arch, model, kernel)
    assert machine.paranoid == 2
    assert not machine.is_live


@pytest.mark.parametrize(
    ("tree_name", "cpu", "midr"),
    [
        ("kunpeng-96", 0, (0x48, 0xD01)),
        ("grace", 71, (0x41, 0xD4F)),
        ("big-little", 0, (0x41, 0xD03)),
        ("big-little", 5, (0x41, 0xD08)),
        ("xeon", 0, None),
    ],
)
@pytest.mark.parametrize("from_cpuinfo", [False, True])
def test_midr(
    machine_of: MachineOf,
    tmp_path: Path,
    tree_name: str,
    cpu: int,
    midr: tuple[int, int] | None,
    from_cpuinfo: bool,
) -> None:
    machine = machine_of(tree_name)
    if from_cpuinfo:  # kernels before 4.8, and guests that hide the register
        tree = Tree(tmp_path)
        tree.write("proc/cpuinfo", Path(machine.root, "proc/cpuinfo").read_text())
        machine = tree.machine()
    assert machine.midr_of(cpu) == midr


def test_the_midr_of_a_machine_whose_first_cpu_is_offline(tree: Tree) -> None:
    tree.cpus(range(4), (2, 3))
    tree.cpu(2, core=2, socket=0, midr=TSV110)
    assert tree.machine().midr == (0x48, 0xD01)
    assert tree.machine().cpu_model == "Kunpeng 920 (TSV110)"


@pytest.mark.parametrize("text", ["CPU implementer\t: zz\nCPU part\t: 0xd01", "nothing", ""])
def test_a_cpuinfo_without_a_midr(tree: Tree, text: str) -> None:
    tree.write("proc/cpuinfo", f"processor\t: 0\n{text}")
    assert tree.machine().midr is None


# ---- PMUs ----


def test_the_pmus_of_an_arm_server(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-128")
    dies = (1, 3, 5, 7)
    assert len([name for name in machine.pmu_names if "_ddrc" in name]) == 4 * len(dies)
    assert len([name for name in machine.pmu_names if "_l3c" in name]) == 8 * len(dies)
    assert [pmu.name for pmu in machine.core_pmus] == ["armv8_pmuv3_0"]
    core = machine.pmu("armv8_pmuv3_0")
    assert (core.is_core, core.is_device, core.cpus) == (True, False, tuple(range(128)))
    assert core.formats == {"event": "config:0-15", "long": "config1:0", "rdpmc": "config1:1"}
    assert core.event_names == tuple(sorted(ARM_COMMON))
    assert core.event_terms("inst_retired") == "event=0x0008"
    assert core.event_terms("nothing") is None
    assert core.midr == (0x48, 0xD01)
    channel = machine.pmu("hisi_sccl5_ddrc3")
    assert (channel.is_core, channel.is_device, channel.cpumask) == (False, True, (96,))
    assert channel.type != core.type
    assert machine.pmu("hisi_sccl5_ddrc3") is channel


def test_core_pmus_and_what_is_none(machine_of: MachineOf) -> None:
    assert [pmu.name for pmu in machine_of("xeon").core_pmus] == ["cpu"]
    assert [pmu.name for pmu in machine_of("hybrid").core_pmus] == ["cpu_atom", "cpu_core"]
    names = [pmu.name for pmu in machine_of("big-little").core_pmus]
    assert names == ["armv8_cortex_a53", "armv8_cortex_a72"]
    assert machine_of("guest").core_pmus == ()
    power = machine_of("xeon").pmu("power")
    assert power.cpumask == (0, 16)
    for name in ("software", "msr"):
        pmu = machine_of("xeon").pmu(name)
        assert (pmu.is_core, pmu.is_device) == (False, False)


def test_companions_of_events_are_no_events(machine_of: MachineOf) -> None:
    power = machine_of("xeon").pmu("power")
    assert power.event_names == ("energy-pkg", "energy-ram")
    assert power.event_unit("energy-pkg") == "Joules"
    assert power.event_scale("energy-pkg") == 2.0**-32
    assert machine_of("xeon").pmu("cpu").event_unit("instructions") == ""
    assert machine_of("xeon").pmu("cpu").event_scale("instructions") == 1.0


@pytest.mark.parametrize("text", ["", "x", "-1"])
def test_a_type_that_is_no_number(tree: Tree, text: str) -> None:
    tree.pmu("odd")
    tree.pmu_file("odd", "type", text)
    with pytest.raises(kperf.KperfError, match="the PMU odd has no readable type") as caught:
        assert tree.machine().pmu("odd").type
    assert caught.value.code == kperf.Error.NOT_SUPPORTED_BY_KERNEL


def test_a_pmu_with_nothing_in_it(tree: Tree) -> None:
    tree.pmu("bare")
    pmu = tree.machine().pmu("bare")
    assert (pmu.formats, pmu.event_names, pmu.cpus, pmu.cpumask) == ({}, (), None, None)


@pytest.mark.parametrize("text", ["", "zz", "3-1"])
def test_a_cpumask_without_a_cpu_is_a_devices_all_the_same(tree: Tree, text: str) -> None:
    tree.pmu("odd")
    tree.pmu_file("odd", "cpumask", text)
    assert tree.machine().pmu("odd").cpumask == ()
    assert tree.machine().pmu("odd").is_device


def test_texts_that_are_no_utf8(tree: Tree) -> None:
    tree.pmu("odd", events={"a": "event=1", "a.unit": ""})
    tree.pmu_file("odd", "events/a.unit", "").write_bytes(b"\xb5J\n")
    assert tree.machine().pmu("odd").event_unit("a") == "\N{REPLACEMENT CHARACTER}J"


# ---- tracefs ----


def test_tracepoints(machine_of: MachineOf) -> None:
    machine = machine_of("xeon")
    assert machine.trace_systems() == sorted(TRACEPOINTS)
    assert machine.trace_names("sched") == sorted(TRACEPOINTS["sched"])
    assert machine.trace_names("nothing") == []
    assert machine.trace_id("sched", "sched_switch") == 314
    for system, name in (("sched", "nothing"), ("nothing", "sched_switch"), ("sched", "x" * 300)):
        assert machine.trace_id(system, name) is None


def test_tracefs_below_debugfs(tree: Tree) -> None:
    tree.write("sys/kernel/debug/tracing/events/sched/sched_switch/id", 7)
    assert tree.machine().trace_id("sched", "sched_switch") == 7


@pytest.mark.parametrize("text", ["", "zz"])
def test_a_tracepoint_with_a_number_that_is_none(tree: Tree, text: str) -> None:
    tree.write("sys/kernel/tracing/events/sched/sched_switch/id", text)
    assert tree.machine().trace_id("sched", "sched_switch") is None


def test_no_tracefs(tree: Tree) -> None:
    with pytest.raises(kperf.KperfError) as caught:
        tree.machine().trace_systems()
    assert caught.value.code == kperf.Error.TRACEFS_UNAVAILABLE
    assert isinstance(caught.value, NotImplementedError)


# ---- as somebody else ----


def as_nobody(tree: Tree, action: Callable[[Machine], Any]) -> Any:
    """What an ordinary user reads of a tree; the way to it is closed, so they start in it."""

    def drop() -> Any:
        os.chdir(tree.root)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return action(Machine("."))

    tree.root.chmod(0o755)
    return in_fork(drop)


def code_of(action: Callable[[], Any]) -> int:
    try:
        action()
    except kperf.KperfError as failure:
        return int(failure.code)
    return 0


@rooted
@pytest.mark.parametrize("closed", ["tracing", "tracing/events"])
def test_a_tracefs_that_is_closed(tree: Tree, closed: str) -> None:
    tree.tracepoints()
    (tree.root / "sys/kernel" / closed).chmod(0o700)

    def read(machine: Machine) -> list[int]:
        return [
            code_of(lambda: machine.trace_id("sched", "sched_switch")),
            code_of(machine.trace_systems),
        ]

    assert as_nobody(tree, read) == [kperf.Error.NO_PERMISSION] * 2


@rooted
def test_files_that_are_closed(tree: Tree) -> None:
    tree.cpus(range(4))
    tree.pmu("odd", formats={"event": "config:0-7"}, events={"a": "event=1"}, cpumask=(0,))
    tree.pmu("shut", formats={"event": "config:0-7"}, events={"a": "event=1"})
    for path in ("odd/format/event", "odd/events/a", "odd/type", "shut/format", "shut/events"):
        (tree.root / "sys/bus/event_source/devices" / path).chmod(0o000)

    def read(machine: Machine) -> list[Any]:
        odd, shut = machine.pmu("odd"), machine.pmu("shut")
        return [
            odd.formats,
            odd.event_terms("a"),
            odd.event_names,
            code_of(lambda: odd.type),
            shut.formats,
            shut.event_names,
        ]

    refused = int(kperf.Error.NOT_SUPPORTED_BY_KERNEL)
    assert as_nobody(tree, read) == [{"event": ""}, None, ["a"], refused, {}, []]


# ---- this machine ----


def test_this_machine() -> None:
    machine = Machine()
    assert machine.is_live
    assert list(machine.online_cpus) == online_cpus()
    assert machine.arch == os.uname().machine
    assert machine.kernel == os.uname().release
    assert machine.pmu("software").type == 1
    assert machine.pmu("tracepoint").type == 2


def test_a_machine_is_read_when_it_is_asked_for() -> None:
    """Starting costs nothing: what a count of `task-clock` needs is no directory of PMUs."""
    code = """
        import builtins, os
        from kperf.events.names import resolve
        from kperf.machine import Machine
        seen = []
        real_open, real_listdir = builtins.open, os.listdir
        builtins.open = lambda *a, **k: (seen.append(a[0]), real_open(*a, **k))[1]
        os.listdir = lambda *a: (seen.append(a[0]), real_listdir(*a))[1]
        machine = Machine()
        event, = resolve("task-clock", machine)
        assert event.name == "task-clock"
        print([path for path in seen if "/sys/" in str(path)])
    """
    assert run_python(code).stdout.strip() == "[]"
