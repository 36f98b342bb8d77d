"""perf.data files that perf wrote, read by kperf and by perf itself: the same samples."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.processes import KPERF
from support import privileged

import kperf
from kperf.perfdata import Recorded, read_recorded
from kperf.perfdata.file import PerfDataFile

pytestmark = [
    privileged,
    pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed to record"),
]

MMAP2 = 10  # a record's type

# Something that takes samples in user space and the kernel, makes children and threads, and execs.
COMMANDS = ("sh", "ls", "true")
SCRIPT = "for i in 1 2 3; do ls -R /usr/share/doc >/dev/null & done; wait; exec true"


class Sample(NamedTuple):
    """What perf says of a sample."""

    comm: str
    pid: int
    tid: int
    cpu: int
    ts: int
    period: int
    event: str
    frames: tuple[tuple[int, str], ...]


_HEAD = re.compile(
    r"^\s*(?P<comm>.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s+(?:\[(?P<cpu>\d+)\]\s+)?(?P<s>\d+)\.(?P<ns>\d{9}):"
    r"\s+(?P<period>\d+)\s+(?P<event>\S+):\s*(?P<rest>.*)$"
)
_FRAME = re.compile(r"^\s*([0-9a-f]+) (.*?)(?: \((.*)\))?$")


def record(path: Path, *options: str, build_ids: str = "--buildid-mmap") -> Path:
    """A recording by perf; its command ends with 0."""
    # With build-ids of its own, perf does not abort on the marks that records of mappings have
    # where another profiler, such as one of another test, asks for them.
    command = ["perf", "record", "-q", build_ids, "-o", path, *options, "--", "sh", "-c", SCRIPT]
    for _ in range(5):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode >= 0:
            break
    assert done.returncode == 0, done.stderr
    return path


def as_perf_says(path: Path, *, has_cpus: bool) -> list[Sample]:
    fields = "comm,pid,tid,cpu,time,period,event,ip,sym"
    if not has_cpus:
        fields = fields.replace("cpu,", "")
    shown = subprocess.run(
        ["perf", "script", "--ns", "--no-inline", "-F", fields, "-i", path],
        check=True,
        capture_output=True,
        text=True,
        errors="replace",
    ).stdout
    samples: list[Sample] = []
    for line in shown.splitlines():
        head = _HEAD.match(line)
        if head:
            found = head.groupdict()
            time = int(found["s"]) * 10**9 + int(found["ns"])
            numbers = (int(found[key] or -1) for key in ("pid", "tid", "cpu"))
            frames = _frames(found["rest"])
            samples.append(
                Sample(found["comm"], *numbers, time, int(found["period"]), found["event"], frames)
            )
        elif line.strip():
            last = samples[-1]
            samples[-1] = last._replace(frames=(*last.frames, *_frames(line)))
    return samples


def _frames(text: str) -> tuple[tuple[int, str], ...]:
    frame = _FRAME.match(text)
    return ((int(frame[1], 16), frame[2]),) if frame else ()


def as_kperf_says(recorded: Recorded) -> list[Sample]:
    return [
        Sample(
            row.comm,
            row.pid,
            row.tid,
            row.cpu,
            row.ts,
            row.period,
            row.evt,
            tuple((symbol.addr, symbol.symbolName) for symbol in row.frames),
        )
        for row in recorded.data
    ]


def place(sample: Sample) -> tuple[object, ...]:
    """Whose, where and when."""
    return (sample.comm, sample.pid, sample.tid, sample.cpu, sample.ts, len(sample.frames))


def known(sample: Sample) -> tuple[object, ...]:
    return (*place(sample), sample.period, sample.event)


CASES = {
    "one event": ("-e", "page-faults", "-c", "1"),
    "with CPUs": ("--sample-cpu", "-e", "page-faults", "-c", "1"),
    "frequency": ("-e", "cpu-clock", "-F", "5000"),
    "call stacks": ("-g", "-e", "page-faults", "-c", "2"),
    "two events": ("-e", "page-faults", "-e", "minor-faults", "-c", "3"),
    "a tracepoint": ("-e", "syscalls:sys_enter_openat", "-c", "1"),
    "with addresses": ("-d", "-e", "page-faults", "-c", "1"),
    "without inheriting": ("-i", "-e", "page-faults", "-c", "1"),
    "on all CPUs": ("-a", "-e", "page-faults", "-c", "4"),
    "with registers": ("--user-regs=ip,sp", "-e", "page-faults", "-c", "3"),
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_same_samples(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = record(tmp_path / "perf.data", *options)
    has_cpus = not {"-a", "--sample-cpu", "syscalls:sys_enter_openat"}.isdisjoint(options)
    theirs = as_perf_says(path, has_cpus=has_cpus)
    ours = as_kperf_says(read_recorded(str(path)))
    assert len(theirs) > 20
    assert sorted(map(known, ours)) == sorted(map(known, theirs))
    frames = [
        pair
        for our, their in zip(sorted(ours, key=known), sorted(theirs, key=known))
        for pair in zip(our.frames, their.frames)
        if pair[1][1] != "[unknown]" and our.comm in COMMANDS
    ]
    assert frames
    # perf shows some by their place in the file: that has the same offset in its page.
    assert [mine[0] & 0xFFF for mine, _ in frames] == [its[0] & 0xFFF for _, its in frames]
    # Symbols at one address have several names, of which each tool has its favourite. kperf looks
    # callers up at their call, perf where it returns to; in the middle of an exec, perf takes the
    # caller's address for one of the image before.
    names = {(mine[1], its[1]) for mine, its in frames}
    assert sum(mine != its for mine, its in names) <= max(1, len(names) * 0.15), names


def test_counters_beside_samples_are_passed_over(tmp_path: Path) -> None:
    """perf makes a sample of each counter of a group that was read with a sample."""
    options = ("-e", "{page-faults,minor-faults}:S", "-c", "5")
    path = record(tmp_path / "perf.data", *options)
    theirs = as_perf_says(path, has_cpus=False)
    ours = as_kperf_says(read_recorded(str(path)))
    assert {sample.event for sample in ours} == {"page-faults"}
    assert set(map(place, ours)) == set(map(place, theirs))
    assert {sample.period for sample in ours} == {5}


def test_what_is_known_of_the_recording(tmp_path: Path) -> None:
    path = record(tmp_path / "perf.data", "-e", "page-faults", "-c", "1")
    recorded = read_recorded(str(path))
    assert recorded.command[1:4] == ("record", "-q", "--buildid-mmap")
    assert recorded.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert recorded.data.quality.samples == len(recorded.data)


def test_a_tracepoints_fields(tmp_path: Path) -> None:
    path = record(tmp_path / "perf.data", "-e", "syscalls:sys_enter_openat", "-c", "1")
    data = read_recorded(str(path)).data
    assert len(data) > 20
    ours = [row for row in data if row.comm in COMMANDS]
    assert ours
    for row in ours:
        assert row.fields["common_pid"] == row.tid
        # The upper half of a register that holds an int may hold anything.
        assert row.fields["dfd"] & 0xFFFFFFFF in (0xFFFFFF9C, *range(1024))


def test_a_mark_that_the_kernel_left_is_no_build_id(tmp_path: Path) -> None:
    """Where another tool asks for build-ids of mappings, records of all tools are marked with them.

    In those of a tool that asked for none, as its attributes tell, there is an inode instead.
    """
    path = record(tmp_path / "perf.data", "-e", "page-faults", "-c", "1", build_ids="-B")
    data = bytearray(path.read_bytes())
    with PerfDataFile(str(path)) as file:
        assert not any(attribute.build_id for attribute in file.attributes)
        marked = [entry.at for entry in file.records() if entry.type == MMAP2]
    assert marked
    names = [sample.frames for sample in as_kperf_says(read_recorded(str(path)))]
    for at in marked:
        misc = int.from_bytes(data[at + 4 : at + 6], "little") | 1 << 14
        data[at + 4 : at + 6] = misc.to_bytes(2, "little")
    path.write_bytes(data)
    assert [sample.frames for sample in as_kperf_says(read_recorded(str(path)))] == names


def test_compressed_records_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = record(tmp_path / "perf.data", "-z", "-e", "page-faults", "-c", "1")
    with pytest.raises(kperf.KperfError, match="compressed: record it without -z"):
        read_recorded(str(path))


def test_a_recording_for_a_pipe_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with path.open("wb") as file:
        subprocess.run(
            ["perf", "record", "-q", "-B", "-o", "-", "-e", "page-faults", "true"],
            check=True,
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    with pytest.raises(kperf.KperfError, match="pipe: write it into a file"):
        read_recorded(str(path))


@pytest.mark.parametrize("case", ["frequency", "call stacks", "two events", "a tracepoint"])
def test_written_again_perf_reads_the_same(tmp_path: Path, case: str) -> None:
    """Symbols apart: frames that perf cannot name here or there are of files that are gone."""
    path = record(tmp_path / "perf.data", *CASES[case])
    again = tmp_path / "again.data"
    done = subprocess.run(
        [KPERF, "report", path, "-o", again], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    samples = [as_perf_says(file, has_cpus=False) for file in (path, again)]
    assert len(samples[0]) > 10
    first, second = (sorted(map(_without_symbols, found)) for found in samples)
    assert first == second


def _without_symbols(sample: Sample) -> tuple[object, ...]:
    addresses = tuple(address for address, _ in sample.frames)
    return (sample.comm, sample.pid, sample.tid, sample.ts, sample.period, sample.event, addresses)
