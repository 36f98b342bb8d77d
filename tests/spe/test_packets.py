"""Every packet as perf reads it: offset, size, meaning and value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spe import perf_judge, streams

from kperf.spe.packets import Packet, packets

# KPERF_SPE_RECORDS=100000 compares more.
RECORDS = int(os.environ.get("KPERF_SPE_RECORDS", "800"))

LOW_56 = (1 << 56) - 1

EVENTS = {
    0: "EXCEPTION-GEN",
    1: "RETIRED",
    2: "L1D-ACCESS",
    3: "L1D-REFILL",
    4: "TLB-ACCESS",
    5: "TLB-REFILL",
    6: "NOT-TAKEN",
    7: "MISPRED",
    8: "LLC-ACCESS",
    9: "LLC-REFILL",
    10: "REMOTE-ACCESS",
    11: "ALIGNMENT",
    17: "SVE-PARTIAL-PRED",
    18: "SVE-EMPTY-PRED",
}


def signed(value: int) -> int:
    return value - (value >> 63 << 64)


def address_words(index: int, value: int) -> str:
    state = f"el{value >> 61 & 3} ns={value >> 63}"
    return {
        streams.PC: f"PC {value & LOW_56:#x} {state}",
        streams.TARGET: f"TGT {value & LOW_56:#x} {state}",
        streams.VA: f"VA {value:#x}",
        streams.PA: f"PA {value & LOW_56:#x} ns={value >> 63} ch={value >> 62 & 1} "
        f"pat={value >> 56 & 15:x}",
    }.get(index, f"ADDR {value:#x} ({index})")


def event_words(_index: int, value: int) -> str:
    return " ".join(["EV", *(name for bit, name in EVENTS.items() if value >> bit & 1)])


# As `perf report -D` of Linux 6.1 writes packets, by index and payload; of operations the class.
WORDS: dict[str, Callable[[int, int], str]] = {
    "bad": lambda _index, _value: "Bad packet!",
    "pad": lambda _index, _value: "PAD",
    "end": lambda _index, _value: "END",
    "timestamp": lambda _index, value: f"TS {signed(value)}",
    "source": lambda _index, value: f"DATA-SOURCE {signed(value)}",
    "context": lambda index, value: f"CONTEXT {value:#x} el{index + 1}",
    "counter": lambda index, value: " ".join(
        ["LAT", str(value), *["TOT", "ISSUE", "XLAT"][index : index + 1]]
    ),
    "operation": lambda index, value: ("OTHER", "LD", "B", f"OP-TYPE {value:#x} (3)")[index],
    "events": event_words,
    "address": address_words,
}


def in_perfs_words(one: Packet) -> str:
    return WORDS[one.kind](one.number, one.payload)


def of_one_class(words: str) -> str:
    """perf's words without the details of an operation, which the records' tests judge."""
    first = words.split(" ")[0]
    return {"ST": "LD", "LD": "LD", "B": "B", "SVE-OTHER": "OTHER", "OTHER": "OTHER"}.get(
        first, words
    )


def padding_apart(read: Iterator[tuple[int, bytes, str]]) -> Iterator[tuple[int, bytes, str]]:
    """Padding byte by byte: how long a run is, is a matter of taste."""
    for offset, content, words in read:
        if words != "PAD":
            yield offset, content, words
            continue
        for i in range(len(content)):
            yield offset + i, content[i : i + 1], words


def compare(stream: bytes, directory: Path) -> None:
    stream += bytes(-len(stream) % 8)
    ours = (
        (one.offset, stream[one.offset : one.offset + one.size], in_perfs_words(one))
        for one in packets(stream)
    )
    theirs = (
        (line.offset, line.bytes, of_one_class(line.words))
        for line in perf_judge.packets(stream, directory)
    )
    read = list(padding_apart(ours))
    assert read == list(padding_apart(theirs))
    assert b"".join(content for _, content, _ in read) == stream


@perf_judge.needs_perf
@pytest.mark.parametrize("seed", [1, 2])
def test_records_as_perf_reads_them(tmp_path: Path, seed: int) -> None:
    compare(b"".join(streams.records(RECORDS, seed)), tmp_path)


@perf_judge.needs_perf
def test_every_header_and_payload_as_perf_reads_them(tmp_path: Path) -> None:
    each = [
        bytes([first, second]) + bytes(range(16)) for first in range(256) for second in range(4)
    ]
    each += [
        bytes([high, second]) + bytes(16) for high in range(0x20, 0x24) for second in range(256)
    ]
    each += [streams.operation(kind, value) for kind in range(4) for value in range(256)]
    each += [streams.events(1 << bit, 8) for bit in range(64)]
    compare(b"".join(each) + bytes(16), tmp_path)


@perf_judge.needs_perf
@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_as_perf_reads_them(tmp_path: Path, seed: int) -> None:
    compare(streams.noise(20 * RECORDS, seed) + bytes(16), tmp_path)


@perf_judge.needs_perf
def test_records_with_damage_as_perf_reads_them(tmp_path: Path) -> None:
    stream = bytearray(b"".join(streams.records(RECORDS)))
    for at in range(50, len(stream) - 16, 97):
        stream[at] ^= 1 << at % 8
    compare(bytes(stream), tmp_path)


def test_a_cut_end_is_told_byte_by_byte() -> None:
    assert [one.kind for one in packets(streams.timestamp(1)[:3])] == ["bad", "end", "pad"]


def test_an_alignment_counts_from_the_beginning_of_the_stream() -> None:
    stream = streams.END + streams.alignment(3) + bytes([0xEE]) * 13 + streams.END
    assert [(one.offset, one.size, one.kind) for one in packets(stream)] == [
        (0, 1, "end"),
        (1, 15, "pad"),
        (16, 1, "end"),
    ]


def test_no_bytes_are_no_packets() -> None:
    assert list(packets(b"")) == []
