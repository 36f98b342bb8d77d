"""Whom `kperf stat` measures, and for how long."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import support
from cli.conftest import Run, Start
from cli.processes import Done, Running, wait_until
from support import online_cpus, privileged

WRITES = "syscalls:sys_enter_write"
CPUS = online_cpus()
LAST_CPU = CPUS[-1]

several_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="this machine has one CPU online")


def pinned(cpu: int) -> list[str]:
    return ["taskset", "-c", str(cpu)]


@pytest.fixture
def waiting(start: Start, program: Callable[[str], Path]) -> Callable[..., Running]:
    """Starts the worker, which waits until its standard input ends."""

    def begin(*work: object, cpu: int | None = None) -> Running:
        prefix = [] if cpu is None else pinned(cpu)
        running = start(*prefix, program("worker"), *work, stdin=subprocess.PIPE)
        wait_until(lambda: sleeps_in_read(running.pid), "the worker's wait")
        return running

    return begin


def sleeps_in_read(pid: int) -> bool:
    return (
        Path(f"/proc/{pid}/comm").read_text().strip() == "worker"
        and "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()
    )


def let_go(worker: Running) -> None:
    assert worker.finish().status == 0


@pytest.fixture
def sleeper(start: Start) -> Running:
    return start("sleep", "1000")


# ---- a launched command ----


@privileged
def test_a_command_is_counted_with_its_threads_and_children(
    kperf: Run, program: Callable[[str], Path]
) -> None:
    work = ["write", 5, "threads", 3, 20, "children", 4, 100]
    done = kperf("stat", "--json", "-e", WRITES, "--", program("worker"), *work)
    assert (done.status, done.row(WRITES)["count"]) == (0, 5 + 3 * 20 + 4 * 100)


@privileged
def test_no_inherit_leaves_threads_and_children_out(
    kperf: Run, program: Callable[[str], Path]
) -> None:
    work = ["write", 5, "threads", 3, 20, "children", 4, 100]
    done = kperf("stat", "--json", "--no-inherit", "-e", WRITES, "--", program("worker"), *work)
    assert done.row(WRITES)["count"] == 5


def test_a_command_needs_no_dashes_and_keeps_its_options(kperf: Run) -> None:
    done = kperf("stat", "-e", "page-faults", "echo", "--json", "-e", "x")
    assert done.lines()[0] == "--json -e x"
    assert "'echo --json -e x'" in done.out


def test_a_command_is_found_in_a_directory_of_the_path(kperf: Run, tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("echo no interpreter line\n")
    script.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = kperf("stat", "-e", "page-faults", "tool", env={**os.environ, "PATH": path})
    assert (done.status, done.lines()[0]) == (0, "no interpreter line")


def test_a_command_gets_its_signals_as_kperf_got_them(shell: Run) -> None:
    """`yes | head` ends by SIGPIPE, which Python ignores for itself."""
    done = shell("kperf stat -q -e page-faults -- bash -c 'yes | head -1; echo ${PIPESTATUS[0]}'")
    assert done.lines()[:2] == ["y", "141"]


def test_a_command_reads_standard_input(start_kperf: Start) -> None:
    running = start_kperf("stat", "-e", "page-faults", "--", "cat", stdin=subprocess.PIPE)
    assert running.finish(b"from outside\n").lines()[0] == "from outside"


def test_a_command_has_the_descriptor_limit_that_kperf_had(shell: Run) -> None:
    done = shell("ulimit -Sn 100; kperf stat -e page-faults -- sh -c 'ulimit -Sn'")
    assert done.lines()[0] == "100"


@pytest.mark.skipif(
    not Path("/sys/bus/event_source/devices/breakpoint").exists(),
    reason="this machine has no hardware breakpoints",
)
def test_a_breakpoint_counts_how_often_an_address_is_executed(
    kperf: Run, program: Callable[[str], Path]
) -> None:
    symbols = subprocess.run(
        ["nm", program("worker")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (address,) = (line.split()[0] for line in symbols if line.endswith(" write_once"))
    event = f"mem:0x{address}:x"
    done = kperf("stat", "--json", "-e", event, "--", program("worker"), "write", 25)
    assert done.row(event)["count"] == 25


# ---- processes and threads that run already ----


@privileged
def test_a_process_is_counted_until_it_ends(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("write", 7, "threads", 2, 20, "children", 3, 100)
    counting = start_kperf("stat", "--json", "-e", WRITES, "-p", worker.pid)
    counting.wait_for_counters()
    let_go(worker)
    done = counting.finish()
    document = done.document()
    assert (done.status, done.row(WRITES)["count"]) == (0, 7 + 2 * 20 + 3 * 100)
    assert document["target"] == {"pids": [worker.pid]}
    assert document["exit_status"] is None


@privileged
def test_several_processes_are_counted_until_the_last_one_ends(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    first, second = waiting("write", 7), waiting("write", 40)
    counting = start_kperf("stat", "--json", "-e", WRITES, "-p", f"{first.pid},{second.pid}")
    counting.wait_for_counters()
    let_go(first)
    assert counting.process.poll() is None
    let_go(second)
    assert counting.finish().row(WRITES)["count"] == 47


@privileged
def test_no_inherit_counts_only_the_threads_that_there_are(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("write", 7, "threads", 2, 20, "children", 3, 100)
    counting = start_kperf("stat", "--json", "--no-inherit", "-e", WRITES, "-p", worker.pid)
    counting.wait_for_counters()
    let_go(worker)
    assert counting.finish().row(WRITES)["count"] == 7


@pytest.fixture
def busy() -> Iterator[support.Worker]:
    with support.worker() as running:
        running.ask("threads", 3)
        yield running


def count_all(busy: support.Worker, counting: Running, times: int) -> Done:
    """Has every thread of the worker write, between the opening of the counters and the end."""
    counting.wait_for_counters()
    busy.ask("all", times)
    counting.signal(signal.SIGINT)
    return counting.finish()


@privileged
def test_per_thread_has_a_row_for_each_thread(busy: support.Worker, start_kperf: Start) -> None:
    counting = start_kperf("stat", "--json", "--per-thread", "-e", WRITES, "-p", busy.pid)
    rows = count_all(busy, counting, 25).rows()
    others = [tid for tid in busy.threads() if tid != busy.pid]
    assert [row["tid"] for row in rows] == busy.threads()
    assert {row["pid"] for row in rows} == {busy.pid}
    assert {row["tid"]: row["count"] for row in rows if row["tid"] in others} == dict.fromkeys(
        others, 25
    )
    assert all(row["comm"] for row in rows)


@privileged
def test_a_thread_is_counted_alone(busy: support.Worker, start_kperf: Start) -> None:
    tid = next(tid for tid in busy.threads() if tid != busy.pid)
    done = count_all(busy, start_kperf("stat", "--json", "-e", WRITES, "-t", tid), 25)
    assert done.row(WRITES)["count"] == 25
    assert done.document()["target"] == {"tids": [tid]}


@several_cpus
@privileged
def test_a_process_is_counted_on_the_chosen_cpus_only(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("write", 30, cpu=LAST_CPU)
    there = start_kperf("stat", "--json", "-e", WRITES, "-p", worker.pid, "-C", LAST_CPU)
    elsewhere = start_kperf("stat", "--json", "-e", WRITES, "-p", worker.pid, "-C", CPUS[0])
    for counting in (there, elsewhere):
        counting.wait_for_counters()
    let_go(worker)
    assert there.finish().row(WRITES)["count"] == 30
    assert elsewhere.finish().row(WRITES)["state"] == "not-counted"


@privileged
def test_a_process_is_counted_cpu_by_cpu(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("write", 30, cpu=LAST_CPU)
    counting = start_kperf("stat", "--json", "-A", "-a", "-e", WRITES, "-p", worker.pid)
    counting.wait_for_counters()
    let_go(worker)
    rows = counting.finish().rows()
    assert [row["cpu"] for row in rows] == CPUS
    assert {row["cpu"]: row["count"] for row in rows}[LAST_CPU] == 30


# ---- the system, and some CPUs ----


@privileged
def test_the_system_is_counted_while_a_command_runs(
    start: Start, kperf: Run, program: Callable[[str], Path]
) -> None:
    """Everything is counted, so at least what the command does."""
    done = kperf("stat", "--json", "-a", "-e", WRITES, "--", program("worker"), "write", 1000)
    assert done.status == 0
    assert done.row(WRITES)["count"] >= 1000
    assert done.document()["target"] == {
        "argv": [str(program("worker")), "write", "1000"],
        "system": True,
    }


@several_cpus
@privileged
def test_chosen_cpus_are_counted_while_a_command_runs(
    kperf: Run, program: Callable[[str], Path]
) -> None:
    done = kperf(
        *("stat", "--json", "-A", "-C", LAST_CPU, "-e", WRITES, "--"),
        *(*pinned(LAST_CPU), program("worker"), "write", 1000),
    )
    (row,) = done.rows()
    assert row["cpu"] == LAST_CPU
    assert row["count"] >= 1000


@privileged
def test_a_cpu_list_may_repeat_and_overlap(kperf: Run) -> None:
    first, last = CPUS[0], CPUS[-1]
    done = kperf("stat", "--json", "-A", "-C", f"{last},{first}-{last}", "-e", "cs", "-d", "0.01")
    assert [row["cpu"] for row in done.rows()] == CPUS


@privileged
def test_the_systems_counting_ends_after_the_duration(kperf: Run) -> None:
    done = kperf("stat", "--json", "-a", "-d", "0.05", "-e", "context-switches")
    document = done.document()
    assert done.status == 0
    assert document["target"] == {"system": True}
    assert document["duration_ns"] >= 50_000_000


# ---- combinations of a command with other targets ----


def test_a_command_only_says_how_long_a_process_is_counted(kperf: Run, sleeper: Running) -> None:
    done = kperf(
        "stat", "--json", "-p", sleeper.pid, "-e", "page-faults", "--", "sh", "-c", "exit 7"
    )
    document = done.document()
    assert (done.status, document["exit_status"]) == (7, 7)
    assert document["target"] == {"argv": ["sh", "-c", "exit 7"], "pids": [sleeper.pid]}
    assert sleeper.process.poll() is None


@privileged
def test_the_commands_status_is_the_systems_too(kperf: Run) -> None:
    assert kperf("stat", "-q", "-a", "--", "sh", "-c", "exit 7").status == 7


def test_a_command_is_ended_after_the_duration(kperf: Run, tmp_path: Path) -> None:
    marker = tmp_path / "ended-by"
    script = f"trap 'echo TERM >{marker}; exit 9' TERM; while :; do sleep 0.01; done"
    done = kperf("stat", "--json", "-e", "page-faults", "-d", "0.2", "--", "bash", "-c", script)
    assert marker.read_text() == "TERM\n"
    assert (done.status, done.document()["exit_status"]) == (0, 9)
    assert done.row("page-faults")["count"] > 0


def test_a_command_that_ends_before_the_duration_keeps_its_status(kperf: Run) -> None:
    assert kperf("stat", "-q", "-d", "1000", "--", "sh", "-c", "exit 4").status == 4


def test_a_process_lives_on_after_the_duration(kperf: Run, sleeper: Running) -> None:
    done = kperf("stat", "-e", "page-faults", "-d", "0.05", "-p", sleeper.pid)
    assert done.status == 0
    assert sleeper.process.poll() is None


# ---- a later start ----


def test_nothing_is_counted_before_the_delay_is_over(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("touch", 100)
    counting = start_kperf("stat", "--json", "-D", 1_000_000, "-e", "page-faults", "-p", worker.pid)
    counting.wait_for_counters()
    let_go(worker)
    assert counting.finish().row("page-faults")["state"] == "not-counted"


@privileged
def test_everything_is_counted_after_the_delay(
    start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    worker = waiting("write", 100)
    counting = start_kperf("stat", "--json", "-D", 1, "-I", 20, "-e", WRITES, "-p", worker.pid)
    assert counting.process.stdout is not None
    first = counting.process.stdout.readline()  # an interval has passed, so the delay has
    let_go(worker)
    documents = Done(0, first.decode() + counting.finish().out).documents()
    assert sum(document["rows"][0]["count"] or 0 for document in documents) == 100


def test_a_command_may_end_before_the_delay(kperf: Run) -> None:
    done = kperf("stat", "--json", "-D", 1_000_000, "-e", "page-faults", "--", "sh", "-c", "exit 3")
    assert (done.status, done.row("page-faults")["state"]) == (3, "not-counted")


# ---- cgroups ----


def unified_hierarchy() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return None


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of version 2 of our own."""
    top = unified_hierarchy()
    if top is None:
        pytest.skip("no cgroup2 hierarchy is mounted here")
    folder = top / f"kperf-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as refused:
        pytest.skip(f"no cgroup can be made here: {refused}")
    yield folder
    wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the end of the cgroup's tasks")
    folder.rmdir()


@privileged
def test_a_cgroups_tasks_are_counted_and_no_others(
    cgroup: Path, start_kperf: Start, waiting: Callable[..., Running]
) -> None:
    inside, outside = waiting("write", 30), waiting("write", 500)
    (cgroup / "cgroup.procs").write_text(str(inside.pid))
    counting = start_kperf("stat", "--json", "-a", "-G", cgroup, "-e", WRITES)
    counting.wait_for_counters()
    let_go(inside)
    let_go(outside)
    counting.signal(signal.SIGINT)
    done = counting.finish()
    assert done.row(WRITES)["count"] == 30
    assert done.document()["target"] == {"cgroup": str(cgroup), "system": True}
