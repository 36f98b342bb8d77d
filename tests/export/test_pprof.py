"""pprof's protocol buffer, read by a decoder of its own: the sums that the rows have."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from export.made import MadeProfile, Sample, written

from kperf import export

# ---- protocol buffers ----


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value: Any
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, "the messages have numbers and bytes alone"
            size, at = varint(data, at)
            assert at + size <= len(data)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def packed(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def message(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for field, value in fields(data):
        found.setdefault(field, []).append(value)
    return found


def numbers(data: bytes) -> dict[int, int]:
    return {field: value[0] for field, value in message(data).items()}


# ---- profiles ----


class Pprof(NamedTuple):
    types: list[tuple[str, str]]
    samples: list[tuple[tuple[str, ...], tuple[int, ...], str]]  # names innermost first, thread
    mappings: dict[str, str]  # build-id
    files: set[str]
    lines: set[int]
    period: tuple[tuple[str, str], int]
    time: int
    duration: int


def parsed(data: bytes) -> Pprof:
    profile = message(data)
    strings = [text.decode() for text in profile[6]]
    assert strings[0] == ""
    assert len(set(strings)) == len(strings)

    def value_type(raw: bytes) -> tuple[str, str]:
        found = numbers(raw)
        return strings[found.get(1, 0)], strings[found.get(2, 0)]

    functions = {raw[1]: raw for raw in map(numbers, profile.get(5, []))}
    mappings = {raw[1]: raw for raw in map(numbers, profile.get(3, []))}
    locations = {raw[1][0]: raw for raw in map(message, profile.get(4, []))}
    assert len(locations) == len(profile.get(4, []))
    for location in locations.values():
        assert location[2][0] in mappings
    samples = []
    for raw in map(message, profile.get(2, [])):
        names = []
        for number in packed(raw[1][0]):
            for line in map(numbers, locations[number][4]):
                names.append(strings[functions[line[1]].get(2, 0)])
        label = numbers(raw[3][0])
        assert strings[label[1]] == "thread"
        samples.append((tuple(names), tuple(packed(raw[2][0])), strings[label.get(2, 0)]))
    types = [value_type(raw) for raw in profile[1]]
    assert all(len(values) == len(types) for _, values, _ in samples)
    return Pprof(
        types,
        samples,
        {strings[raw.get(5, 0)]: strings[raw.get(6, 0)] for raw in mappings.values()},
        {strings[raw.get(4, 0)] for raw in functions.values()},
        {numbers(line).get(2, 0) for raw in locations.values() for line in raw[4]},
        (value_type(profile[11][0]), profile.get(12, [0])[0]),
        profile.get(9, [0])[0],
        profile.get(10, [0])[0],
    )


def test_the_sums_are_those_of_the_rows(stacks: Any, programs: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.pb.gz"
    export.write(stacks, target)
    found = parsed(gzip.decompress(target.read_bytes()))
    assert found.types == [("samples", "count"), ("cpu-clock", "nanoseconds")]
    wanted: Counter[Any] = Counter()
    periods: Counter[Any] = Counter()
    for row in stacks:
        key = tuple(symbol.symbolName for symbol in row.frames), row.comm
        wanted[key] += 1
        periods[key] += row.period
    counted: Counter[Any] = Counter()
    summed: Counter[Any] = Counter()
    for names, (samples, period), thread in found.samples:
        counted[names, thread] += samples
        summed[names, thread] += period
    assert counted == wanted
    assert summed == periods
    assert found.mappings.keys() >= {str(programs.busy)}
    assert any(len(build_id) == 40 for build_id in found.mappings.values())
    assert any(name.endswith("busy.c") for name in found.files)
    assert len(found.lines) > 3
    assert found.period == (("cpu-clock", "nanoseconds"), 0)
    times = stacks.columns()["time"]
    assert found.duration == times[-1] - times[0]
    assert found.time > 1.7e18


def test_each_event_is_a_value() -> None:
    samples = [
        Sample(("inner", "main"), period=10),
        Sample(("inner", "main"), period=3, event=1),
        Sample(("inner", "main"), comm="other"),
    ]
    found = parsed(written("pprof", MadeProfile(samples, ["cycles", "faults"])))
    assert found.types == [("samples", "count"), ("cycles", "count"), ("faults", "count")]
    assert sorted(found.samples) == [
        (("inner", "main"), (1, 1, 0), "other"),
        (("inner", "main"), (2, 10, 3), "program"),
    ]


def test_large_numbers() -> None:
    found = parsed(written("pprof", MadeProfile([Sample(("a",), period=(1 << 63) - 1)])))
    assert found.samples[0][1] == (1, (1 << 63) - 1)


@pytest.mark.parametrize("name", ['"', "\n", "é", "a" * 300, ""])
def test_any_name(name: str) -> None:
    found = parsed(written("pprof", MadeProfile([Sample((name or "x",), comm=name)])))
    assert found.samples == [((name or "x",), (1, 1), name)]


def test_a_name_that_is_no_text() -> None:
    found = parsed(written("pprof", MadeProfile([Sample(("\udcff",))])))
    assert found.samples[0][0] == ("\\udcff",)


def test_no_samples() -> None:
    assert parsed(written("pprof", MadeProfile([]))).samples == []
