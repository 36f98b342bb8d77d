"""Folded stacks, as flame graph tools read them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from export.made import MadeProfile, Sample, written
from sampling.python.programs import check_shares

from kperf import export


def parse(text: str) -> dict[tuple[str, ...], int]:
    """As those tools do: the last blank parts the stack from its count."""
    found = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        assert tuple(stack.split(";")) not in found
        found[tuple(stack.split(";"))] = int(count)
    return found


def test_the_stacks_are_those_of_the_rows(stacks: Any, target: Path) -> None:
    export.write(stacks, target, "folded")
    found = parse(target.read_text())
    assert sum(found.values()) == len(stacks)
    tops: Counter[str] = Counter()
    shapes: Counter[tuple[str, int]] = Counter()
    for (comm, *frames), count in found.items():
        tops[next(frame for frame in reversed(frames) if "_[i]" not in frame)] += count
        shapes[comm, len(frames)] += count
    check_shares(tops)
    assert shapes == Counter((row.comm, len(row.frames)) for row in stacks)


def test_kernel_frames_are_marked_and_outer_ones_stand_first() -> None:
    profile = MadeProfile([Sample(("k:fault", "inner", "main"))] * 3)
    assert written("folded", profile) == b"program;main;inner;k:fault_[k] 3\n"


def test_inlined_functions_are_marked() -> None:
    profile = MadeProfile([Sample(("i:inner", "outer", "main"))] * 2)
    assert written("folded", profile) == b"program;main;outer;i:inner_[i] 2\n"


def test_events_are_told_apart_where_there_are_several() -> None:
    samples = [Sample(("main",)), Sample(("main",), event=1)]
    assert written("folded", MadeProfile(samples, ["cycles", "faults"])) == (
        b"cycles;program;main 1\nfaults;program;main 1\n"
    )


def test_names_cannot_break_lines_or_stacks() -> None:
    samples = [Sample(("f(int; long)\n", "[unknown]"), comm="a;b c")]
    text = written("folded", MadeProfile(samples, module="/lib/x;y.so"))
    assert parse(text.decode()) == {("a:b c", "[x:y.so]", r"f(int: long)\x0a"): 1}


def test_threads_that_share_a_name_share_their_lines() -> None:
    profile = MadeProfile([Sample(("main",), tid=1), Sample(("main",), tid=2)])
    assert written("folded", profile) == b"program;main 2\n"


def test_no_samples_make_an_empty_file() -> None:
    assert written("folded", MadeProfile([])) == b""
