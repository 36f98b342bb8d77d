"""Targets that die, many recordings at once, full buffers, odd binaries."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from sampling.python.programs import (
    ROOM_FOR_ALL,
    ROUNDS,
    SOURCES,
    check_shares,
    let_go,
    sample,
    tops,
    waiting,
    watched,
)
from support import PATIENCE_S, as_nobody, online_cpus, privileged, together

import kperf
import kperf.symbols.resolver  # where another user may not import it any more

WRITE = "syscalls:sys_enter_write"


def test_a_target_that_is_killed_midway(busy: Path) -> None:
    with watched(busy, "spin", 1 << 40) as (process, sampling):
        sampling.enable()
        assert process.stdin is not None
        process.stdin.close()
        rows: list[object] = []
        while len(rows) < 300:
            rows += sampling.read()
        process.kill()
        process.wait(PATIENCE_S)
        sampling.disable()
        last = sampling.read()
        assert len(sampling.read()) == 0
    check_shares(tops([*rows, *last]))
    assert {row.comm for row in last} <= {"busy"}


@privileged
def test_fifty_recordings_at_once(busy: Path) -> None:
    with waiting(busy, "write", 300) as process:
        recordings = [kperf.Sampling(WRITE, pids=[process.pid]) for _ in range(50)]
        try:
            for recording in recordings:
                recording.enable()
            let_go(process)
            data = [recording.read() for recording in recordings]
        finally:
            for recording in recordings:
                recording.close()
    assert [len(rows) for rows in data] == [300] * 50
    assert {row.comm for rows in data for row in rows} == {"busy"}


@privileged
def test_recordings_of_several_threads_do_not_mix(busy: Path) -> None:
    found: dict[int, int] = {}

    def record(n: int) -> None:
        with (
            waiting(busy, "write", n) as process,
            kperf.Sampling(WRITE, pids=[process.pid], buffer_bytes=ROOM_FOR_ALL) as sampling,
        ):
            sampling.enable()
            let_go(process)
            rows = sampling.read()
        assert {row.pid for row in rows} == {process.pid}
        found[n] = len(rows)

    numbers = range(100, 900, 100)
    together(*(lambda n=n: record(n) for n in numbers))
    assert found == {n: n for n in numbers}


@privileged
def test_nothing_is_lost_while_the_program_sleeps(busy: Path) -> None:
    """More than twice what the buffers hold."""
    with waiting(busy, "spin", 1 << 40) as process:
        with kperf.Sampling("cpu-clock", cpus=online_cpus(), frequency=4000) as sampling:
            assert process.stdin is not None
            process.stdin.close()
            sampling.enable()
            time.sleep(3)
            sampling.disable()
            data = sampling.read()
        process.kill()
    assert data.quality.lost == 0
    assert len(data) > 1000


def test_smaller_buffers_are_told_and_leave_room_for_others(busy: Path) -> None:
    def record() -> list[object]:
        with (
            waiting(busy, "spin", ROUNDS // 4) as process,
            kperf.Sampling("cpu-clock:u", pids=[process.pid], buffer_bytes=1 << 30) as one,
            kperf.Sampling("cpu-clock:u", pids=[process.pid], buffer_bytes=1 << 30) as two,
        ):
            one.enable()
            two.enable()
            let_go(process)
            reads = [one.read(), two.read()]
        return [[len(data), data.quality.notes] for data in reads]

    for n, notes in as_nobody(record):
        assert n > 0
        assert any("mlock" in note for note in notes)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with its code at another place in the file than in memory."""
    program = tmp_path_factory.mktemp("shifted") / "busy"
    flags = ["-O1", "-g", "-fPIE", "-pie", "-pthread", "-fno-omit-frame-pointer"]
    placed = ["-falign-functions=64", "-Wl,--section-start=.text=0x3a1000"]
    compiler = shutil.which("cc") or "gcc"
    command = [compiler, *flags, *placed, "-o", program, SOURCES / "busy.c", "-ldl"]
    subprocess.run(command, check=True)
    return program


def test_code_that_lies_elsewhere_in_the_file(shifted: Path) -> None:
    from elftools.elf.elffile import ELFFile

    with shifted.open("rb") as file:
        (code,) = (
            s
            for s in ELFFile(file).iter_segments("PT_LOAD")
            if s["p_vaddr"] >= 0x3A1000 and s["p_flags"] & 1
        )
        assert code["p_vaddr"] != code["p_offset"]
    check_shares(tops(sample([shifted, "spin", ROUNDS // 2])))
