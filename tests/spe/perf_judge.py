"""perf decodes SPE on every architecture: what it says of a stream.

The stream goes behind a small perf.data header: one event of an AUX-capable PMU, a
PERF_RECORD_AUXTRACE_INFO of type 4 (Arm SPE), and one PERF_RECORD_AUXTRACE with the bytes.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

needs_perf = pytest.mark.skipif(
    shutil.which("perf") is None, reason="perf is the judge: on Debian, apt-get install linux-perf"
)

_PMU_TYPE, _HEADER, _ATTR = 8, 104, 112
_SAMPLE_TYPE = 0x1 | 0x2 | 0x4 | 0x80 | 1 << 15 | 1 << 16  # IP TID TIME CPU DATA_SRC IDENTIFIER
_PATIENCE_S = 300


def wrapped(aux: bytes) -> bytes:
    """A perf.data file that holds the bytes as one SPE buffer of CPU 0, at an offset of 64."""
    aux += bytes(-len(aux) % 8)
    flags = 1 << 18 | 1  # sample_id_all, disabled
    attr = struct.pack("<IIQQQQQ", _PMU_TYPE, _ATTR, 1, 4096, _SAMPLE_TYPE, 4, flags)
    attr = attr.ljust(_ATTR, b"\0")
    info = struct.pack("<IHHIIQQ", 70, 0, 32, 4, 0, _PMU_TYPE, 1)
    trace = struct.pack("<IHHQQQIIII", 71, 0, 48, len(aux), 0, 0, 0, 0xFFFFFFFF, 0, 0)
    section = attr + struct.pack("<QQ", _HEADER, 8)
    at = _HEADER + 8
    data = info + trace + aux
    header = struct.pack(
        "<8sQQ6Q", b"PERFILE2", _HEADER, len(section), at, len(section), at + len(section),
        len(data), 0, 0,
    )  # fmt: skip
    return header.ljust(_HEADER, b"\0") + struct.pack("<Q", 77) + section + data


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Line(NamedTuple):
    """A line of `perf report -D`: a packet, or up to 16 bytes of padding."""

    offset: int
    bytes: bytes
    words: str


# Its bytes stand in a field of 48 characters, two digits and a space each.
_LINE = re.compile(r"^\.  ([0-9a-f]{8}): ((?: [0-9a-f]{2})+) +(\S.*?) *$", re.MULTILINE)


def packets(aux: bytes, directory: Path) -> list[Line]:
    """What `perf report -D` says of each packet."""
    path = directory / "packets.data"
    path.write_bytes(wrapped(aux))
    dumped = _run("perf", "report", "-D", "-i", str(path))
    begin = dumped.index("ARM SPE data")
    return [
        Line(int(at, 16), bytes.fromhex(digits), words)
        for at, digits, words in _LINE.findall(dumped, begin)
    ]


class Sample(NamedTuple):
    """A sample that perf makes of a record."""

    tid: int
    ip: int


_SAMPLE = re.compile(r"^ *(-?\d+) +instructions: +([0-9a-f]+)", re.MULTILINE)


def samples(aux: bytes, directory: Path) -> list[Sample]:
    """What `perf script --itrace=i1iM` makes of each record, in order."""
    path = directory / "samples.data"
    path.write_bytes(wrapped(aux))
    return samples_of(path)


def samples_of(path: Path) -> list[Sample]:
    """The same of a perf.data file."""
    printed = _run("perf", "script", "--itrace=i1iM", "-F", "tid,event,ip", "-i", str(path))
    return [Sample(int(tid), int(ip, 16)) for tid, ip in _SAMPLE.findall(printed)]
