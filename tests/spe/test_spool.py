"""perf.data files that are written while records come: perf and kperf read what was recorded."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from spe import perf_judge, streams
from spe.test_files import comm, load, switched, traced

import kperf
from kperf.events.event import Event
from kperf.spe.decode import decode_file
from kperf.spe.spool import SpoolFile, write_raw

EVENT = Event("arm_spe_0", "spe", type=8, config=1, period=2048)
STREAM = b"".join(streams.records(200))


def spooled(path: Path, *records: bytes) -> Path:
    """A finished file around records that the core would have written."""
    with SpoolFile(str(path)) as spool:
        for record in records:
            os.write(spool.fd, record)
        spool.finish(EVENT, kperf.decode_spe(load(1)))
    return path


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = spooled(
        tmp_path / "made.data",
        comm(100, b"leader"),
        switched(101, 50),
        traced(0, 0, STREAM),
        switched(100, 60, cpu=1),
        traced(1, 0, load(7)),
    )
    data = decode_file(path)
    assert len(data) == 201
    assert {row.period for row in data} == {2048}
    assert {row.cpu for row in data} == {0, 1}
    assert [path.name for path in tmp_path.iterdir()] == ["made.data"]
    # It was recorded under this kernel, so that names may be looked up.
    assert not any("another machine" in note for note in data.quality.notes)


def test_raw_bytes_come_out_again(tmp_path: Path) -> None:
    path = spooled(tmp_path / "made.data", traced(1, 0, load(7)), traced(0, 0, STREAM))
    with (tmp_path / "raw").open("wb") as out:
        write_raw(str(path), out)
    raw = (tmp_path / "raw").read_bytes()
    assert raw.startswith(STREAM)
    assert len(kperf.decode_spe(raw)) == 201


@perf_judge.needs_perf
def test_perf_script_reads_it(tmp_path: Path) -> None:
    path = spooled(
        tmp_path / "made.data",
        comm(100, b"leader"),
        switched(101, 50),
        traced(0, 0, STREAM),
        switched(101, 70, out=True),
    )
    ours = [row.frames[0].addr for row in kperf.decode_spe(STREAM)]
    assert [sample.ip for sample in perf_judge.samples_of(path)] == ours


def test_nothing_is_left_of_a_recording_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), SpoolFile(str(tmp_path / "made.data")):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(kperf.KperfError) as refused:
        SpoolFile(str(tmp_path / "nowhere" / "made.data"))
    assert refused.value.code == kperf.Error.WRITE_FAILED


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow above so many bytes, as on a disk with as little room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def check_refusal(refused: pytest.ExceptionInfo[kperf.KperfError], path: Path) -> None:
    assert refused.value.code == kperf.Error.WRITE_FAILED
    assert str(refused.value).startswith(f"cannot write {path} (File too large)")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100])
def test_a_disk_that_is_full_before_it(tmp_path: Path, size: int) -> None:
    path = tmp_path / "made.data"
    with room_for(size), pytest.raises(kperf.KperfError) as refused:
        SpoolFile(str(path))
    check_refusal(refused, path)


def test_a_disk_that_is_full_at_any_byte_of_its_end(tmp_path: Path) -> None:
    """A file that lacks its last bytes would look whole."""
    path = tmp_path / "made.data"
    whole = spooled(path, traced(0, 0, STREAM)).stat().st_size
    path.unlink()
    for missing in (1, 7, 40, 100):
        with SpoolFile(str(path)) as spool:
            os.write(spool.fd, traced(0, 0, STREAM))
            with room_for(whole - missing), pytest.raises(kperf.KperfError) as refused:
                spool.finish(EVENT, kperf.decode_spe(load(1)))
        check_refusal(refused, path)
