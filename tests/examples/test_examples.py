"""The examples of this folder, as their users run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli.processes import KPERF
from support import PATIENCE_S, privileged

pytestmark = privileged

HERE = Path(__file__).parent
TSC = Path("/sys/bus/event_source/devices/msr/events/tsc")


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    """Runs an example, with this kperf in PATH."""
    path = f"{Path(KPERF).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(argument) for argument in argv],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PATH": path},
    )


def limits(*argv: object) -> subprocess.CompletedProcess[str]:
    return run(HERE / "limits.sh", *argv)


def test_a_command_within_its_limits() -> None:
    done = limits("page-faults=100000", "--", "sh", "-c", "echo out; exit 5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "")


def test_a_command_above_a_limit() -> None:
    done = limits("page-faults=1", "context-switches=1000000", "--", "true")
    assert done.returncode == 3
    assert re.fullmatch(r"limits\.sh: page-faults: \d+, above 1\n", done.stderr)


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["page-faults", "--", "true"], 2, "'page-faults' is no EVENT=LIMIT"),
        (["page-faults=1"], 2, "usage: limits.sh"),
        (["page-fault=1", "--", "true"], 1, "did you mean page-faults"),
    ],
)
def test_limits_that_are_none(argv: list[str], status: int, words: str) -> None:
    done = limits(*argv)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr


def test_a_watchdog_tells_what_a_slow_job_did() -> None:
    done = run(sys.executable, "-I", HERE / "watchdog.py", "50")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.partition(" took ")[0]: line for line in done.stdout.splitlines()}
    assert re.search(r"took \d+ ms: \S.* \d+%, .* \d+%", lines["a long job"])
    assert "it slept" in lines["a nap"] or "%" in lines["a nap"]


@pytest.mark.skipif(not TSC.exists(), reason="this machine shows no msr/tsc/")
def test_a_log_of_a_device() -> None:
    done = run(HERE / "bandwidth-log.sh", "tsc", 1, "--interval-count", 2)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({line[0] for line in lines}) == 2
    assert {(line[1], line[4]) for line in lines} == {("tsc", "/s")}
    assert all("cpu=" in line[2] and float(line[3]) > 1e6 for line in lines)


def test_a_log_of_what_is_not_here() -> None:
    done = run(HERE / "bandwidth-log.sh", "no-such-metric")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no-such-metric" in done.stderr
