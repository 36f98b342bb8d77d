"""What the shells' completion offers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cli.processes import KPERF
from support import PATIENCE_S

BIN = f"{Path(KPERF).parent}:{os.environ['PATH']}"


def offered(*words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    environment = {
        **os.environ,
        "_KPERF_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [KPERF], capture_output=True, text=True, timeout=PATIENCE_S, check=True, env=environment
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("kperf", "st"), ["stat"]),
        (("kperf", "stat", "--per-"), ["--per-thread", "--per-numa"]),
        (("kperf", "trace", "--by", ""), ["thread", "process"]),
        (("kperf", "stat", "-e", "task-clock,page-"), ["task-clock,page-faults"]),
        (("kperf", "record", "-e", "cpu-c"), ["cpu-clock"]),
        (("kperf", "stat", "-M", "ip"), ["ipc"]),
        (("kperf", "device", "ddr-"), ["ddr-read-bw", "ddr-write-bw"]),
        (("kperf", "trace", "read,wri"), ["read,write", "read,writev"]),
    ],
)
def test_offers(words: tuple[str, ...], some: list[str]) -> None:
    found = offered(*words)
    assert set(some) <= set(found)
    assert all(word.startswith(words[-1]) for word in found)


def test_what_stands_there_already_is_not_offered() -> None:
    assert "page-faults,page-faults" not in offered("kperf", "stat", "-e", "page-faults,page-")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_it() -> None:
    """As README says; what is typed is completed by what bash calls for it."""
    script = """
        eval "$(_KPERF_COMPLETE=bash_source kperf)"
        complete -p kperf >/dev/null || exit 1
        COMP_WORDS=(kperf dev) COMP_CWORD=1
        _kperf_completion kperf
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
        env={**os.environ, "PATH": BIN},
    )
    assert done.stdout == "device\n"
