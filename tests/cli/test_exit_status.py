"""The exit status, as scripts rely on it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import Argument, Done

SIGNALS = [signal.SIGHUP, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("status", [0, 1, 2, 3, 42, 126, 127, 255])
def test_a_commands_own_status(kperf: Run, status: int) -> None:
    done = kperf("stat", "--json", "-e", "page-faults", "--", "sh", "-c", f"exit {status}")
    assert (done.status, done.document()["exit_status"]) == (status, status)


@pytest.mark.parametrize("number", SIGNALS)
def test_128_and_the_signal_that_ended_it(kperf: Run, number: int) -> None:
    done = kperf("stat", "--json", "-e", "page-faults", "--", "sh", "-c", f"kill -{number} $$")
    assert (done.status, done.document()["exit_status"]) == (128 + number, 128 + number)
    assert done.row("page-faults")["count"] > 0


def test_127_for_a_command_that_does_not_exist(kperf: Run) -> None:
    done = kperf("stat", "--", "no-such-command")
    assert (done.status, done.out) == (127, "")
    assert "there is no command 'no-such-command'" in done.error()


def test_127_for_a_path_that_does_not_exist(kperf: Run) -> None:
    assert kperf("stat", "--", "/no/such/command").status == 127


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script"
    path.write_text("#!/bin/sh\n")
    return path


def test_126_for_a_file_that_is_not_executable(kperf: Run, script: Path) -> None:
    done = kperf("stat", "--", script)
    assert (done.status, done.out) == (126, "")
    assert f"chmod +x {script}" in done.error()


def test_126_for_a_directory(kperf: Run, tmp_path: Path) -> None:
    done = kperf("stat", "--", tmp_path)
    assert done.status == 126
    assert "is a directory" in done.error()


def test_127_for_an_interpreter_that_does_not_exist(kperf: Run, script: Path) -> None:
    """The kernel finds out, after the counters have been opened."""
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = kperf("stat", "--", script)
    assert (done.status, done.out) == (127, "")
    assert "interpreter" in done.error()


def test_0_for_a_result(kperf: Run) -> None:
    assert kperf("list", "software").status == 0


def test_1_for_what_could_not_be_collected(kperf: Run) -> None:
    assert kperf("stat", "-e", "no-such-event", "--", "true").status == 1


def test_2_for_a_wrong_call(kperf: Run) -> None:
    assert kperf("stat").status == 2


# ---- --strict ----

# The command itself, with counters of which one never got its turn.
STARVED = """
import sys
import kperf_cli.stat as stat
from kperf_cli.main import main

whole = stat.aggregate

def starve_first(*arguments):
    first, *rest = whole(*arguments)
    return [first._replace(state="not-counted", total=None, running_ns=0), *rest]

stat.aggregate = starve_first
sys.argv = ["kperf", *sys.argv[1:]]
main()
"""


@pytest.fixture
def starved(start: Start) -> Run:
    def run(*arguments: Argument) -> Done:
        return start(sys.executable, "-I", "-c", STARVED, *arguments).finish()

    return run


def test_strict_is_3_where_an_event_was_not_counted(starved: Run) -> None:
    done = starved("stat", "--strict", "-e", "page-faults,dummy", "--", "sh", "-c", "exit 5")
    assert done.status == 3
    assert "not counted: page-faults" in done.out


def test_without_strict_it_is_the_commands_status(starved: Run) -> None:
    assert starved("stat", "-e", "page-faults,dummy", "--", "sh", "-c", "exit 5").status == 5


def test_strict_looks_at_every_interval(starved: Run) -> None:
    done = starved(
        *("stat", "--strict", "-q", "--csv", "-I", 10, "--interval-count", 2, "-e", "dummy"),
        *("--", "sleep", 1000),
    )
    assert done.status == 3


@pytest.mark.skipif(
    not any(Path("/sys/bus/event_source/devices").glob("*cpu*")),
    reason="without a hardware PMU no event waits for a counter",
)
def test_strict_with_more_events_than_counters(kperf: Run) -> None:
    done = kperf("stat", "--strict", "-e", ",".join(["cycles"] * 40), "--", "true")
    assert done.status == 3


def test_strict_lets_a_complete_result_pass(kperf: Run) -> None:
    done = kperf("stat", "-q", "--strict", "-e", "page-faults", "--", "sh", "-c", "exit 5")
    assert done.status == 5


def test_strict_does_not_mind_what_the_machine_lacks(kperf: Run) -> None:
    """A row that says not supported is no loss: nothing was there to be counted."""
    done = kperf("stat", "--strict", "-e", "page-faults,r3fffffffffffffff", "--", "true")
    assert done.status == 0


def test_strict_does_not_mind_a_process_that_sleeps(kperf: Run, start: Start) -> None:
    sleeper = start("sleep", 1000)
    done = kperf("stat", "--strict", "--json", "-d", "0.02", "-e", "page-faults", "-p", sleeper.pid)
    assert (done.status, done.row("page-faults")["state"]) == (0, "not-counted")
