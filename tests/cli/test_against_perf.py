"""Judged from outside: what `perf stat` counts on the same program is what `kperf stat` counts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import KPERF, wait_until
from support import PATIENCE_S, online_cpus, rooted

PERF = shutil.which("perf")
WRITES = "syscalls:sys_enter_write"

pytestmark = [
    pytest.mark.skipif(PERF is None, reason="there is no perf to compare with"),
    rooted,
]

# Enough of everything: own work, threads, children, and pages.
WORK = ("write", 100, "touch", 50, "threads", 3, 10, "children", 4, 25, "touch", 5)
WORK_WRITES = 100 + 3 * 10 + 4 * 25

Counts = dict[str, float]
Both = Callable[..., tuple[Counts, Counts]]  # kperf's and perf's


def perf_counts(text: str) -> Counts:
    """Event to count, of `perf stat -x,`."""
    fields = (line.split(",") for line in text.splitlines() if line and not line.startswith("#"))
    return {field[2]: float(field[0]) for field in fields}


def counts_by_perf(
    tmp_path: Path, prefix: Sequence[str], events: str, argv: Sequence[object]
) -> Counts:
    path = tmp_path / "perf.csv"
    command = [*prefix, PERF, "stat", "-x,", "-o", path, "-e", events, "--", *argv]
    subprocess.run(
        [str(word) for word in command], check=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S
    )
    return perf_counts(path.read_text())


def counts_by_kperf(
    start: Start, prefix: Sequence[str], events: str, argv: Sequence[object]
) -> Counts:
    done = start(*prefix, KPERF, "stat", "--json", "-e", events, "--", *argv).finish()
    assert done.status == 0, done.err
    return {row["event"]: row["count"] for row in done.rows()}


@pytest.fixture
def both(start: Start, tmp_path: Path) -> Both:
    """The counts of both on runs of the same command, each begun with the same words."""

    def run(events: str, *argv: object, prefix: Sequence[str] = ()) -> tuple[Counts, Counts]:
        return (
            counts_by_kperf(start, prefix, events, argv),
            counts_by_perf(tmp_path, prefix, events, argv),
        )

    return run


def least_growth(
    both: Run, events: str, program: Path, small: Sequence[object], large: Sequence[object]
) -> tuple[Counts, Counts]:
    """By how much each event's count grows with the work, as either tool has it.

    perf changes its child's PATH, and with it how many pages of the stack the program's start
    touches: only the growth is the program's own. Of several runs the least count is taken, as
    threads that meet on a page, and memory that runs short, can only add to what must be.
    """
    least: list[list[Counts]] = []
    for work in (small, large):
        pairs = [both(events, program, *work, prefix=["setarch", "-R"]) for _ in range(5)]
        least.append(
            [{e: min(pair[tool][e] for pair in pairs) for e in pairs[0][tool]} for tool in (0, 1)]
        )
    ours, theirs = (
        {event: least[1][tool][event] - least[0][tool][event] for event in least[1][tool]}
        for tool in (0, 1)
    )
    return ours, theirs


# ---- a launched command ----


def test_page_faults_are_the_same(both: Run, program: Callable[[str], Path]) -> None:
    """Without randomized addresses the program touches the same pages in each run."""
    ours, theirs = least_growth(
        both, "page-faults", program("worker"), ("touch", 50), ("touch", 90)
    )
    assert ours == theirs == {"page-faults": 40}


def test_writes_of_threads_and_children_are_the_same(
    both: Both, program: Callable[[str], Path]
) -> None:
    ours, theirs = both(WRITES, program("worker"), *WORK)
    assert ours == theirs == {WRITES: WORK_WRITES}


def test_context_switches_are_the_same(both: Both, program: Callable[[str], Path]) -> None:
    """Nobody else may run on that CPU meanwhile, so a switch is where the program blocks."""
    alone = ["chrt", "--fifo", "50", "taskset", "-c", str(online_cpus()[-1])]
    ours, theirs = both("context-switches", program("worker"), "pingpong", 500, prefix=alone)
    assert ours == theirs
    assert ours["context-switches"] >= 1000


def test_a_group_counts_what_lone_events_count(both: Run, program: Callable[[str], Path]) -> None:
    events = f"{{page-faults,{WRITES}}},minor-faults"
    ours, theirs = least_growth(
        both,
        events,
        program("worker"),
        ("touch", 50, "write", 10),
        ("touch", 90, "write", 30),
    )
    assert ours == theirs == {"page-faults": 40, WRITES: 20, "minor-faults": 40}


def test_without_inherit_the_same_is_left_out(
    start: Start, tmp_path: Path, program: Callable[[str], Path]
) -> None:
    path = tmp_path / "perf.csv"
    argv = [program("worker"), *WORK]
    start(PERF, "stat", "-i", "-x,", "-o", path, "-e", WRITES, "--", *argv).finish()
    done = start(KPERF, "stat", "--no-inherit", "--json", "-e", WRITES, "--", *argv).finish()
    assert done.row(WRITES)["count"] == perf_counts(path.read_text())[WRITES] == 100


# ---- one process, both at once ----


@pytest.fixture
def attached(start: Start, program: Callable[[str], Path], tmp_path: Path) -> Both:
    """Both on one process from before its work to its end, so that they see the very same."""

    def run(events: str, *work: object) -> tuple[Counts, Counts]:
        worker = start(program("worker"), *work, stdin=subprocess.PIPE)
        wchan = Path(f"/proc/{worker.pid}/wchan")
        wait_until(lambda: "pipe_read" in wchan.read_text(), "the worker's wait")
        path = tmp_path / "perf.csv"
        ours = start(KPERF, "stat", "--json", "-e", events, "-p", worker.pid)
        theirs = start(PERF, "stat", "-x,", "-o", path, "-e", events, "-p", worker.pid)
        for profiler in (ours, theirs):
            profiler.wait_for_counters()
        assert worker.finish().status == 0
        rows = ours.finish().rows()
        assert theirs.finish().status == 0
        return {row["event"]: row["count"] for row in rows}, perf_counts(path.read_text())

    return run


def test_what_happens_to_a_process_is_counted_the_same(attached: Both) -> None:
    """Whatever else runs here: context switches are those that there were."""
    events = f"context-switches,page-faults,minor-faults,cpu-migrations,{WRITES}"
    ours, theirs = attached(events, *WORK, "pingpong", 300, "spin", 50, "sleep", 5)
    assert ours == theirs
    assert ours[WRITES] == WORK_WRITES + 2 * 300
    assert ours["context-switches"] >= 300


@pytest.mark.parametrize("clock", ["task-clock", "cpu-clock"])
def test_time_is_counted_the_same_within_1_percent(attached: Both, clock: str) -> None:
    ours, theirs = attached(clock, "spin", 400)
    assert ours[clock] == pytest.approx(theirs[clock] * 1e6, rel=0.01)  # perf's is in ms
    assert ours[clock] > 350e6


def test_threads_and_children_are_timed_the_same(attached: Both) -> None:
    ours, theirs = attached("task-clock", "threads", 8, 20_000, "children", 8, 20_000)
    assert ours["task-clock"] == pytest.approx(theirs["task-clock"] * 1e6, rel=0.01)


# ---- the system, both at once ----


def test_a_cpus_counts_hold_what_runs_on_it(start: Start, program: Callable[[str], Path]) -> None:
    """System-wide counts of a window that lies within another are never above its."""
    events = f"context-switches,{WRITES}"
    argv = (program("worker"), "write", 20_000)
    outer = start(
        *(PERF, "stat", "-a", "-x,", "-e", events, "--"),
        *(KPERF, "stat", "-a", "--json", "--output-fd", 1, "-e", events, "--", *argv),
    )
    done = outer.finish()
    theirs = perf_counts(done.err)
    for row in done.rows():
        assert 0 < row["count"] <= theirs[row["event"]]
    assert done.row(WRITES)["count"] >= 20_000


def test_perf_lists_the_software_events_that_we_list(kperf: Run) -> None:
    env = {**os.environ, "PAGER": "cat"}
    listed = subprocess.run(
        [str(PERF), "list", "sw"], capture_output=True, text=True, check=True, env=env
    ).stdout
    ours = [row["name"] for row in kperf("list", "--json", "software").rows()]
    assert [name for name in ours if name not in listed] == []
