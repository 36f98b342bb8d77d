"""Tables: rich on a terminal, plain text everywhere else."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Open, Run
from cli.processes import KPERF
from support import privileged

ESCAPE = "\x1b"
BOXES = re.compile("[\u2500-\u259f]")
COUNT = ("stat", "-e", "page-faults,task-clock,r3fffffffffffffff")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# ---- without a terminal ----


@pytest.mark.parametrize("call", [[*COUNT, "--", "true"], ["list"], ["list", "-v", "software"]])
def test_plain_text_has_no_escape_codes_and_no_boxes(kperf: Run, call: list[str]) -> None:
    done = kperf(*call)
    assert ESCAPE not in done.out
    assert not BOXES.search(done.out)
    assert not any(line.endswith(" ") for line in done.lines())


def test_color_is_not_forced_on_a_file(kperf: Run) -> None:
    done = kperf(*COUNT, "--", "true", env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"})
    assert ESCAPE not in done.out


def test_a_table_says_what_was_measured_and_how_well(kperf: Run) -> None:
    lines = kperf("stat", "-e", "page-faults,task-clock", "--", "sh", "-c", "exit 3").lines()
    assert re.fullmatch(
        r"'sh -c 'exit 3'': [\d.]+ (us|ms|s) \([\d.]+ \w+ user, [\d.]+ \w+ system\)", lines[1]
    )
    assert lines[3].split() == ["count", "event", "derived"]
    assert re.fullmatch(r" *\d+  page-faults  [\d.,]+ per second of task-clock", lines[4])
    assert re.fullmatch(r" *[\d.]+ (us|ms)  task-clock   [\d.]+ CPUs utilized", lines[5])
    assert lines[-1] == "quality: every event was counted all the time"


def test_columns_stand_below_each_other(kperf: Run) -> None:
    lines = kperf("stat", "-e", "page-faults,task-clock,dummy", "--", "true").lines()[3:7]
    assert (
        len({line.index(word) for line, word in zip(lines, ("event", "page", "task", "dummy"))})
        == 1
    )


@privileged
@pytest.mark.parametrize("option", ["", "-A", "--per-core", "--per-numa", "--per-socket"])
def test_every_table_has_a_quality_line(kperf: Run, option: str) -> None:
    done = kperf("stat", "-a", *option.split(), "-d", "0.01", "-e", "page-faults")
    assert done.lines()[-1].startswith("quality: ")


@pytest.mark.parametrize("words", [[], ["software"], ["core"], ["-v", "*clock*"]])
def test_every_list_has_a_quality_line(kperf: Run, words: list[str]) -> None:
    assert kperf("list", *words).lines()[-1].startswith("quality: ")


def test_intervals_are_set_apart(kperf: Run) -> None:
    done = kperf("stat", "-I", 10, "--interval-count", 2, "-e", "dummy", "--", "sleep", 1000)
    first, second = done.out.strip("\n").split("\n\ninterval 1")
    assert first.startswith("interval 0, ")
    assert first.splitlines()[-1].startswith("quality: ")
    assert second.splitlines()[-1].startswith("quality: ")


# ---- on a terminal ----


def test_a_terminal_gets_colour(terminal: Open) -> None:
    done = terminal(KPERF, *COUNT, "--", "true").finish()
    assert ESCAPE in done.out
    assert not BOXES.search(done.out)
    assert "page-faults" in plain(done.out)
    assert "quality: " in plain(done.out)


@pytest.mark.parametrize(
    ("before", "env"),
    [(["--no-color"], {}), ([], {"NO_COLOR": "1"})],
    ids=["--no-color", "NO_COLOR"],
)
def test_colour_can_be_refused(terminal: Open, before: list[str], env: dict[str, str]) -> None:
    done = terminal(KPERF, *before, *COUNT, "--", "true", env=env).finish()
    assert done.status == 0
    assert ESCAPE not in done.out
    assert "quality: " in done.out


def test_an_empty_no_color_says_nothing(terminal: Open) -> None:
    """https://no-color.org: when present and not an empty string."""
    done = terminal(KPERF, *COUNT, "--", "true", env={"NO_COLOR": ""}).finish()
    assert ESCAPE in done.out


def test_a_dumb_terminal_gets_no_codes(terminal: Open) -> None:
    done = terminal(KPERF, *COUNT, "--", "true", env={"TERM": "dumb"}).finish()
    assert "\x1b[" not in done.out


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_machine_output_is_the_same_on_a_terminal(terminal: Open, form: str) -> None:
    done = terminal(KPERF, "stat", form, "-q", "-e", "page-faults", "--", "true").finish()
    assert ESCAPE not in done.out


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
def test_a_table_keeps_to_the_terminals_width(terminal: Open, columns: int) -> None:
    lines = plain(terminal(KPERF, *COUNT, "--", "true", columns=columns).finish().out).splitlines()
    assert max(map(len, lines)) <= columns
    joined = re.sub(r"\s+", "", "".join(lines))
    assert "page-faults" in joined or columns < 80


def test_names_are_whole_on_a_terminal_of_the_usual_width(terminal: Open) -> None:
    """Descriptions are folded instead."""
    done = terminal(KPERF, "list", "-v", "software", columns=70).finish()
    starts = [line.split(" ")[0] for line in plain(done.out).splitlines()]
    for name in ("context-switches", "alignment-faults", "cgroup-switches"):
        assert name in starts


def test_nothing_is_cut_on_a_narrow_terminal(terminal: Open) -> None:
    """Even a name is folded then, and never cut: half a name is no name."""
    done = terminal(KPERF, "list", "cgroup-switches", columns=20).finish()
    lines = plain(done.out).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("cgr"))
    assert "".join(line.split(" ")[0] for line in lines[start : start + 3]).startswith(
        "cgroup-switches"
    )


def test_the_result_begins_on_a_new_line(terminal: Open) -> None:
    done = terminal(KPERF, *COUNT, "--", "printf", "no end of line").finish()
    assert plain(done.out).startswith("no end of line\n'printf 'no end of line'': ")


# ---- names that may hold anything ----

HOSTILE = b'a\nb\x1b[31m\xff,"x'


@pytest.fixture
def hostile(program: Callable[[str], Path], tmp_path: Path) -> bytes:
    """A program whose name breaks lines, colours, encodings and separators."""
    path = bytes(tmp_path) + b"/" + HOSTILE
    subprocess.run(["cp", program("worker"), path], check=True)
    return path


def test_a_hostile_name_does_not_break_the_table(kperf: Run, hostile: bytes) -> None:
    done = kperf("stat", "--per-thread", "-e", "page-faults", "--", hostile, b"x\ny\x1b[2J\xfe")
    assert ESCAPE not in done.out
    title, empty, header, row, space, quality = done.out.strip("\n").split("\n")
    assert (empty, space) == ("", "")
    assert title.count(r"a\nb\x1b[31m") == 1
    assert r"x\ny\x1b[2J" in title
    assert r"a\nb\x1b[31m" in row
    assert header.split() == ["pid", "tid", "comm", "count", "event", "derived"]
    assert quality.startswith("quality: ")


def test_a_hostile_name_does_not_break_a_terminal(terminal: Open, hostile: bytes) -> None:
    name = hostile.decode("utf-8", "surrogateescape")
    call = ("stat", "--per-thread", "-e", "page-faults", "--", name, "x\x1b[2J")
    screen = terminal(KPERF, *call)
    screen.type("\x04")  # the end of the worker's input
    out = screen.finish().out
    assert "\x1b[31m" not in out
    assert "\x1b[2J" not in out
    assert r"\x1b[2J" in plain(out)


def test_a_hostile_name_does_not_break_json(kperf: Run, hostile: bytes) -> None:
    done = kperf("stat", "--json", "--per-thread", "-e", "page-faults", "--", hostile, b"\xfe")
    document = done.document()
    (row,) = document["rows"]
    assert row["comm"] == HOSTILE.decode("utf-8", "replace")
    assert document["target"]["argv"] == [hostile.decode("utf-8", "replace"), "\ufffd"]
    assert not re.search(r"\\ud[89a-f]", done.out), "no half of a surrogate pair"


def test_a_hostile_name_does_not_break_csv(kperf: Run, hostile: bytes) -> None:
    done = kperf("stat", "--csv", "--per-thread", "-e", "page-faults", "--", hostile)
    (record,) = done.records()
    assert record["comm"] == HOSTILE.decode("utf-8", "replace")
    assert record["count"].isdecimal()


@pytest.mark.parametrize(
    "call",
    [
        ["stat", "--", "no\nsuch\x1b[31m"],
        ["stat", "-e", "no\nsuch\x1b[31m", "true"],
        ["stat", "-e", "nosuch\u202e", "true"],
        ["stat", "-o", "/no/such\n/x\x1b[31m", "true"],
        ["stat", "-a", "-G", "no\nsuch\x1b[31m"],
        ["stat", "-p", "1\n2\x1b"],
        ["stat", "--no\nsuch\x1b"],
        ["no\nsuch\x1b[31m"],
        ["--sysroot", "/no\nsuch\x1b", "list"],
    ],
)
def test_a_hostile_argument_does_not_break_the_error(kperf: Run, call: list[str]) -> None:
    error = kperf(*call).error()
    assert error.isprintable()
