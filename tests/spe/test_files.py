"""perf.data files with side-band: tasks by switches, times by their clock, cores by their MIDRs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from spe import perf_judge, streams

import kperf
from kperf.spe.decode import Keep, decode_file

SHIFT, MULT, ZERO = 10, 2048, 5_000_000  # so that a tick is 2 ns
PROCESS, FIRST, SECOND = 100, 100, 101
TRAILER = struct.Struct("<iiQQQ")  # pid, tid, time, cpu, identifier


def ns(ticks: int) -> int:
    return ZERO + ticks * 2


def record(kind: int, misc: int, body: bytes, tid: int, time: int, cpu: int = 0) -> bytes:
    body += TRAILER.pack(PROCESS, tid, time, cpu, 0)
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def comm(tid: int, name: bytes) -> bytes:
    return record(3, 0, struct.pack("<ii", PROCESS, tid) + name.ljust(16, b"\0"), tid, 0)


def mapped(start: int, size: int, path: bytes) -> bytes:
    place = struct.pack("<iiQQQ", PROCESS, PROCESS, start, size, 0)
    file = struct.pack("<IIQQII", 8, 1, 77, 0, 5, 2)
    name = path + bytes(8 - len(path) % 8)
    return record(10, 2, place + file + name, PROCESS, 0)


def switched(tid: int, time: int, cpu: int = 0, *, out: bool = False) -> bytes:
    return record(14, 1 << 13 if out else 0, b"", tid, time, cpu)


def aux(flags: int) -> bytes:
    return record(11, 0, struct.pack("<QQQ", 0, 0, flags), FIRST, ns(1))


def clock() -> bytes:
    return struct.pack("<IHHQQQQQBB6x", 79, 0, 56, SHIFT, MULT, ZERO, 0, 0, 1, 0)


def info(midrs: dict[int, int]) -> bytes:
    """PERF_RECORD_AUXTRACE_INFO as newer perf writes it."""
    words = [1, 4, 8, len(midrs)]
    for cpu, midr in midrs.items():
        words += [0x1010101010101010, cpu, 3, midr, 8, 1024]
    body = struct.pack("<II", 4, 0) + struct.pack(f"<{len(words)}Q", *words)
    return struct.pack("<IHH", 70, 0, 8 + len(body)) + body


def traced(cpu: int, offset: int, content: bytes) -> bytes:
    content += bytes(-len(content) % 8)
    head = struct.pack("<IHHQQQIIII", 71, 0, 48, len(content), offset, 0, cpu, 0xFFFFFFFF, cpu, 0)
    return head + content


def perf_data(path: Path, *records: bytes) -> Path:
    """The judge's file with these records in place of its own."""
    whole = perf_judge.wrapped(b"")
    data_at, _ = struct.unpack_from("<QQ", whole, 40)
    data = b"".join(records)
    path.write_bytes(whole[:40] + struct.pack("<QQ", data_at, len(data)) + whole[56:data_at] + data)
    return path


def load(ticks: int, pc: int = 0x1000, source: int = 1) -> bytes:
    return (
        streams.code(streams.PC, pc)
        + streams.operation(streams.MEMORY, 0)
        + streams.address(streams.VA, 0x5000)
        + streams.source(source)
        + streams.timestamp(ticks)
    )


def test_tasks_are_those_that_ran(tmp_path: Path) -> None:
    path = perf_data(
        tmp_path / "made.data",
        clock(),
        info({0: 0x480FD060, 1: 0x410FD0C1}),
        traced(0, 0, load(150) + load(250) + load(350)),
        traced(1, 0, load(260)),
        comm(FIRST, b"leader"),
        comm(SECOND, b"worker"),
        switched(SECOND, ns(200)),
        switched(FIRST, ns(100)),
        switched(SECOND, ns(300), out=True),
        switched(FIRST, ns(200), cpu=1),
    )
    rows = list(decode_file(path))
    assert [(row.cpu, row.tid, row.pid) for row in rows] == [
        (0, FIRST, PROCESS),
        (0, SECOND, PROCESS),
        (1, FIRST, PROCESS),
        (0, 0, 0),
    ]
    assert [row.comm for row in rows[:3]] == ["leader", "worker", "leader"]
    assert [row.ts for row in rows] == [ns(150), ns(250), ns(260), ns(350)]
    assert [row.ext.sourceName for row in rows[1:3]] == ["peer CPU, modified", "code 0x1"]
    assert {row.period for row in rows} == {4096}


def test_addresses_are_told_by_the_file_they_are_in(tmp_path: Path) -> None:
    path = perf_data(
        tmp_path / "made.data",
        clock(),
        info({}),
        mapped(0x1000, 0x1000, b"/opt/program"),
        switched(FIRST, ns(1)),
        traced(0, 0, load(150) + load(160, pc=0x9000)),
    )
    data = decode_file(path)
    assert [row.frames[0].module for row in data] == ["/opt/program", "[unknown]"]
    assert any("another machine" in note for note in data.quality.notes)


def test_chunks_join_where_their_offsets_do(tmp_path: Path) -> None:
    """A chunk is filled up to 8 bytes, which are not the stream's."""
    stream = load(150) + load(250) + load(350)
    for cut in range(1, len(stream)):
        path = perf_data(
            tmp_path / "made.data",
            clock(),
            info({}),
            traced(0, 0, stream[:cut]),
            traced(0, cut, stream[cut:]),
        )
        data = decode_file(path)
        assert (len(data), data.report.cut, data.report.corrupt) == (3, 0, 0), cut


def test_a_gap_cuts_the_record_that_it_is_in(tmp_path: Path) -> None:
    stream = load(150)
    path = perf_data(
        tmp_path / "made.data",
        info({}),
        traced(0, 0, stream[:16]),
        traced(0, 4096, stream),
    )
    data = decode_file(path)
    assert (len(data), data.report.cut) == (1, 1)
    assert [row.ts for row in data] == [-1]


def test_aux_flags_are_counted(tmp_path: Path) -> None:
    path = perf_data(
        tmp_path / "made.data", info({}), aux(1), aux(4), aux(1 | 8), traced(0, 0, load(1))
    )
    data = decode_file(path)
    report = data.report
    assert (report.truncated, report.partial, report.collisions) == (2, 1, 1)
    assert (data.quality.aux_truncated, data.quality.aux_collisions) == (3, 1)


def test_a_file_without_spe(tmp_path: Path) -> None:
    path = perf_data(tmp_path / "made.data", comm(FIRST, b"leader"))
    with pytest.raises(kperf.KperfError, match="without SPE"):
        decode_file(path)


@perf_judge.needs_perf
def test_perf_agrees_on_a_file_with_side_band(tmp_path: Path) -> None:
    stream = b"".join(streams.records(300))
    path = perf_data(
        tmp_path / "made.data",
        struct.pack("<IHHIIQQ", 70, 0, 32, 4, 0, 8, 1),
        comm(FIRST, b"leader"),
        traced(0, 0, stream),
    )
    rows = list(decode_file(path, Keep()))
    assert [row.frames[0].addr for row in rows] == [
        sample.ip for sample in perf_judge.samples_of(path)
    ]
