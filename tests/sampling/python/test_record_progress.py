"""The line on a terminal that says how far a recording is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.processes import KPERF, Done, Running, Terminal
from sampling.python.programs import ROUNDS, let_go, waiting, watched
from sampling.python.test_record_command import CLOCK

import kperf

LINE = re.compile(r"\r\x1b\[Kkperf: \d+\.\d s, ([\d,]+) samples")


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*argv: object) -> Terminal:
        opened.append(Terminal(KPERF, *map(str, argv)))
        return opened[-1]

    yield open_one
    for one in opened:
        assert one.end() == []


def test_time_and_samples_while_it_collects(terminal: Callable[..., Terminal], busy: Path) -> None:
    with waiting(busy, "spin", ROUNDS * 2) as process:
        shown = terminal("record", *CLOCK, "-p", process.pid)
        shown.read_until("kperf: 0.")
        assert process.stdin is not None
        let_go(process)
        done = shown.finish()
    assert done.status == 0
    counts = [int(text.replace(",", "")) for text in LINE.findall(done.out)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1
    # It is gone before the table stands there.
    before, _, table = done.out.rpartition("\r\x1b[K")
    assert "kperf: " not in table
    assert "share" in table
    assert LINE.search(before)


def test_not_where_a_command_writes_too(terminal: Callable[..., Terminal], busy: Path) -> None:
    script = f"{busy} spin {ROUNDS} </dev/null"
    done = terminal("record", *CLOCK, "--", "sh", "-c", script).finish()
    assert " sixty " in done.out
    assert not LINE.search(done.out)


@pytest.mark.parametrize("words", [["-q"], ["-q", "--json"]])
def test_not_when_asked_to_be_quiet(
    terminal: Callable[..., Terminal], busy: Path, words: list[str]
) -> None:
    with waiting(busy, "spin", ROUNDS) as process:
        shown = terminal("record", *CLOCK, *words, "-p", process.pid)
        shown.wait_for_counters()
        let_go(process)
        done = shown.finish()
    assert "\x1b[K" not in done.out


def test_not_without_a_terminal(start_kperf: Callable[..., Running], busy: Path) -> None:
    with waiting(busy, "spin", ROUNDS) as process:
        running = start_kperf("record", *CLOCK, "-p", process.pid)
        running.wait_for_counters()
        let_go(process)
        done: Done = running.finish()
    assert done.err == ""


def test_the_library_counts_what_came(busy: Path) -> None:
    with watched(busy, "spin", ROUNDS) as (process, sampling):
        assert sampling.count() == 0
        sampling.enable()
        let_go(process)
        sampling.disable()
        counted = sampling.count()
        assert counted > 100
        assert len(sampling.read()) == counted
        assert sampling.count() == 0
    with pytest.raises(kperf.KperfError, match="closed"):
        sampling.count()
