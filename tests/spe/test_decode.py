"""`kperf.decode_spe`: rows of raw bytes, judged by perf and by how the stream was made."""

from __future__ import annotations

from pathlib import Path

import pytest
from spe import perf_judge, streams

import kperf

NEOVERSE_N1, HIP12, KUNPENG_920 = (0x41, 0xD0C), (0x48, 0xD06), (0x48, 0xD01)

LOAD = (
    streams.code(streams.PC, 0x12345678)
    + streams.operation(streams.MEMORY, 0)
    + streams.events(0x16)
    + streams.counter(streams.TOTAL, 32)
    + streams.counter(streams.ISSUE, 8)
    + streams.address(streams.VA, 0xDEAD1000)
    + streams.counter(streams.TRANSLATION, 0)
    + streams.source(8)
    + streams.timestamp(1_000_000)
)


def ext(stream: bytes, **options: object) -> object:
    (row,) = kperf.decode_spe(stream, **options)
    return row.ext


def test_a_load() -> None:
    (row,) = kperf.decode_spe(LOAD, midr=NEOVERSE_N1)
    found = row.ext
    assert (found.pa, found.va, found.event, found.lat) == (None, 0xDEAD1000, 0x16, 32)
    assert (found.source, found.sourceName, found.op) == (8, "L2", kperf.SpeOp.LOAD)
    assert (found.issueLat, found.translationLat, found.timer) == (8, 0, 1_000_000)
    assert found.eventNames == ["retired", "l1d-access", "tlb-access"]
    assert found.branchRecords.len == 0
    assert (row.pid, row.tid, row.ts, row.evt, row.count) == (-1, -1, -1, "spe", 1)
    assert [symbol.addr for symbol in row.frames] == [0x12345678]


def test_a_branch_of_a_thread() -> None:
    stream = (
        streams.code(streams.PC, 0xFF_8000_0000_1000, el=1)
        + streams.context(4711)
        + streams.operation(streams.BRANCH, 0x0B)
        + streams.events(0x82, 1)
        + streams.code(streams.TARGET, 0xFF_8000_0000_2000, el=1)
        + streams.END
    )
    (row,) = kperf.decode_spe(stream)
    op = kperf.SpeOp
    assert row.tid == 4711
    assert row.ext.op == op.BRANCH | op.CONDITIONAL | op.INDIRECT | op.CALL
    assert row.ext.target == 0xFFFF_8000_0000_2000
    assert (row.ext.va, row.ext.lat, row.ext.source, row.ext.timer) == (None, None, None, None)
    assert row.ext.event & kperf.SpeEventFilter.SPE_EVENT_MISPREDICTED


def test_a_tagged_address() -> None:
    stream = streams.address(streams.VA, 0x5A00_AAAA_0000_1000) + streams.END
    found = ext(stream)
    assert (found.va, found.tag) == (0xAAAA_0000_1000, 0x5A)


@pytest.mark.parametrize(
    ("midr", "code", "name"),
    [
        (NEOVERSE_N1, 0xE, "DRAM"),
        (HIP12, 1, "peer CPU, modified"),
        (HIP12, 18, "L1"),
        ((0xC0, 0xAC4), 3, "system cache"),
        (KUNPENG_920, 8, "code 0x8"),
        (NEOVERSE_N1, 1, "code 0x1"),
        (None, 0, "code 0x0"),
    ],
)
def test_sources_by_core(midr: tuple[int, int] | None, code: int, name: str) -> None:
    stream = streams.operation(streams.MEMORY, 0) + streams.source(code) + streams.END
    found = ext(stream, midr=midr)
    assert (found.source, found.sourceName) == (code, name)


OP = kperf.SpeOp


@pytest.mark.parametrize(
    ("kind", "payload", "op"),
    [
        (streams.OTHER, 0x00, OP.OTHER),
        (streams.OTHER, 0x01, OP.OTHER | OP.CONDITIONAL),
        (streams.OTHER, 0x2C, OP.OTHER | OP.SVE | OP.PREDICATED),
        (streams.MEMORY, 0x01, OP.STORE),
        (streams.MEMORY, 0x04, OP.LOAD | OP.SIMD_FP),
        (streams.MEMORY, 0x07, OP.STORE | OP.ATOMIC),
        (streams.MEMORY, 0x1A, OP.LOAD | OP.EXCLUSIVE | OP.ACQUIRE_RELEASE),
        (streams.MEMORY, 0x14, OP.LOAD | OP.TAG),
        (streams.MEMORY, 0x20, OP.LOAD | OP.MEMCPY),
        (streams.MEMORY, 0x25, OP.STORE | OP.MEMSET),
        (streams.MEMORY, 0x30, OP.LOAD | OP.SYSTEM_REGISTER),
        (streams.MEMORY, 0xDD, OP.STORE | OP.SVE | OP.PREDICATED | OP.GATHER_SCATTER),
        (streams.BRANCH, 0x00, OP.BRANCH),
        (streams.BRANCH, 0x12, OP.BRANCH | OP.INDIRECT | OP.RETURN),
    ],
)
def test_operations(kind: int, payload: int, op: kperf.SpeOp) -> None:
    assert ext(streams.operation(kind, payload) + streams.END).op == op


def test_records_come_in_order_with_or_without_a_time() -> None:
    whole = list(streams.records(500))
    data = kperf.decode_spe(b"".join(whole))
    assert len(data) == len(whole) == data.quality.samples
    addresses = [kperf.decode_spe(one)[0].frames[0].addr for one in whole[:50]]
    assert [row.frames[0].addr for row in data][:50] == addresses


def test_corrupt_bytes_are_told_and_survived() -> None:
    data = kperf.decode_spe(b"\xff" + LOAD + b"\x80\x0f" + LOAD)
    assert len(data) == 2
    assert data.report.corrupt == 3
    assert "3 corrupt bytes in the SPE data" in data.quality.notes
    assert kperf.decode_spe(LOAD + LOAD[:20]).report.cut == 1


def test_buffers_of_all_kinds() -> None:
    assert [len(kperf.decode_spe(kind(LOAD))) for kind in (bytes, bytearray, memoryview)] == [1] * 3
    assert len(kperf.decode_spe(b"")) == 0


def test_a_freed_row_says_so() -> None:
    data = kperf.decode_spe(LOAD)
    row = data[0]
    data.free()
    with pytest.raises(kperf.KperfError, match="freed"):
        _ = row.ext


@perf_judge.needs_perf
def test_samples_as_perf_makes_them(tmp_path: Path) -> None:
    stream = b"".join(streams.records(2000))
    rows = list(kperf.decode_spe(stream))
    samples = perf_judge.samples(stream, tmp_path)
    assert [row.frames[0].addr for row in rows] == [sample.ip for sample in samples]
    # Where a record has no context perf goes on with the last one.
    told = [(row.tid, sample.tid) for row, sample in zip(rows, samples) if row.ext.context]
    assert [ours for ours, _ in told] == [theirs for _, theirs in told]
    assert len(told) > 1000
