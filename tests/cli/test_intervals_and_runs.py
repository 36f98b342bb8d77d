"""`kperf stat -I`, `--interval-count` and `-r`."""

from __future__ import annotations

import calendar
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run, Start
from cli.processes import KPERF, children_of, documents_in
from support import privileged

WRITES = "syscalls:sys_enter_write"


@privileged
def test_intervals_add_up_to_the_whole(kperf: Run, program: Callable[[str], Path]) -> None:
    work = ["write", 100, "sleep", 60, "write", 20, "sleep", 60, "children", 2, 4]
    done = kperf("stat", "--json", "-I", 25, "-e", WRITES, "--", program("worker"), *work)
    documents = done.documents()
    assert len(documents) > 1
    assert sum(document["rows"][0]["count"] or 0 for document in documents) == 128
    assert [document["interval"] for document in documents] == list(range(len(documents)))


def test_intervals_are_shown_while_the_command_runs(start_kperf: Start) -> None:
    running = start_kperf("stat", "--json", "-I", 20, "-e", "dummy", "--", "sleep", 1000)
    assert running.process.stdout is not None
    lines = [running.process.stdout.readline() for _ in range(3)]
    shown = documents_in(b"".join(lines).decode())
    assert [document["interval"] for document in shown] == [0, 1]
    (child,) = children_of(running.pid)
    running.signal(signal.SIGTERM)
    assert running.finish().status == 128 + signal.SIGTERM
    assert not Path(f"/proc/{child}").exists()


def test_interval_count_ends_the_command(kperf: Run) -> None:
    done = kperf(
        *("stat", "--json", "-I", 10, "--interval-count", 4, "-e", "dummy", "--", "sleep", 1000)
    )
    assert (done.status, len(done.documents())) == (0, 4)


@privileged
def test_interval_count_ends_the_systems_counting(kperf: Run) -> None:
    done = kperf("stat", "-a", "-I", 10, "--interval-count", 2, "-e", "context-switches")
    assert done.status == 0
    assert done.out.count("quality: ") == 2
    titles = [line for line in done.lines() if line.startswith("interval ")]
    assert [title.split(",")[0] for title in titles] == ["interval 0", "interval 1"]


@privileged
def test_the_duration_cuts_the_last_interval(kperf: Run) -> None:
    done = kperf("stat", "-a", "--json", "-I", 1_000_000, "-d", "0.05", "-e", "context-switches")
    (document,) = done.documents()
    assert (done.status, document["interval"]) == (0, 0)


def test_a_commands_last_interval_is_shown(kperf: Run) -> None:
    done = kperf("stat", "--json", "-I", 1_000_000, "-e", "page-faults", "sh", "-c", "exit 6")
    (document,) = done.documents()
    assert (done.status, document["exit_status"]) == (6, None)
    assert document["rows"][0]["count"] > 0


def start_ns(document: dict[str, Any]) -> int:
    whole, _, micro = document["start"].rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(micro) * 1000


def test_intervals_that_went_by_while_it_was_stopped_are_one(start_kperf: Start) -> None:
    """As after Ctrl-Z: the next interval has what was missed, and not many empty ones in a row."""
    length = 100
    running = start_kperf(
        *("stat", "--json", "-I", length, "--interval-count", 6, "-e", "dummy", "sleep", 1000)
    )
    running.wait_for_counters()
    running.signal(signal.SIGSTOP)
    time.sleep(0.9)
    running.signal(signal.SIGCONT)
    starts = [start_ns(document) for document in running.finish().documents()]
    slots = [(start - starts[0] + 10**6) // (length * 10**6) for start in starts]
    assert len(set(slots)) == len(slots) == 6
    assert slots[-1] > 5


# ---- repeated runs ----


def test_the_command_runs_that_often(kperf: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = kperf("stat", "-r", 5, "-e", "page-faults", "--", "sh", "-c", f"echo x >>{log}")
    assert log.read_text() == "x\n" * 5
    assert "a run, 5 runs" in done.out
    assert "+- " in done.out
    assert done.out.count("quality: ") == 1


@privileged
def test_the_mean_and_the_deviation_are_those_of_the_runs(
    kperf: Run, program: Callable[[str], Path], tmp_path: Path
) -> None:
    counter = tmp_path / "n"
    counter.write_text("0")
    script = f"n=$(cat {counter}); echo $((n + 10)) >{counter}; exec {program('worker')} write $n"
    done = kperf("stat", "--json", "-r", 3, "-e", WRITES, "--", "bash", "-c", script)
    row = done.row(WRITES)
    extra = row["mean"] - 10  # what the shell writes itself, the same in each run
    assert extra == int(extra)
    assert (row["count"], row["stddev"], row["runs"]) == (row["mean"], 10.0, 3)


def test_the_last_runs_status_counts(kperf: Run, tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    script = f"test -e {flag} && exit 4; touch {flag}; exit 9"
    done = kperf("stat", "--json", "-r", 2, "-e", "page-faults", "--", "sh", "-c", script)
    assert (done.status, done.document()["exit_status"]) == (4, 4)


def test_a_run_that_was_interrupted_is_left_out(kperf: Run, tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    script = f"test -e {flag} && kill -INT $PPID && exec sleep 1000; touch {flag}"
    done = kperf("stat", "--json", "-r", 9, "-e", "page-faults", "--", "sh", "-c", script)
    assert done.status == 130
    assert done.row("page-faults")["runs"] == 1
    assert "run 2 was interrupted, and is left out" in done.document()["quality"]["notes"]


def test_no_run_leaves_a_descriptor_open(kperf: Run) -> None:
    """While the command looks, one may just be on its way to be closed."""
    done = kperf("stat", "-r", 12, "-e", "dummy", "--", "sh", "-c", "ls /proc/$PPID/fd | wc -l")
    numbers = [int(line) for line in done.lines()[:12]]
    assert max(numbers) - min(numbers) <= 2, numbers


@pytest.mark.parametrize("size", [1, 2])
def test_runs_end_with_the_duration(kperf: Run, size: int) -> None:
    done = kperf("stat", "--json", "-r", size, "-d", "0.02", "-e", "dummy", "--", "sleep", 1000)
    assert done.status == 0
    assert done.rows()


def test_kperf_itself_can_be_measured(kperf: Run) -> None:
    inner = (KPERF, "stat", "--json", "-e", "page-faults", "--", "true")
    done = kperf("stat", "--json", "-e", "page-faults", "--", *inner)
    small, large = (document["rows"][0]["count"] for document in done.documents())
    assert small < large
