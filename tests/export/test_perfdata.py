"""perf.data files, judged by `perf`: it finds the samples that the rows have."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from export.made import MadeProfile, Sample, written
from sampling.python.programs import ROOM_FOR_ALL, ROUNDS, Programs, sample
from support import PATIENCE_S, privileged

import kperf
from kperf import export
from kperf.data import EventInfo
from kperf.tasks import TaskEvent, TaskKind

pytestmark = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")


class Seen(NamedTuple):
    """A sample as `perf script` shows it."""

    comm: str
    pid: int
    tid: int
    cpu: int
    time: int
    period: int
    event: str
    frames: tuple[tuple[int, str], ...]


def perf(*words: object) -> str:
    """What a perf command prints; it complains of nothing that concerns the file."""
    done = subprocess.run(
        ["perf", *map(str, words)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE_S,
        env={**os.environ, "PERF_CONFIG": "/dev/null", "PAGER": "cat"},
    )
    assert done.returncode == 0, done.stderr
    for word in ("corrupt", "rror", "ncompatible", "nvalid", "Can't"):
        assert word not in done.stderr, done.stderr
    return done.stdout


_HEAD = re.compile(r"(.+?) +(-?\d+)/(-?\d+) +\[(\d+)\] +(\d+)\.(\d{9}): +(\d+) +(\S+):(?= |$)(.*)$")
_FRAME = re.compile(r"\s*([0-9a-f]+) (.*) \((.*)\)$")


def script(file: Path, *words: str) -> list[Seen]:
    fields = "comm,pid,tid,cpu,time,period,event,ip,sym,dso"
    text = perf("script", "-i", file, "--ns", "-F", fields, "--show-kernel-path", *words)
    found = []
    for block in re.split(r"\n+(?!\t)", text.strip("\n")):
        head, *lines = block.split("\n")
        known = _HEAD.match(head)
        assert known, head
        comm, pid, tid, cpu, seconds, ns, period, event, frame = known.groups()
        frames = [_FRAME.match(line) for line in [frame, *lines]]
        found.append(
            Seen(
                comm.strip(),
                *(int(pid), int(tid), int(cpu), int(seconds) * 10**9 + int(ns), int(period)),
                event,
                tuple((int(frame[1], 16), frame[2]) for frame in frames if frame),
            )
        )
    return found


def shown_address(symbol: Any, mapping: Any) -> int:
    """perf shows where in its file a frame of a program lies, and the kernel's as they are."""
    if mapping is None:
        return int(symbol.addr)
    return int(symbol.addr - mapping.start + mapping.offset)


def expected(data: Any) -> list[Seen]:
    stacks = data.stacks
    is_chain = data.shown.call_stack
    numbers = [stacks.mapping_number(frame) for frame in range(len(stacks.addresses))]
    mappings = [stacks.mapping(number) for number in numbers]
    return [
        Seen(
            *(row.comm, row.pid, row.tid, row.cpu, row.ts, row.period, row.evt),
            tuple(
                (
                    shown_address(stacks.symbols[frame], mappings[frame] if is_chain else None),
                    stacks.symbols[frame].symbolName,
                )
                for frame in stacks.frame_numbers(stack)
            ),
        )
        for row, stack in zip(data, data.columns()["stack"])
    ]


def judge(data: Any, file: Path, *, stacks: bool) -> None:
    """Every sample of the file is the row's, whole."""
    export.write(data, file, "perf.data")
    theirs, ours = script(file), expected(data)
    assert len(theirs) == len(ours) > 50
    for one, other in zip(theirs, ours):
        assert one[:-1] == other[:-1]
        assert len(one.frames) == len(other.frames)
    assert any(len(seen.frames) > 1 for seen in theirs) == stacks
    pairs = Counter(
        pair for seen, row in zip(theirs, ours) for pair in zip(seen.frames, row.frames)
    )
    # perf takes what stands behind a call at the end of a function for the caller; and while a
    # program becomes another, it looks in the old one's files, where for us nothing is mapped.
    unlike = {
        (theirs, ours): n
        for (theirs, ours), n in pairs.items()
        if theirs != ours and ours[1] not in ("_start", "[unknown]")
    }
    assert sum(unlike.values()) <= sum(pairs.values()) / 100, unlike


def test_samples_of_threads(programs: Programs, target: Path) -> None:
    data = sample(
        [programs.busy, "threads", 2, ROUNDS // 3], call_stack=True, buffer_bytes=ROOM_FOR_ALL
    )
    judge(data, target, stacks=True)
    assert {seen.comm for seen in script(target)} >= {"busy-thread"}


def test_children_libraries_and_new_programs(programs: Programs, target: Path) -> None:
    words = ["children", 2, ROUNDS // 8, "library", programs.library, ROUNDS // 8]
    data = sample(
        [programs.busy, *words, "exec", programs.other, "20000"],
        call_stack=True,
        buffer_bytes=ROOM_FOR_ALL,
    )
    judge(data, target, stacks=True)
    found = script(target)
    names = {name for seen in found for _, name in seen.frames}
    assert {"sixty", "in_the_library", "after_exec"} <= names
    assert "other" in {seen.comm for seen in found}
    assert len({seen.pid for seen in found}) == 3


def test_without_call_stacks(programs: Programs, target: Path) -> None:
    data = sample([programs.busy, "spin", ROUNDS // 4], buffer_bytes=ROOM_FOR_ALL)
    judge(data, target, stacks=False)


def test_no_byte_more_than_the_attributes_tell(programs: Programs, target: Path) -> None:
    """A sample without a call chain ends behind its period."""
    data = sample([programs.busy, "spin", ROUNDS // 8])
    export.write(data, target, "perf.data")
    sizes = re.findall(r"\[0x([0-9a-f]+)\]: PERF_RECORD_SAMPLE", perf("script", "-i", target, "-D"))
    assert {int(size, 16) for size in sizes} == {64 - 8}


def test_several_events_at_periods_of_their_own(programs: Programs, target: Path) -> None:
    data = sample(
        [programs.busy, "spin", ROUNDS // 4],
        ["task-clock:u", "page-faults"],
        groups=[kperf.EvtAttr(period=500_000), kperf.EvtAttr(period=1)],
        call_stack=True,
    )
    judge(data, target, stacks=True)
    header = perf("report", "-i", target, "--header-only")
    assert re.search(
        r"name = task-clock:u, .*sample_period.* = 500000,.*exclude_kernel = 1", header
    )
    assert re.search(r"name = page-faults, .*sample_period.* = 1,", header)
    assert "mmap2 = 1" in header


def test_report_adds_up_as_the_table(programs: Programs, target: Path) -> None:
    data = sample([programs.busy, "spin", ROUNDS], buffer_bytes=ROOM_FOR_ALL)
    export.write(data, target, "perf.data")
    report = perf("report", "-i", target, "--stdio", "-n", "--sort", "symbol", "-q")
    theirs = {name: int(n) for n, name in re.findall(r"% +(\d+) +\[.\] (\S+)", report)}
    ours = Counter(row.frames[0].symbolName for row in data)
    for name in ("sixty", "thirty", "ten"):
        assert theirs[name] == ours[name]


def test_the_header_tells_where_it_was_recorded(programs: Programs, target: Path) -> None:
    data = sample([programs.busy, "spin", ROUNDS // 8], call_stack=True)
    export.write(data, target, "perf.data")
    header = perf("report", "-i", target, "--header-only")
    known = os.uname()
    for line in (
        f"hostname : {known.nodename}",
        f"os release : {known.release}",
        f"arch : {known.machine}",
        f"perf version : kperf {kperf.__version__}",
        f"nrcpus online : {os.sysconf('SC_NPROCESSORS_ONLN')}",
        "clockid: monotonic (1)",
        "cmdline : ",
        "cpudesc : ",
    ):
        assert line in header
    times = data.columns()["time"]
    assert f"time of first sample : {times[0] / 1e9:.6f}"[:-2] in header


def test_build_ids(programs: Programs, target: Path) -> None:
    """Of the program, whose file perf reads by itself, and of what the kernel mapped for it."""
    data = sample([programs.busy, "spin", ROUNDS // 8], call_stack=True)
    export.write(data, target, "perf.data")
    listed = {
        path: build_id
        for build_id, path in (
            line.split(" ", 1) for line in perf("buildid-list", "-i", target).splitlines()
        )
    }
    notes = subprocess.check_output(["readelf", "-n", programs.busy], text=True)
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes)
    if build_id is None:
        pytest.skip("this compiler gives programs no build-id")
    assert listed[str(programs.busy)] == build_id[1]
    records = perf("script", "-i", target, "--show-mmap-events", "-F", "comm,pid")
    assert re.search(
        rf"PERF_RECORD_MMAP2 .*<{build_id[1]}>.*{re.escape(str(programs.busy))}", records
    )


def test_what_happened_to_processes(programs: Programs, target: Path) -> None:
    data = sample([programs.busy, "children", 2, ROUNDS // 8, "exec", programs.other, "1"])
    export.write(data, target, "perf.data")
    records = perf("script", "-i", target, "--show-task-events", "--show-mmap-events")
    assert len(re.findall(r"PERF_RECORD_FORK\(", records)) == 2
    assert len(re.findall(r"PERF_RECORD_EXIT\(", records)) == 3
    assert re.search(r"PERF_RECORD_COMM exec: busy:", records)
    assert re.search(r"PERF_RECORD_COMM exec: other:", records)
    assert re.search(rf"PERF_RECORD_MMAP2 .* {re.escape(str(programs.other))}", records)


def test_a_process_that_ran_already(programs: Programs, target: Path) -> None:
    """Its mappings come from a scan, without build-ids: the files tell those."""
    from sampling.python.programs import let_go, watched

    with watched(programs.busy, "threads", 1, ROUNDS // 2) as (process, sampling):
        sampling.enable()
        let_go(process)
        sampling.disable()
        data = sampling.read()
        judge(data, target, stacks=False)
    assert str(programs.busy) in perf("buildid-list", "-i", target)


@privileged
@pytest.mark.parametrize("call_stack", [True, False])
def test_fields_of_tracepoints(programs: Programs, target: Path, call_stack: bool) -> None:
    data = sample(
        [programs.busy, "write", 300],
        ["syscalls:sys_enter_write", "cpu-clock"],
        call_stack=call_stack,
        buffer_bytes=ROOM_FOR_ALL,
    )
    export.write(data, target, "perf.data")
    text = perf("script", "-i", target)
    found = re.findall(
        r"syscalls:sys_enter_write: .*fd: 0x([0-9a-f]+),.* count: 0x0*1$", text, re.M
    )
    assert len(found) == 300
    assert len(script(target)) == len(data)


def test_the_whole_system(programs: Programs, target: Path) -> None:
    cpus = kperf.Machine().online_cpus
    try:
        sampling = kperf.Sampling(
            "cpu-clock", cpus=cpus, call_stack=True, buffer_bytes=ROOM_FOR_ALL
        )
    except PermissionError:
        pytest.skip("whole CPUs are root's here")
    with sampling:
        sampling.enable()
        subprocess.run(
            [programs.busy, "spin", str(ROUNDS // 4)], stdin=subprocess.DEVNULL, check=True
        )
        sampling.disable()
        data = sampling.read()
    export.write(data, target, "perf.data")
    theirs = [seen[:-1] for seen in script(target)]
    ours = [seen[:-1] for seen in expected(data)]
    assert len(theirs) == len(ours) > 50
    # perf calls a CPU's idle task swapper, which has no name of its own here
    assert [seen[1:] for seen in theirs] == [seen[1:] for seen in ours]


def test_nothing_sampled_makes_a_file_without_samples(target: Path) -> None:
    with kperf.Sampling("cpu-clock", pids=[os.getpid()]) as sampling:
        data = sampling.read()
    export.write(data, target, "perf.data")
    assert "cpu-clock" in perf("report", "-i", target, "--header-only")


def test_to_a_pipe(programs: Programs, target: Path) -> None:
    data = sample([programs.busy, "spin", ROUNDS // 8])
    export.write(data, target, "perf.data")
    reader, writer = os.pipe()
    with subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.PIPE) as cat:
        os.close(reader)
        export.write(data, f"/dev/fd/{writer}", "perf.data")
        os.close(writer)
        assert cat.stdout is not None
        piped = cat.stdout.read()
    whole = target.read_bytes()
    assert len(piped) == len(whole)
    assert piped[:64] == whole[:64]


# ---- what this machine has not ----


class RareProfile(MadeProfile):
    """Samples with branches, of a thread of a strange name, some of which went lost."""

    branch_filter = 9
    has_call_stacks = True
    name = b"two\nlines \xff"

    @property
    def events(self) -> list[EventInfo]:
        from kperf.events.event import SOFTWARE, Event

        return [EventInfo("cpu-clock", -1, event=Event("cpu-clock", SOFTWARE, 1, period=1000))]

    @property
    def samples(self) -> Any:
        return None

    def lost(self, event: int) -> int:
        return 77

    def string_bytes(self, number: int) -> bytes:
        return self.name

    def task_events(self) -> Iterator[TaskEvent]:
        return iter([TaskEvent(0, TaskKind.COMM, 100, 100, 0, 0, 1)])

    def extras(self) -> Iterator[bytes]:
        branches = [(0x1000, 0x2000, 1 << 1), (0x3000, 0x4000, 1 << 0 | 7 << 4)]
        entries = b"".join(struct.pack("=QQQ", *branch) for branch in branches)
        return iter([entries, b"", entries])

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        for made, row in zip(self._made, super().rows(*(set(names) - {"ip"}))):
            known = dict(zip(set(names) - {"ip"}, row))
            known["ip"] = self.addresses[self.frames(self._stacks.index(made.stack))[0]]
            yield tuple(known[name] for name in names)


@pytest.fixture
def rare(target: Path) -> Path:
    samples = [Sample(("k:fault", "inner", "main"), time=time) for time in (1000, 2000, 3000)]
    target.write_bytes(written("perfdata", RareProfile(samples)))
    return target


def test_branches(rare: Path) -> None:
    lines = perf("script", "-i", rare, "-F", "time,brstack").splitlines()
    first = "0x1000/0x2000/P/-/-/0 0x3000/0x4000/M/-/-/7"
    # Newer versions show the branches' types behind them.
    found = [" ".join("/".join(part.split("/")[:6]) for part in line.split()[1:]) for line in lines]
    assert found == [first, "", first]


def test_kernel_frames_keep_their_place(rare: Path) -> None:
    dumped = perf("script", "-i", rare, "-D")
    chain = re.findall(r"\.{5} +\d+: ([0-9a-f]{16})", dumped)
    assert [int(word, 16) - (1 << 64) for word in (chain[0], chain[2])] == [-128, -512]
    assert [int(word, 16) for word in (chain[1], chain[3], chain[4])] == [0x1001, 0x1002, 0x1003]
    assert "PERF_RECORD_SAMPLE(IP, 0x1)" in dumped


def test_lost_samples_are_told(rare: Path) -> None:
    assert "lost 77" in perf("script", "-i", rare, "--show-lost-events")


def test_a_name_that_is_no_text(rare: Path) -> None:
    records = perf("script", "-i", rare, "--show-task-events")
    assert "two\nlines \udcff:100/100" in records
