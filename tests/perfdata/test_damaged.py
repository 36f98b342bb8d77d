"""perf.data files that are cut, changed or none at all: an error or fewer samples, nothing else."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from support import privileged

import kperf
from kperf.perfdata import read_recorded

with_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("perfdata") / "perf.data"
    command = [
        "perf",
        "record",
        "-q",
        "-B",
        "-g",
        "-o",
        path,
        "-e",
        "page-faults",
        "-c",
        "1",
        "true",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path.read_bytes()


def read(path: Path, content: bytes) -> int | str:
    """How many samples were read, or why none was."""
    path.write_bytes(content)
    try:
        return len(read_recorded(str(path), symbol_mode=0).data)
    except kperf.KperfError as raised:
        failure = raised
    assert str(path) in str(failure)
    assert failure.hint
    return failure.message


@privileged
@with_perf
def test_cut_anywhere(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "cut.data"
    samples = read(path, whole)
    assert isinstance(samples, int)
    assert samples > 20
    for end in random.Random(1).sample(range(len(whole)), 60):
        found = read(path, whole[:end])
        assert isinstance(found, str) or found <= samples


@privileged
@with_perf
def test_a_cut_file_says_so(tmp_path: Path, whole: bytes) -> None:
    data_at, data_size = struct.unpack_from("<QQ", whole, 40)
    path = tmp_path / "cut.data"
    path.write_bytes(whole[: data_at + data_size * 3 // 4])
    data = read_recorded(str(path)).data
    assert "the file is cut: records are missing" in data.quality.notes


@privileged
@with_perf
def test_changed_anywhere(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "changed.data"
    choose = random.Random(2)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(choose.randint(1, 8)):
            # The header and the attributes are a small part of the file, and the most brittle.
            place = choose.randrange(choose.choice((200, len(content))))
            content[place] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        read(path, bytes(content))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no perf.data file"),
        (b"PERF", "no perf.data file"),
        (b"x" * 4096, "no perf.data file"),
        (b"2ELIFREP" + bytes(200), "big-endian"),
        (b"PERFILE2" + struct.pack("<Q", 104), "cut within its header"),
        (b"PERFILE2" + struct.pack("<12Q", 104, *[0] * 11), "not described"),
        (b"PERFILE2" + struct.pack("<12Q", 104, 144, *[0] * 10), "without events"),
        (b"PERFILE2" + struct.pack("<12Q", 104, 144, 1 << 40, 144, *[0] * 8), "outside of it"),
    ],
)
def test_no_perf_data(tmp_path: Path, content: bytes, word: str) -> None:
    found = read(tmp_path / "none.data", content)
    assert isinstance(found, str)
    assert word in found


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.data", tmp_path):
        with pytest.raises(kperf.KperfError, match="cannot be read"):
            read_recorded(str(path))
