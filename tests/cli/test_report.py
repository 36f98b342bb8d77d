"""`kperf report`: the tables of a recording, again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Run
from support import privileged

pytestmark = privileged

BUSY = "sum(i * i for i in range(2 * 10**6))"


@pytest.fixture
def recorded(kperf: Run, tmp_path: Path) -> Path:
    """A recording with call stacks, by kperf."""
    path = tmp_path / "prof.data"
    done = kperf(
        "record", "-g", "-e", "cpu-clock", "-o", str(path), "--", sys.executable, "-c", BUSY
    )
    assert done.status == 0, done.err
    return path


def rows(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in json.loads(text)["rows"]:
        found[row["symbol"]] = found.get(row["symbol"], 0) + row["samples"]
    return found


def test_the_table_is_that_of_the_recording(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "prof.data"
    words = ("--json", "--save", str(path), "--output-fd", "1", "--", sys.executable, "-c", BUSY)
    live = kperf("record", "-e", "cpu-clock", *words)
    again = kperf("report", "--json", str(path))
    assert (live.status, again.status) == (0, 0), again.err
    assert rows(again.out) == rows(live.out[live.out.index("{") :])
    document = json.loads(again.out)
    assert (document["command"], document["target"]) == ("report", {"file": str(path)})


def test_callers_and_other_keys(kperf: Run, recorded: Path) -> None:
    document = json.loads(
        kperf("report", "-g", "--sort", "comm,symbol", "--json", str(recorded)).out
    )
    assert {row["comm"] for row in document["rows"]} == {Path(sys.executable).name[:15]}
    assert any(row["callers"] for row in document["rows"])
    table = kperf("report", "--top", "1", str(recorded))
    assert table.lines()[0].startswith(f"{recorded}: ")
    assert table.lines()[-1].startswith("quality: ")


def test_as_another_profile(kperf: Run, recorded: Path, tmp_path: Path) -> None:
    folded = tmp_path / "prof.folded"
    done = kperf("report", str(recorded), "-o", str(folded))
    assert (done.status, done.out) == (0, "")
    lines = folded.read_text().splitlines()
    assert lines
    samples = json.loads(kperf("report", "--json", str(recorded)).out)["quality"]["samples"]
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == samples


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed to record")
def test_what_perf_recorded(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    command = [
        "perf",
        "record",
        "-q",
        "-B",
        "-e",
        "cpu-clock",
        "-o",
        path,
        "--",
        sys.executable,
        "-c",
        BUSY,
    ]
    subprocess.run(command, check=True, capture_output=True)
    found = rows(kperf("report", "--json", str(path)).out)
    shown = subprocess.run(
        ["perf", "script", "-F", "ip", "-i", path], check=True, capture_output=True, text=True
    )
    assert sum(found.values()) == len(shown.stdout.split())


@pytest.mark.parametrize(
    ("words", "status", "word"),
    [
        ((), 2, "FILE"),
        (("missing.data",), 1, "cannot be read (No such file or directory)"),
        (("/",), 1, "cannot be read"),
        (("/dev/null",), 1, "no perf.data file"),
        (("/etc/passwd",), 1, "no perf.data file: name a file that 'kperf record -o' wrote"),
        (("x.data", "--sort", "nosuch"), 2, "no sort key 'nosuch'"),
        (("x.data", "-o", "x.nosuch"), 2, "x.nosuch"),
    ],
)
def test_wrong_calls(kperf: Run, words: tuple[str, ...], status: int, word: str) -> None:
    done = kperf("report", *words)
    assert (done.status, done.out) == (status, "")
    assert word in done.error()


def test_a_copied_tree_has_no_recordings(kperf: Run) -> None:
    assert kperf("--sysroot", "/", "report", "x.data").status == 2
