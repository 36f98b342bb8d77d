"""The text dump: the contract's lines, whatever names stand in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from export.made import MadeProfile, Sample, written

import kperf

AWKWARD = "a b\tc\nd\u00a0e"


def fields(line: str) -> list[str]:
    return line.lstrip("\t").split()


def expected(row: Any, with_lines: bool) -> list[list[str]]:
    lines = []
    for symbol in row.frames:
        words = [hex(symbol.addr), symbol.symbolName, hex(symbol.offset), symbol.module]
        if with_lines:
            words += [symbol.fileName, str(symbol.lineNum)]
        lines.append([word.replace(" ", r"\x20") or "-" for word in words])
    head = [row.comm, row.pid, row.tid, row.cpu, row.period, row.evt, row.count]
    lines[0] = [*map(str, head), *lines[0]]
    return lines


@pytest.mark.parametrize("with_lines", [0, 1])
def test_the_dump_has_what_the_rows_have(stacks: Any, target: Path, with_lines: int) -> None:
    assert kperf.dump(stacks, str(target), with_lines) == 0
    assert kperf.error() == ""
    lines = target.read_text().splitlines()
    wanted = [line for row in stacks for line in expected(row, bool(with_lines))]
    assert list(map(fields, lines)) == wanted
    starts = [not line.startswith("\t") for line in lines]
    assert starts.count(True) == len(stacks)
    if with_lines:
        assert any(line.endswith("busy.c 20") or "/busy.c " in line for line in lines)


def test_a_dump_appends(stacks: Any, target: Path) -> None:
    assert kperf.dump(stacks, str(target), 0) == 0
    once = target.read_bytes()
    assert kperf.dump(stacks, target, 0) == 0
    assert target.read_bytes() == once * 2


def test_a_refusal_is_a_code_and_a_sentence(stacks: Any, target: Path) -> None:
    assert kperf.dump(stacks, str(target / "below"), 0) == kperf.Error.WRITE_FAILED
    assert kperf.errorno() == kperf.Error.WRITE_FAILED
    assert "make its directory first" in kperf.error()
    assert kperf.dump(stacks, "/dev/full", 0) == kperf.Error.WRITE_FAILED
    assert "No space left" in kperf.error()


def test_wrong_types_raise(stacks: Any, target: Path) -> None:
    with pytest.raises(TypeError, match="PmuData"):
        kperf.dump([1], str(target), 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kperf.dump(stacks, 7, 0)  # type: ignore[arg-type]
    assert not target.exists()


def test_an_empty_read_is_an_empty_dump(target: Path) -> None:
    assert kperf.dump(kperf.PmuData(), str(target), 0) == 0
    assert target.read_bytes() == b""


def test_counts_have_the_same_fields(target: Path) -> None:
    with kperf.Counting(["task-clock", "page-faults"]) as counting:
        counting.enable()
        counting.disable()
        data = counting.read()
    assert kperf.dump(data, str(target), 1) == 0
    lines = [fields(line) for line in target.read_text().splitlines()]
    assert lines == [
        [
            *map(str, (row.comm or "-", row.pid, row.tid, row.cpu, 0, row.evt, row.count)),
            *["-"] * 6,
        ]
        for row in data
    ]


@pytest.mark.parametrize(
    "name", [AWKWARD, "", "operator new[](unsigned long)", "\ufffd\udcff", "é"]
)
@pytest.mark.parametrize("with_lines", [False, True])
def test_no_name_breaks_a_line(name: str, with_lines: bool) -> None:
    profile = MadeProfile(
        [Sample((name, "k:" + name), comm=name)], [name or "e"], "/" + name, lines=with_lines
    )
    text = written("dump", profile).decode()
    first, second = text.splitlines()
    assert len(first.split()) == len(first.split(" ")) == 11 + 2 * with_lines
    assert second.startswith("\t0x1002 k:")
    assert len(second.split()) == 4 + 2 * with_lines


def test_white_space_is_written_in_hexadecimal() -> None:
    line = written("dump", MadeProfile([Sample((AWKWARD,), comm=" ")])).decode()
    assert line.split()[0] == r"\x20"
    assert line.split()[8] == r"a\x20b\x09c\x0ad\xc2\xa0e"
