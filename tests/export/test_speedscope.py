"""speedscope's JSON: the shape of its schema, and the samples that the rows have."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from export.made import MadeProfile, Sample, written

from kperf import export

UNITS = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}


def check_shape(file: dict[str, Any]) -> None:
    """What https://www.speedscope.app/file-format-schema.json requires of sampled profiles."""
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert file.keys() <= {
        *("$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter")
    }
    assert isinstance(file["name"], str)
    assert isinstance(file["exporter"], str)
    frames = file["shared"]["frames"]
    for frame in frames:
        assert frame.keys() <= {"name", "file", "line", "col"}
        assert isinstance(frame["name"], str)
        assert isinstance(frame["file"], str)
    for profile in file["profiles"]:
        required = {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert profile.keys() == required
        assert profile["type"] == "sampled"
        assert profile["unit"] in UNITS
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(0 <= n < len(frames) for sample in profile["samples"] for n in sample)
        assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])


def parsed(data: bytes) -> dict[str, Any]:
    file: dict[str, Any] = json.loads(data)
    check_shape(file)
    return file


def stacks_of(file: dict[str, Any], profile: dict[str, Any]) -> list[tuple[str, ...]]:
    names = [frame["name"] for frame in file["shared"]["frames"]]
    return [tuple(names[n] for n in sample) for sample in profile["samples"]]


def test_the_stacks_are_those_of_the_rows(stacks: Any, tmp_path: Path) -> None:
    target = tmp_path / "a.speedscope.json"
    export.write(stacks, target, command=["busy", "spin"])
    file = parsed(target.read_bytes())
    assert file["name"] == "busy spin"
    wanted: Counter[tuple[str, ...]] = Counter()
    for row in stacks:
        names = [symbol.symbolName for symbol in row.frames if symbol.resolved]
        wanted[tuple(reversed(names))] += row.period
    found: Counter[tuple[str, ...]] = Counter()
    for profile in file["profiles"]:
        assert profile["unit"] == "nanoseconds"
        assert profile["name"].endswith("cpu-clock")
        for names, weight in zip(stacks_of(file, profile), profile["weights"]):
            found[tuple(name for name in names if not name.startswith("["))] += weight
    assert found == wanted


def test_outer_functions_stand_first_and_runs_are_one() -> None:
    samples = [Sample(("inner", "main"), period=3)] * 2 + [Sample(("main",), period=5)]
    file = parsed(written("speedscope", MadeProfile(samples)))
    (profile,) = file["profiles"]
    assert stacks_of(file, profile) == [("main", "inner"), ("main",)]
    assert profile["weights"] == [6, 5]
    assert profile["unit"] == "none"


def test_each_thread_and_event_is_a_profile() -> None:
    samples = [
        Sample(("main",), tid=101),
        Sample(("main",)),
        Sample(("main",), event=1),
        Sample(("main",), pid=7, tid=7, comm="other"),
    ]
    file = parsed(written("speedscope", MadeProfile(samples, ["cycles", "faults"])))
    assert [profile["name"] for profile in file["profiles"]] == [
        *("other 7/7 cycles", "program 100/100 cycles", "program 100/101 cycles"),
        "program 100/100 faults",
    ]


def test_order_of_time_is_kept() -> None:
    samples = [Sample((name,)) for name in ("a", "b", "a")]
    file = parsed(written("speedscope", MadeProfile(samples)))
    assert stacks_of(file, file["profiles"][0]) == [("a",), ("b",), ("a",)]


@pytest.mark.parametrize("name", ['"', "\\", "\n", "\udcff", "é", " ", ""])
def test_any_name(name: str) -> None:
    profile = MadeProfile([Sample((name or "x",), comm=name)], module="/" + name)
    file = parsed(written("speedscope", profile))
    assert file["shared"]["frames"][-1]["name"] == (name or "x")


@pytest.mark.parametrize("n", [4095, 4096, 4097, 8192])
def test_pieces_join(n: int) -> None:
    samples = [Sample(("a" if i % 2 else "b",)) for i in range(n)]
    file = parsed(written("speedscope", MadeProfile(samples)))
    assert len(file["profiles"][0]["samples"]) == n


def test_no_samples_make_no_profiles() -> None:
    assert parsed(written("speedscope", MadeProfile([])))["profiles"] == []
