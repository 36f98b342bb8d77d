"""Branch records, from entries packed as the kernel lays them out."""

from __future__ import annotations

import struct

from kperf.branches import BranchRecord, BranchRecords, SampleExt


def entry(origin: int, target: int, flags: int) -> bytes:
    return struct.pack("=QQQ", origin, target, flags)


def test_fields_of_a_record() -> None:
    packed = entry(0x1000, 0xFFFF_8000_0000_0000, 1 << 0 | 0xABCD << 4 | 0x7 << 20)
    (record,) = BranchRecords(packed).iter
    assert record == BranchRecord(0x1000, 0xFFFF_8000_0000_0000, 0xABCD, True, False, 7)


def test_each_flag_is_its_own_bit() -> None:
    records = list(BranchRecords(b"".join(entry(1, 2, 1 << bit) for bit in range(64))))
    assert [bit for bit, record in enumerate(records) if record.misPred] == [0]
    assert [bit for bit, record in enumerate(records) if record.predicted] == [1]
    assert [bit for bit, record in enumerate(records) if record.cycles] == list(range(4, 20))
    assert [bit for bit, record in enumerate(records) if record.type] == list(range(20, 24))


def test_length_and_iterating_anew() -> None:
    records = BranchRecords(entry(1, 2, 2) + entry(3, 4, 2))
    assert records.len == len(records) == 2
    assert [r.fromAddr for r in records.iter] == [r.fromAddr for r in records] == [1, 3]
    assert list(BranchRecords(b"")) == []


def test_what_is_of_spe_alone_is_none() -> None:
    ext = SampleExt(BranchRecords(b""))
    assert {ext.pa, ext.va, ext.event, ext.lat, ext.source, ext.op} == {None}
