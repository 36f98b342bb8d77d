"""includeNewFork: rows for threads and children that are born meanwhile, whose sum is exact.

The judge is a second collection of the same program, without rows for the newborn, and the number
of calls that the program is known to make.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import PATIENCE_S, as_nobody, descriptors, in_fork, online_cpus, privileged

import kperf

WRITE = "syscalls:sys_enter_write"
EVENTS = ("page-faults", WRITE, "context-switches")

# What tests/api/family.c writes: by itself and by each of its newborns.
GATED = (4 + 1, 10, 20, 33, 100, 200, 300)
RUSH = 4 * 100 + 36 * 1 + 10 + 33 + 7 + 13 + 40 + 50


@pytest.fixture(scope="session")
def family() -> Iterator[Path]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler built kperf, and is gone"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "family"
        program.parent.chmod(0o755)  # other users run it as well
        source = Path(__file__).with_name("family.c")
        subprocess.run([compiler, "-O1", "-pthread", "-o", program, source], check=True)
        yield program


@contextmanager
def running(family: Path, what: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program, waiting for its first byte."""
    with subprocess.Popen(
        [family, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def followed(pid: int, events: Iterable[str] = EVENTS, **options: Any) -> Iterator[Any]:
    """Two enabled collections of a process: with rows for newborns, and the judge without."""
    with (
        kperf.Counting(list(events), pids=[pid], include_new_fork=True, **options) as counting,
        kperf.Counting(list(events), pids=[pid], **options) as judge,
    ):
        judge.enable()
        counting.enable()
        yield counting, judge


def sums(rows: Iterable[Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found[row.evt] += row.count
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


def tell(process: subprocess.Popen[bytes], n: int) -> None:
    assert process.stdin is not None
    process.stdin.write(b"x" * n)


def await_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


@privileged
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_each_newborn_has_its_own_count(family: Path, grouped: bool) -> None:
    groups = [1] * len(EVENTS) if grouped else None
    with (
        running(family, "gated") as process,
        followed(process.pid, groups=groups) as (counting, judge),
    ):
        tell(process, 1)
        await_ready(process)
        rows = list(counting.read())
        while len({row.tid for row in rows}) < len(GATED):
            rows += counting.read()
        end(process)
        rows += counting.read()
        expected = sums(judge.read())
    assert sums(rows) == expected
    writes: Counter[int] = Counter()
    for row in rows:
        writes[row.tid] += row.count * (row.evt == WRITE)
    assert sorted(writes.values()) == sorted(GATED)
    assert writes[process.pid] == GATED[0]
    assert {row.pid for row in rows if row.tid in writes} > {process.pid}
    assert all(row.count >= 0 and row.rawCount == row.count for row in rows)
    assert {row.comm for row in rows} == {"family"}


@privileged
def test_rows_add_up_whatever_comes_and_goes(family: Path) -> None:
    for _ in range(3):
        with running(family, "rush") as process, followed(process.pid) as (counting, judge):
            rows = list(counting.read())
            assert process.stdin is not None
            process.stdin.close()
            while process.poll() is None:
                rows += counting.read()
            rows += counting.read()
            assert process.returncode == 0
            expected = sums(judge.read())
        assert sums(rows) == expected
        assert sums(rows)[WRITE] == RUSH
        assert all(row.count >= 0 for row in rows)


@privileged
def test_an_exec_changes_the_name_of_the_row(family: Path) -> None:
    script = f"read x; {family} write 5 & wait $!; exec {family} write 6"
    with (
        subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE) as process,
        followed(process.pid, [WRITE]) as (counting, judge),
    ):
        end(process)
        data = counting.read()
        (whole,) = judge.read()
    assert sum(row.count for row in data) == whole.count == 11
    assert {row.comm for row in data if row.tid == process.pid} <= {"sh", "family"}
    assert {row.comm for row in data if row.tid != process.pid} <= {"sh", "family"}


@privileged
def test_a_command_from_its_first_instruction(family: Path) -> None:
    script = f"{family} write 5; {family} write 6 & wait $!"
    with (
        kperf.Command(["/bin/sh", "-c", script]) as command,
        kperf.Counting(
            [WRITE], command=command, include_new_fork=True, enable_on_exec=True
        ) as counting,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        data = counting.read()
    assert sum(row.count for row in data) == 11


@privileged
def test_rows_by_thread_and_cpu(family: Path) -> None:
    cpus = online_cpus()
    with (
        running(family, "rush") as process,
        followed(process.pid, [WRITE], cpus=cpus) as (counting, judge),
    ):
        end(process)
        data, expected = counting.read(), judge.read()
    by_cpu: Counter[int] = Counter()
    for row in data:
        by_cpu[row.cpu] += row.count
    assert dict(by_cpu) == {row.cpu: row.count for row in expected}
    assert sum(by_cpu.values()) == RUSH


def test_nothing_is_counted_while_it_is_disabled(family: Path) -> None:
    with running(family, "gated") as process:
        counting = kperf.Counting("page-faults:u", pids=[process.pid], include_new_fork=True)
        with counting:
            counting.enable()
            counting.disable()
            first = sum(row.count for row in counting.read())
            tell(process, 1)
            await_ready(process)
            assert sum(row.count for row in counting.read()) == 0
            counting.enable()
            end(process)
            rows = list(counting.read())
    assert first == 0
    assert sum(row.count for row in rows) >= 3 * 10 + 2 * 20


def test_the_functional_api_has_the_same_rows(family: Path) -> None:
    with running(family, "rush") as process:
        attr = kperf.PmuAttr(evtList=["page-faults:u"], pidList=[process.pid], includeNewFork=True)
        pd = kperf.open(kperf.PmuTaskType.COUNTING, attr)
        assert pd > 0, kperf.error()
        assert kperf.enable(pd) == 0
        end(process)
        data = kperf.read(pd)
        kperf.close(pd)
    assert {row.evt for row in data} == {"page-faults:u"}
    assert data[0].tid == process.pid
    assert sum(row.count for row in data) > 40 * 10


def test_of_the_whole_system_it_changes_nothing() -> None:
    with kperf.Counting("dummy", cpus=online_cpus()[:1], include_new_fork=True) as counting:
        assert len(counting.read()) == 1


def test_it_means_nothing_without_inheritance() -> None:
    with pytest.raises(kperf.InvalidArgumentError, match="inherit"):
        kperf.Counting("dummy", pids=[os.getpid()], include_new_fork=True, inherit=False)


# ---- descriptors ----


def test_the_ended_leave_no_descriptors(family: Path) -> None:
    before = descriptors("perf_event")
    with running(family, "rush") as process:
        with kperf.Counting("page-faults:u", pids=[process.pid], include_new_fork=True) as counting:
            opened = len(descriptors("perf_event"))
            counting.enable()
            end(process)
            counting.read()
            left = len(descriptors("perf_event"))
        assert descriptors("perf_event") == before
    # Of a thread that executed another program under its leader's number no end is told.
    assert opened <= left <= opened + 3


def count_with_few(family: Path, spare: int) -> list[Any]:
    """In a process that may have few descriptors: the sums, the number of rows, the notes."""
    with running(family, "gated") as process:
        own = len(os.listdir("/proc/self/fd"))
        limit = own + 3 + len(online_cpus()) + 64 + spare  # both collections, their drain, spare
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        with followed(process.pid, ["page-faults:u"]) as (counting, judge):
            tell(process, 1)
            await_ready(process)
            end(process)
            data, expected = counting.read(), judge.read()
        return [
            sum(row.count for row in data),
            sum(row.count for row in expected),
            len(data),
            data.quality.notes,
        ]


def test_what_is_beyond_the_descriptors_stays_with_its_parent(family: Path) -> None:
    found, expected, rows, notes = as_nobody(lambda: count_with_few(family, spare=5))
    assert found == expected
    assert 1 <= rows < len(GATED)
    assert any("descriptors" in note for note in notes)


def test_without_descriptors_to_follow_anybody_it_is_told(family: Path) -> None:
    found, expected, rows, notes = as_nobody(lambda: count_with_few(family, spare=-64))
    assert (found, rows) == (expected, 1)
    assert any("limit" in note for note in notes)


def test_a_fork_of_the_host_leaves_the_parent_counting(family: Path) -> None:
    with (
        running(family, "gated") as process,
        followed(process.pid, ["page-faults:u"]) as (counting, judge),
    ):
        tell(process, 1)

        def in_the_child() -> list[object]:
            try:
                counting.read()
            except kperf.KperfError as failure:
                return [str(failure), descriptors("perf_event")]
            return []

        for _ in range(5):
            message, left = in_fork(in_the_child)
            assert "fork" in message
            assert left == []
        await_ready(process)
        end(process)
        assert sums(counting.read()) == sums(judge.read())
