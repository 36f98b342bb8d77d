"""`kperf spe --decode`: tables of a stream whose counts are known; and `kperf spe` without SPE."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from spe import perf_judge, streams

WRITER, READER, ALONE = 101, 102, 103
SHARED, OWN = 0x7000_0000, 0x7100_0000
N = 500


def access(
    tid: int, va: int, *, latency: int, source: int | None = None, event: int = 0x16
) -> bytes:
    parts = [
        streams.code(streams.PC, 0xAAAA_0000_0000 + tid * 0x1000),
        streams.context(tid),
        streams.operation(streams.MEMORY, 1 if source is None else 0),
        streams.events(event),
        streams.counter(streams.TOTAL, latency),
        streams.address(streams.VA, va),
    ]
    if source is not None:
        parts.append(streams.source(source))
    return b"".join([*parts, streams.timestamp(1)])


def branch(events: int) -> bytes:
    return (
        streams.code(streams.PC, 0xAAAA_0000_F000)
        + streams.context(ALONE)
        + streams.operation(streams.BRANCH, 1)
        + streams.events(events)
        + streams.counter(streams.TOTAL, 4)
        + streams.END
    )


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two threads at one cache line, one at many, and branches: a fifth of them mispredicted."""
    parts = []
    for i in range(N):
        parts.append(access(WRITER, SHARED, latency=100))
        parts.append(access(READER, SHARED + 8, latency=300, source=0xD, event=0x71E))
        parts.append(access(ALONE, OWN + i * 64, latency=10, source=0))
        parts.append(branch(0x82 if i % 5 == 0 else 0x02))
    path = tmp_path / "made.spe"
    path.write_bytes(b"".join(parts))
    return path


def rows_of(done: Any, table: str) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert (document["schema"], document["command"]) == (1, "spe")
    return [row for row in document["rows"] if row["table"] == table]


def test_symbols(kperf: Run, recording: Path) -> None:
    rows = rows_of(kperf("spe", "--decode", recording, "--json"), "symbols")
    by_address = {row["symbol"]: row for row in rows}
    reader = by_address[f"{0xAAAA_0000_0000 + READER * 0x1000:#x}"]
    assert (reader["samples"], reader["share"], reader["latency_mean"]) == (N, 0.25, 300)
    assert (reader["l1d_miss"], reader["llc_miss"], reader["tlb_walk"]) == (1, 1, 0)
    assert abs(reader["latency_p99"] - 300) <= 3
    assert reader["mispredict"] is None
    jumps = by_address["0xaaaa0000f000"]
    assert (jumps["mispredict"], jumps["l1d_miss"]) == (0.2, None)


def test_sources_and_latencies(kperf: Run, recording: Path) -> None:
    done = kperf("spe", "--decode", recording, "--json")
    sources = {row["code"]: (row["source"], row["samples"]) for row in rows_of(done, "sources")}
    assert sources == {0xD: ("code 0xd", N), 0: ("code 0x0", N)}
    latency = {row["from_cycles"]: row for row in rows_of(done, "latency")}
    assert (latency[4]["branches"], latency[8]["loads"], latency[64]["stores"]) == (N, N, N)
    assert sum(row["samples"] for row in latency.values()) == 4 * N


def test_cache_lines_tell_false_sharing(kperf: Run, recording: Path) -> None:
    done = kperf("spe", "--decode", recording, "--json", "--lines-of-cache")
    first, *others = rows_of(done, "cachelines")
    assert (first["address"], first["sharing"], first["threads"]) == (SHARED, "false", 2)
    assert (first["reads"], first["writes"]) == (N, N)
    assert [(t["offset"], t["tid"], t["writes"]) for t in first["touches"]] == [
        (0, WRITER, N),
        (8, READER, 0),
    ]
    assert {row["sharing"] for row in others} == {"none"}
    assert len(others) == N


def test_events_are_filtered_in_software(kperf: Run, recording: Path) -> None:
    options = ("--event", "mispredict,llc-miss", "--any-event", "--json")
    rows = rows_of(kperf("spe", "--decode", recording, *options), "symbols")
    assert sorted(row["samples"] for row in rows) == [N // 5, N]


def test_the_tables(kperf: Run, recording: Path) -> None:
    done = kperf("spe", "--decode", recording, "--lines-of-cache", "--top", "2")
    assert done.status == 0
    for words in ("2,000 records", "data source of loads", "false sharing", "+8", "the first 2 of"):
        assert words in done.out
    assert "quality: 2,000 records; 0 lost" in done.out
    assert "data sources are numbers" in done.out


def test_csv(kperf: Run, recording: Path) -> None:
    done = kperf("spe", "--decode", recording, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert {row["table"] for row in rows} == {"symbols", "sources", "latency"}
    assert sum(int(row["samples"]) for row in rows if row["table"] == "symbols") == 4 * N


def test_a_dump(kperf: Run, recording: Path, tmp_path: Path) -> None:
    done = kperf("spe", "--decode", recording, "-o", tmp_path / "made.txt")
    assert (done.status, done.out) == (0, "")
    assert "wrote" in done.err
    assert len((tmp_path / "made.txt").read_text().splitlines()) == 4 * N


def test_perf_data_as_a_judge_wraps_it(kperf: Run, recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.data"
    path.write_bytes(perf_judge.wrapped(recording.read_bytes()))
    rows = rows_of(kperf("spe", "--decode", path, "--json"), "symbols")
    assert sum(row["samples"] for row in rows) == 4 * N


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\xff" * 100, "it has no SPE record"),
        (b"PERFILE2" + (104).to_bytes(8, "little") + bytes(12), "cut within its header"),
        (b"PERFILE2" + bytes(200), "pipe"),
    ],
)
def test_files_that_are_none(
    kperf: Run,
    tmp_path: Path,
    content: bytes,
    words: str,
) -> None:
    (tmp_path / "bad").write_bytes(content)
    done = kperf("spe", "--decode", tmp_path / "bad")
    assert (done.status, done.out) == (1, "")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_damaged_perf_data_is_no_traceback(
    kperf: Run,
    recording: Path,
    tmp_path: Path,
) -> None:
    whole = perf_judge.wrapped(recording.read_bytes()[:4000])
    for cut in range(0, 400, 71):
        (tmp_path / "cut.data").write_bytes(whole[:cut] + b"\xff" * 8 + whole[cut + 8 : 2000])
        done = kperf("spe", "--decode", tmp_path / "cut.data")
        assert "Traceback" not in done.err
        assert done.status in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--event", "l1d-mis", "--", "true"), "did you mean l1d-miss"),
        (("--any-event", "--", "true"), "name events"),
        (("--decode", "FILE", "--load"), "leave out"),
        (("--decode", "FILE", "--event", "retired"), "use --any-event"),
        (("--decode", "FILE", "-o", "x.data"), "no perf.data"),
        (("-G", "/", "-a"), "-G"),
    ],
)
def test_usage(kperf: Run, recording: Path, arguments: tuple[str, ...], words: str) -> None:
    given = [recording if argument == "FILE" else argument for argument in arguments]
    done = kperf("spe", *given)
    assert done.status == 2
    assert words in done.err


@pytest.mark.skipif(
    Path("/sys/bus/event_source/devices/arm_spe_0").exists(), reason="this machine has SPE"
)
def test_a_machine_without_spe(kperf: Run) -> None:
    done = kperf("spe", "--", "true")
    assert done.status == 1
    assert done.err.startswith("kperf: no SPE here: ")
