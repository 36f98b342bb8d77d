"""Ctrl-C, SIGTERM, SIGHUP and SIGPIPE: the result is shown, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.conftest import Open, Run, Start
from cli.processes import KPERF, Running, children_of, wait_until
from support import privileged

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
NAMES = [number.name for number in ENDING]


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def sleeper(start: Start) -> Running:
    return start("sleep", 1000)


# ---- without a command ----


@pytest.mark.parametrize("number", ENDING, ids=NAMES)
def test_a_signal_ends_the_counting_of_a_process(
    start_kperf: Start, sleeper: Running, number: int
) -> None:
    running = start_kperf("stat", "--json", "-e", "page-faults", "-p", sleeper.pid)
    running.wait_for_counters()
    running.signal(number)
    done = running.finish()
    assert (done.status, done.err) == (0, "")
    assert [row["event"] for row in done.rows()] == ["page-faults"]
    assert runs(sleeper.pid)


@privileged
@pytest.mark.parametrize("number", ENDING, ids=NAMES)
def test_a_signal_ends_the_counting_of_the_system(start_kperf: Start, number: int) -> None:
    running = start_kperf("stat", "-a", "-e", "context-switches")
    running.wait_for_counters()
    running.signal(number)
    done = running.finish()
    assert done.status == 0
    assert "the whole system" in done.out
    assert "quality: " in done.out


def test_a_signal_during_the_delay_ends_it(start_kperf: Start, sleeper: Running) -> None:
    running = start_kperf("stat", "--json", "-D", 1_000_000, "-e", "page-faults", "-p", sleeper.pid)
    running.wait_for_counters()
    running.signal(signal.SIGINT)
    done = running.finish()
    assert (done.status, len(done.rows())) == (0, 1)


def test_a_signal_that_was_ignored_stays_ignored(shell: Run) -> None:
    """A shell without job control starts `&` with SIGINT ignored: Ctrl-C is for its successor."""
    script = """
        trap '' INT
        kperf stat -q --json -e page-faults -- sh -c 'kill -INT $PPID; exit 5'
        echo $?
    """
    assert shell(script).lines()[-1] == "5"


# ---- with a command ----


def test_an_interrupt_of_the_group_ends_the_command_too(start_kperf: Start) -> None:
    running = start_kperf("stat", "--json", "-e", "page-faults", "--", "sleep", 1000)
    running.wait_for_counters()
    running.signal_group(signal.SIGINT)
    done = running.finish()
    assert (done.status, done.document()["exit_status"]) == (130, 130)
    assert done.row("page-faults")["count"] > 0


def test_a_command_that_answers_the_interrupt_keeps_its_status(
    start_kperf: Start, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 7' INT; touch {ready}; while :; do sleep 0.01; done"
    running = start_kperf("stat", "--json", "-e", "page-faults", "--", "bash", "-c", script)
    wait_until(ready.exists, "the command")
    running.signal_group(signal.SIGINT)
    assert running.finish().status == 7


@pytest.mark.parametrize("number", ENDING, ids=NAMES)
def test_a_signal_to_kperf_alone_ends_the_command(start_kperf: Start, number: int) -> None:
    running = start_kperf("stat", "--json", "-e", "page-faults", "--", "sleep", 1000)
    running.wait_for_counters()
    (child,) = children_of(running.pid)
    running.signal(number)
    done = running.finish()
    assert (done.status, done.document()["exit_status"]) == (128 + number, 128 + signal.SIGTERM)
    assert not runs(child)


def test_a_second_signal_ends_a_command_that_will_not_end(
    start_kperf: Start, tmp_path: Path
) -> None:
    ready, told = tmp_path / "ready", tmp_path / "told"
    script = f"trap 'touch {told}' TERM; touch {ready}; while :; do sleep 0.01; done"
    running = start_kperf("stat", "--json", "-e", "page-faults", "--", "bash", "-c", script)
    wait_until(ready.exists, "the command")
    running.signal(signal.SIGTERM)
    wait_until(told.exists, "the command's SIGTERM")
    assert running.process.poll() is None
    running.signal(signal.SIGTERM)
    done = running.finish()
    assert (done.status, done.document()["exit_status"]) == (143, 137)


# ---- on a terminal ----


def test_ctrl_c_on_a_terminal_shows_the_result(terminal: Open) -> None:
    screen = terminal(KPERF, "stat", "-e", "page-faults", "--", "sleep", 1000)
    screen.wait_for_counters()
    screen.type("\x03")
    done = screen.finish()
    assert done.status == 130
    assert "page-faults" in done.out
    assert "quality: " in done.out


def test_ctrl_c_on_a_terminal_without_a_command(terminal: Open, sleeper: Running) -> None:
    screen = terminal(KPERF, "stat", "-e", "page-faults", "-p", sleeper.pid)
    screen.wait_for_counters()
    screen.type("\x03")
    done = screen.finish()
    assert done.status == 0
    assert f"process {sleeper.pid}" in done.out
    assert "^C\n" in done.out, "the result begins on a line of its own"


# ---- a reader that leaves ----


@privileged
def test_a_reader_that_leaves_ends_the_intervals(shell: Run) -> None:
    done = shell("kperf stat -a -I 50 | head -2; echo ${PIPESTATUS[0]}")
    assert done.lines()[-1] == "141"
    assert done.err == ""


def test_a_reader_that_leaves_ends_the_command(shell: Run, tmp_path: Path) -> None:
    number = tmp_path / "pid"
    done = shell(
        'kperf stat -I 20 -e dummy -- sh -c "echo \\$\\$ >$1; exec sleep 1000" | head -2;'
        "echo ${PIPESTATUS[0]}",
        number,
    )
    assert (done.lines()[-1], done.err) == ("141", "")
    assert not runs(int(number.read_text()))


@pytest.fixture
def readerless() -> Iterator[int]:
    """The end of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize(
    "call",
    ["list", "list --json", "list --csv -q", "stat -e dummy true", "--version", "stat --help"],
)
def test_a_reader_that_was_never_there(kperf: Run, readerless: int, call: str) -> None:
    done = kperf(*call.split(), stdout=readerless)
    assert (done.status, done.err) == (141, "")


def test_a_reader_of_another_descriptor_that_leaves(shell: Run) -> None:
    script = "kperf stat --json -I 20 -e dummy --output-fd 5 -- sleep 1000 5> >(head -1 >/dev/null)"
    done = shell(f"{script}; echo $?")
    assert (done.out, done.err) == ("141\n", "")


# ---- the target ----


def test_a_target_that_is_killed_ends_the_counting(start_kperf: Start, start: Start) -> None:
    target = start("sleep", 1000)
    running = start_kperf("stat", "--json", "-e", "page-faults", "-p", target.pid)
    running.wait_for_counters()
    target.signal(signal.SIGKILL)
    target.process.wait()
    done = running.finish()
    assert (done.status, len(done.rows())) == (0, 1)


def test_a_target_that_is_killed_in_the_middle_was_counted_until_then(
    start_kperf: Start, start: Start, program: Callable[[str], Path]
) -> None:
    target = start(program("worker"), "touch", 100, "sleep", 1_000_000, stdin=subprocess.PIPE)
    running = start_kperf("stat", "--json", "-e", "page-faults:u", "-p", target.pid)
    running.wait_for_counters()
    assert target.process.stdin is not None
    target.process.stdin.close()
    wchan = Path(f"/proc/{target.pid}/wchan")
    wait_until(lambda: "nanosleep" in wchan.read_text(), "the target's work")
    target.signal(signal.SIGKILL)
    target.process.wait()
    assert running.finish().row("page-faults:u")["count"] >= 100


def test_a_thread_that_ends_ends_the_counting(start_kperf: Start, start: Start) -> None:
    """One that leads no process has no descriptor to wait on."""
    source = "import sys, threading; threading.Thread(target=sys.stdin.read).start()"
    target = start("python3", "-c", source, stdin=subprocess.PIPE)
    threads = Path(f"/proc/{target.pid}/task")
    wait_until(lambda: len(list(threads.iterdir())) == 2, "the second thread")
    tid = next(path.name for path in threads.iterdir() if path.name != str(target.pid))
    running = start_kperf("stat", "--json", "-e", "page-faults", "-t", tid)
    running.wait_for_counters()
    assert target.finish(b"").status == 0
    assert running.finish().status == 0
