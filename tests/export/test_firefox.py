"""The Firefox Profiler's JSON: tables that fit together, and the samples that the rows have."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from export.made import MadeProfile, Sample, written

from kperf import export


def check_table(table: dict[str, Any]) -> None:
    columns = [value for value in table.values() if isinstance(value, list)]
    assert {len(column) for column in columns} <= {table["length"]}


def check_index(column: list[Any], length: int, none: Any = None) -> None:
    assert all(value == none or 0 <= value < length for value in column)


def check_shape(file: dict[str, Any]) -> None:
    """What its reader follows from table to table."""
    shared = file["shared"]
    names = ("frameTable", "funcTable", "stackTable", "resourceTable", "nativeSymbols", "sources")
    for name in names:
        check_table(shared[name])
    frames, functions, stacks = (shared[name] for name in names[:3])
    strings = len(shared["stringArray"])
    assert all(isinstance(text, str) for text in shared["stringArray"])
    check_index(frames["func"], functions["length"])
    check_index(frames["category"], len(file["meta"]["categories"]))
    check_index(functions["name"], strings)
    check_index(functions["resource"], shared["resourceTable"]["length"], -1)
    check_index(functions["source"], shared["sources"]["length"])
    check_index(shared["sources"]["filename"], strings)
    check_index(shared["resourceTable"]["name"], strings)
    check_index(shared["resourceTable"]["lib"], len(file["libs"]))
    check_index(stacks["frame"], frames["length"])
    assert all(prefix is None or prefix < at for at, prefix in enumerate(stacks["prefix"]))
    meta = file["meta"]
    assert meta["preprocessedProfileVersion"] == 62
    assert meta["sampleUnits"]["time"] == "ms"
    assert meta["startTime"] > 1.7e12
    for thread in file["threads"]:
        check_table(thread["samples"])
        check_table(thread["markers"])
        check_index(thread["samples"]["stack"], stacks["length"])
        assert isinstance(thread["pid"], str)
        assert isinstance(thread["tid"], str)


def parsed(data: bytes) -> dict[str, Any]:
    file: dict[str, Any] = json.loads(data)
    check_shape(file)
    return file


def names_of(file: dict[str, Any], stack: int | None) -> tuple[str, ...]:
    """Innermost first."""
    shared, names = file["shared"], []
    while stack is not None:
        function = shared["frameTable"]["func"][shared["stackTable"]["frame"][stack]]
        names.append(shared["stringArray"][shared["funcTable"]["name"][function]])
        stack = shared["stackTable"]["prefix"][stack]
    return tuple(names)


def test_samples_are_those_of_the_rows(stacks: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.profile.json"
    export.write(stacks, target, command=["busy"])
    file = parsed(target.read_bytes())
    begin = min(row.ts for row in stacks)
    wanted: dict[str, list[Any]] = {}
    for row in stacks:
        names = tuple(symbol.symbolName for symbol in row.frames if symbol.resolved)
        wanted.setdefault(str(row.tid), []).append(((row.ts - begin) / 1e6, names))
    assert {thread["tid"] for thread in file["threads"]} == wanted.keys()
    for thread in file["threads"]:
        samples = thread["samples"]
        found = [
            (at, tuple(name for name in names_of(file, stack) if not name.startswith("[")))
            for at, stack in zip(accumulate(samples["timeDeltas"]), samples["stack"])
        ]
        expected = wanted[thread["tid"]]
        assert [names for _, names in found] == [names for _, names in expected]
        assert [at for at, _ in found] == pytest.approx([at for at, _ in expected], abs=1e-6)
    assert file["meta"]["interval"] == 0.25
    assert file["meta"]["product"] == "busy"


def test_lines_and_libraries(stacks: Any, programs: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.profile.json"
    export.write(stacks, target)
    file = parsed(target.read_bytes())
    shared = file["shared"]
    sources = {shared["stringArray"][name] for name in shared["sources"]["filename"]}
    assert any(source.endswith("busy.c") for source in sources)
    assert any(line for line in shared["frameTable"]["line"])
    by_name = {library["path"]: library for library in file["libs"]}
    assert by_name[str(programs.busy)]["debugName"] == "busy"
    libc = next(library for path, library in by_name.items() if "libc" in path)
    assert len(libc["codeId"]) == 40
    code = bytes.fromhex(libc["codeId"])
    breakpad = bytes.fromhex(libc["breakpadId"][:32])
    assert (breakpad[:4], breakpad[8:]) == (code[3::-1], code[8:16])


def test_compressed_where_the_suffix_says_so(stacks: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.profile.json.gz"
    export.write(stacks, target)
    file = parsed(gzip.decompress(target.read_bytes()))
    assert sum(thread["samples"]["length"] for thread in file["threads"]) == len(stacks)


def test_threads_and_events_are_tracks() -> None:
    samples = [
        Sample(("main",), tid=101, comm="worker", time=5_000_000),
        Sample(("main",), time=7_000_000),
        Sample(("main",), event=1, time=9_500_000),
    ]
    file = parsed(written("firefox", MadeProfile(samples, ["cycles", "faults"])))
    found = [
        (thread["name"], thread["processName"], thread["isMainThread"], thread["registerTime"])
        for thread in file["threads"]
    ]
    assert found == [
        ("program (cycles)", "program", True, 2.0),
        ("worker (cycles)", "program", False, 0.0),
        ("program (faults)", "program", True, 4.5),
    ]
    assert [thread["samples"]["timeDeltas"] for thread in file["threads"]] == [[2.0], [0.0], [4.5]]


def test_kernel_frames_have_a_category() -> None:
    file = parsed(written("firefox", MadeProfile([Sample(("k:fault", "main"))])))
    names = [category["name"] for category in file["meta"]["categories"]]
    categories = [names[n] for n in file["shared"]["frameTable"]["category"]]
    assert Counter(categories) == {"Kernel": 1, "User": 1}


@pytest.mark.parametrize("name", ['"', "\\", "\n", "\udcff", "é", ""])
def test_any_name(name: str) -> None:
    profile = MadeProfile([Sample((name or "x",), comm=name)], module="/" + name)
    file = parsed(written("firefox", profile))
    assert names_of(file, file["threads"][0]["samples"]["stack"][0]) == (name or "x",)


@pytest.mark.parametrize("n", [8191, 8192, 8193])
def test_pieces_join(n: int) -> None:
    file = parsed(written("firefox", MadeProfile([Sample(("a",))] * n)))
    assert len(file["threads"][0]["samples"]["stack"]) == n


def test_a_sample_without_a_stack() -> None:
    file = parsed(written("firefox", MadeProfile([Sample(())])))
    assert file["threads"][0]["samples"]["stack"] == [None]


def test_no_samples_make_no_threads() -> None:
    assert parsed(written("firefox", MadeProfile([])))["threads"] == []
