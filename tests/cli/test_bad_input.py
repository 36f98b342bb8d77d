"""Bad input: one clear sentence, the right status, and nothing left behind.

The fixtures fail a test that leaves a process; files are looked for here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import wait_until
from support import online_cpus, privileged
from unit.trees import BUILDERS, Tree

from kperf.errors import Error, InvalidArgumentError, KperfError
from kperf.events.grammar import parse
from kperf.events.names import resolve
from kperf.events.resolve import resolve_groups
from kperf.request import Target, check_cpus

HARDWARE = any(Path("/sys/bus/event_source/devices").glob("*cpu*"))


def a_pid_that_is_free() -> int:
    """The highest there could be, or one below."""
    pid = int(Path("/proc/sys/kernel/pid_max").read_text()) - 1
    while Path(f"/proc/{pid}").exists():
        pid -= 1
    return pid


# ---- calls that mean nothing: 2 ----

WRONG_CALLS: list[tuple[list[str], str]] = [
    (["-e", ""], "the event list is empty"),
    (["-e", " "], "the event list is empty"),
    (["-e", ","], "empty place"),
    (["-e", "page-faults,,dummy"], "empty place"),
    (["-e", "{page-faults"], "no '}' closes"),
    (["-e", "{}"], "empty place"),
    (["-e", "page-faults}"], "goes wrong at '}'"),
    (["-e", "msr/tsc"], "has a '/' without its partner"),
    (["-p", "0"], "'0' is no process number"),
    (["-p", "-1"], "'-1' is no process number"),
    (["-p", "x"], "'x' is no process number"),
    (["-p", ""], "'' is no process number"),
    (["-p", "1,,2"], "'' is no process number"),
    (["-p", "99999999999"], "'99999999999' is no process number"),
    (["-t", "0"], "'0' is no thread number"),
    (["-C", "3-1"], "the range '3-1' runs backwards"),
    (["-C", "x"], "'x' is no CPU number"),
    (["-C", ""], "'' is no CPU number"),
    (["-C", "-1"], "is no CPU number"),
    (["-C", "0-"], "is no CPU number"),
    (["-C", "0,,1"], "is no CPU number"),
    (["-C", "99999999999"], "there is no CPU 99999999999"),
    (["-d", "0"], "'0' is no time"),
    (["-d", "-1"], "'-1' is no time"),
    (["-d", "nan"], "'nan' is no time"),
    (["-d", "inf"], "'inf' is no time"),
    (["-d", "1e300"], "'1e300' is no time"),
    (["-d", "x"], "'x' is no time"),
    (["-D", "-1"], "'-1' will not do"),
    (["-D", "x"], "'x' will not do"),
    (["-I", "0"], "'0' will not do"),
    (["-I", "1.5"], "'1.5' will not do"),
    (["-I", "1e3"], "'1e3' will not do"),
    (["-r", "0"], "'0' will not do"),
    (["-r", "-2"], "'-2' will not do"),
    (["--interval-count", "0", "-I", "10"], "'0' will not do"),
    (["--interval-count", "3"], "add -I MS"),
    (["-r", "2", "-I", "10"], "leave one out"),
    (["-r", "2", "--per-thread"], "leave --per-thread out"),
    (["--per-core"], "add -a, or -C LIST"),
    (["-A"], "add -a, or -C LIST"),
    (["--per-core", "--per-socket", "-a"], "--per-core and --per-socket"),
    (["--per-thread", "-a"], "--per-thread needs threads"),
    (["-a", "-C", "0"], "leave one out"),
    (["-G", "/"], "add -a, or -C LIST"),
    (["-G", "", "-a"], "the name is empty"),
    (["-G", "/", "-a", "-p", "1"], "cannot be counted at once"),
    (["-o", ""], "the name is empty"),
    (["-o", "x", "--output-fd", "1"], "two places"),
    (["--output-fd", "-1"], "'-1' will not do"),
    (["--output-fd", "99999999999"], "will not do"),
    (["--json", "--csv"], "one form, not csv and json"),
    (["--json", "--format", "text"], "one form, not json and text"),
    (["--format", "xml"], "'xml' is not one of"),
    (["--nosuch"], "--nosuch"),
]


@pytest.mark.parametrize(("options", "reason"), WRONG_CALLS, ids=lambda value: str(value)[:40])
def test_a_wrong_call(kperf: Run, tmp_path: Path, options: list[str], reason: str) -> None:
    done = kperf("stat", *options, "--", "echo", "never", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert reason in done.error()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["-r", "2", "-p", "1"], ["-r", "2", "-a"], [], ["--json"]])
def test_a_wrong_call_without_a_command(kperf: Run, options: list[str]) -> None:
    done = kperf("stat", *options)
    assert (done.status, done.out) == (2, "")
    assert "name" in done.error()


# ---- events ----

UNKNOWN: list[tuple[str, str]] = [
    ("nosuchthing", "unknown event 'nosuchthing': see 'kperf list'"),
    ("task-clok", "did you mean task-clock"),
    ("pagefaults", "did you mean page-faults"),
    ("page-faults:z", "unknown modifier 'z'"),
    ("page-faults:pppp", "precision 4"),
    ("nosuchpmu/event=1/", "there is no PMU 'nosuchpmu'"),
    ("msr/nosuch/", "knows no term or event 'nosuch'"),
    ("mem:zzz", "the breakpoint 'mem:zzz' cannot be read"),
    ("mem:0x1001/4:w", "the address a multiple of it"),
    ("mem:0x1000/3:w", "the length must be 1, 2, 4 or 8"),
]


@pytest.mark.parametrize(("event", "reason"), UNKNOWN, ids=[event for event, _ in UNKNOWN])
def test_an_event_that_does_not_exist(kperf: Run, event: str, reason: str) -> None:
    if event.startswith("msr/") and not Path("/sys/bus/event_source/devices/msr").exists():
        pytest.skip("this machine has no msr PMU")
    done = kperf("stat", "-e", event, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert reason in done.error()


@privileged
def test_a_tracepoint_that_does_not_exist(kperf: Run) -> None:
    done = kperf("stat", "-e", "sched:sched_swich", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "did you mean sched:sched_switch" in done.error()


def test_every_unknown_event_is_named(kperf: Run) -> None:
    error = kperf("stat", "-e", "nosuchone,dummy,nosuchtwo", "--", "true").error()
    assert "nosuchone" in error
    assert "nosuchtwo" in error


BREAKPOINTS = ",".join(f"mem:{address:#x}/8:w" for address in range(0x1000, 0x1000 + 8 * 40, 8))


@pytest.mark.parametrize("events", [BREAKPOINTS, f"{{{BREAKPOINTS}}}"], ids=["alone", "in a group"])
def test_more_breakpoints_than_the_cpu_has(kperf: Run, events: str) -> None:
    """x86 has 4, Arm at most 16."""
    done = kperf("stat", "-e", events, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "no free hardware breakpoint for mem:" in done.error()
    assert "watch fewer addresses" in done.error()


@pytest.mark.skipif(HARDWARE, reason="with a PMU these are supported")
def test_a_machine_without_a_pmu_keeps_rows_for_what_it_lacks(kperf: Run) -> None:
    done = kperf("stat", "--json", "-e", "cycles,instructions:u,LLC-load-misses", "--", "true")
    assert done.status == 0
    assert {row["state"] for row in done.rows()} == {"not-supported"}
    assert "no hardware PMU" in " ".join(done.document()["quality"]["notes"])


def test_the_default_events_fall_back_by_themselves(kperf: Run) -> None:
    done = kperf("stat", "--json", "--", "true")
    rows = done.rows()
    assert [row["event"] for row in rows] == [
        *("task-clock", "context-switches", "cpu-migrations", "page-faults"),
        *("cycles", "instructions", "branches", "branch-misses"),
    ]
    assert {row["state"] for row in rows[:4]} == {"counted"}


@pytest.mark.skipif(not HARDWARE, reason="without a PMU there are no counters to exceed")
def test_a_group_larger_than_the_counters(kperf: Run) -> None:
    events = ",".join(["instructions", "branches", "branch-misses", "cache-misses"] * 10)
    done = kperf("stat", "-e", f"{{{events}}}", "--", "echo", "never")
    assert done.status == 1
    assert "does not fit into its group" in done.error()


# This machine has no uncore PMU: what is refused is found in a copied tree, by the same code.


def test_a_device_is_not_counted_for_a_process(tmp_path: Path) -> None:
    machine = BUILDERS["kunpeng-96"](tmp_path).machine()
    name = next(name for name in machine.pmu_names if "ddrc" in name)
    (event,) = resolve(f"{name}/{machine.pmu(name).event_names[0]}/", machine)
    target = Target(pids=[1], tids=[], cpus=[], cgroup="")
    with pytest.raises(InvalidArgumentError, match=f"{name}.*counts a device, not a process: .*-a"):
        target.cpus_of(event, machine)


def test_a_group_of_two_pmus(tmp_path: Path) -> None:
    machine = BUILDERS["kunpeng-96"](tmp_path).machine()
    first, second = [name for name in machine.pmu_names if "ddrc" in name][:2]
    event = machine.pmu(first).event_names[0]
    with pytest.raises(KperfError, match="mixes PMUs") as caught:
        resolve_groups(parse(f"{{{first}/{event}/,{second}/{event}/}}"), machine)
    assert caught.value.code == Error.INVALID_GROUP


# ---- processes ----


@pytest.mark.parametrize("option", ["-p", "-t"])
def test_a_process_that_does_not_exist(kperf: Run, option: str) -> None:
    pid = a_pid_that_is_free()
    done = kperf("stat", option, pid)
    assert (done.status, done.out) == (1, "")
    assert f"there is no process {pid}" in done.error()


def test_a_process_that_has_ended(kperf: Run, start: Start) -> None:
    """Nobody has fetched its status, so its number is still taken."""
    dead = start("true")
    stat = Path(f"/proc/{dead.pid}/stat")
    wait_until(lambda: ") Z " in stat.read_text(), "the zombie")
    done = kperf("stat", "-e", "page-faults", "-p", dead.pid)
    assert (done.status, done.out) == (1, "")
    assert f"process {dead.pid} has ended" in done.error()


def test_one_of_several_processes_does_not_exist(kperf: Run) -> None:
    done = kperf("stat", "-p", f"{os.getpid()},{a_pid_that_is_free()}")
    assert done.status == 1
    assert "there is no process" in done.error()


def test_a_launched_command_is_not_run_when_the_counters_do_not_open(
    kperf: Run, tmp_path: Path
) -> None:
    done = kperf("stat", "-p", a_pid_that_is_free(), "--", "touch", tmp_path / "ran")
    assert done.status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_dies_at_once(kperf: Run) -> None:
    done = kperf("stat", "--json", "-e", "page-faults", "--", "sh", "-c", "kill -9 $$")
    assert (done.status, done.document()["exit_status"]) == (137, 137)


def test_a_target_that_forks_5000_children(kperf: Run, program: Callable[[str], Path]) -> None:
    """One page each, in children that live for an instant."""
    done = kperf(
        *("stat", "--json", "-e", "page-faults,task-clock", "--"),
        *(program("worker"), "children", 5000, 1),
    )
    assert done.status == 0
    assert done.row("page-faults")["count"] >= 5000
    assert done.row("page-faults")["running"] == 1.0


@privileged
def test_no_write_of_5000_children_is_missed(kperf: Run, program: Callable[[str], Path]) -> None:
    event = "syscalls:sys_enter_write"
    done = kperf("stat", "--json", "-e", event, "--", program("worker"), "children", 5000, 3)
    assert done.row(event)["count"] == 15_000


def test_a_target_that_makes_children_while_it_is_attached(
    start: Start, start_kperf: Start, program: Callable[[str], Path]
) -> None:
    worker = start(program("worker"), "children", 5000, 3, stdin=subprocess.PIPE)
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    worker.process.stdin = None
    done = start_kperf("stat", "--json", "-e", "page-faults", "-p", worker.pid).finish()
    assert worker.finish().status == 0
    assert done.status == 0
    assert done.row("page-faults")["count"] > 0


# ---- CPUs ----


def test_a_cpu_that_does_not_exist(kperf: Run) -> None:
    done = kperf("stat", "-C", 5000, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "there is no CPU 5000 here: the CPUs are 0" in done.error()


def test_a_cpu_range_beyond_the_last(kperf: Run) -> None:
    last = online_cpus()[-1]
    done = kperf("stat", "-C", f"0-{last + 1}", "--", "echo", "never")
    assert done.status == 1
    assert f"there is no CPU {last + 1} here" in done.error()


def test_an_offline_cpu_of_a_copied_tree(tmp_path: Path) -> None:
    """No test takes a CPU away from whatever else runs here."""
    tree = Tree(tmp_path)
    tree.cpus(range(4), online=[0, 1, 3])
    assert check_cpus([3, 0, 3], tree.machine()) == [0, 3]
    with pytest.raises(InvalidArgumentError, match=r"CPU 2 is offline: .*cpu2/online"):
        check_cpus([0, 2], tree.machine())


# ---- cgroups ----


@privileged
@pytest.mark.parametrize("path", ["no/such/cgroup", "/sys/kernel", "/sys/fs/cgroup/no-such"])
def test_a_directory_that_is_no_cgroup(kperf: Run, path: str) -> None:
    done = kperf("stat", "-a", "-G", path, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert f"no cgroup '{path}'" in done.error()


def other_hierarchies() -> list[str]:
    """Where controllers of version 1 are mounted in which perf cannot count."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [
        place for _, place, kind, *_ in mounts if kind == "cgroup" and "perf_event" not in place
    ]


@privileged
@pytest.mark.skipif(not other_hierarchies(), reason="no controller of version 1 is mounted here")
def test_a_cgroup_of_another_hierarchy(kperf: Run) -> None:
    """The kernel refuses it as it refuses an event that it does not have."""
    done = kperf("stat", "-a", "-G", other_hierarchies()[0], "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "whose tasks can be counted" in done.error()
