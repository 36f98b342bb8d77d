"""Counts against what a program is known to have done, and against perf on the same run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import PATIENCE_S, Worker, online_cpus, privileged, total

import kperf
from kperf import PmuAttr, PmuTaskType

WRITES = "syscalls:sys_enter_write"
SMALL, LARGE = 10, 1000


@contextmanager
def counting(**fields: object) -> Iterator[int]:
    """An enabled collection, closed at the end of the block."""
    pd = kperf.open(PmuTaskType.COUNTING, PmuAttr(evtList=[WRITES], **fields))
    assert pd > 0, kperf.error()
    assert kperf.enable(pd) == 0
    yield pd
    kperf.close(pd)


def by_thread(pd: int) -> dict[int, int]:
    return {row.tid: row.count for row in kperf.read(pd)}


# ---- what the program did ----


@privileged
def test_a_thread_alone(worker: Worker) -> None:
    with counting(pidList=[worker.pid]) as pd:
        for times in (0, 1, SMALL, LARGE):
            worker.ask("write", times)
            assert by_thread(pd) == {worker.pid: times + Worker.ANSWER}


@privileged
def test_threads_from_before_have_rows_that_sum_up(worker: Worker) -> None:
    tids = worker.ask("threads", 5)
    with counting(pidList=[worker.pid]) as pd:
        worker.ask("all", LARGE)
        counts = by_thread(pd)
    assert counts == {worker.pid: LARGE + Worker.ANSWER, **dict.fromkeys(tids, LARGE)}
    assert sum(counts.values()) == 6 * LARGE + Worker.ANSWER


@privileged
def test_threads_made_later_count_for_their_maker(worker: Worker) -> None:
    before = worker.ask("threads", 2)
    with counting(pidList=[worker.pid]) as pd:
        worker.ask("threads", 3)
        assert by_thread(pd) == {worker.pid: Worker.ANSWER, **dict.fromkeys(before, 0)}
        worker.ask("all", LARGE)
        assert by_thread(pd) == {
            worker.pid: (1 + 3) * LARGE + Worker.ANSWER,
            **dict.fromkeys(before, LARGE),
        }


@privileged
def test_children_count_for_their_parent(worker: Worker) -> None:
    with counting(pidList=[worker.pid]) as pd:
        for times in (SMALL, LARGE):
            worker.ask("fork", times)
            assert by_thread(pd) == {worker.pid: times + Worker.ANSWER}


@privileged
def test_without_inheritance_only_what_was_there_counts(worker: Worker) -> None:
    with kperf.Counting(WRITES, pids=[worker.pid], inherit=False) as alone:
        alone.enable()
        worker.ask("threads", 2)
        worker.ask("all", LARGE)
        worker.ask("fork", LARGE)
        assert total(alone.read()) == LARGE + 3 * Worker.ANSWER


@privileged
def test_the_cpus_of_a_process_sum_up(worker: Worker) -> None:
    tids = worker.ask("threads", 3)
    with counting(pidList=[worker.pid], cpuList=online_cpus()) as pd:
        worker.ask("all", LARGE)
        rows = list(kperf.read(pd))
    for tid in tids:
        assert sum(row.count for row in rows if row.tid == tid) == LARGE
    assert total(rows) == 4 * LARGE + Worker.ANSWER


@privileged
def test_a_thread_that_changes_its_cpu_is_counted_where_it_was(worker: Worker) -> None:
    """Its time elsewhere is no time without a counter, which a count would be scaled for."""
    with counting(pidList=[worker.pid], cpuList=online_cpus()) as pd:
        cpus = worker.ask("hop", LARGE)
        rows = {row.cpu: row for row in kperf.read(pd)}
    assert set(rows) == set(online_cpus())
    assert all(rows[cpu].count >= LARGE for cpu in cpus)
    assert {rows[cpu].countPercent for cpu in cpus} == {1.0}
    assert total(rows.values()) == len(cpus) * LARGE + Worker.ANSWER


@privileged
def test_the_whole_system_counts_at_least_the_process(worker: Worker) -> None:
    with counting() as pd:
        worker.ask("write", LARGE)
        assert total(kperf.read(pd)) >= LARGE + Worker.ANSWER


@privileged
def test_processes_do_not_mix(worker: Worker) -> None:
    other = Worker()
    try:
        with counting(pidList=[worker.pid, other.pid]) as pd:
            worker.ask("write", SMALL)
            other.ask("write", LARGE)
            assert by_thread(pd) == {
                worker.pid: SMALL + Worker.ANSWER,
                other.pid: LARGE + Worker.ANSWER,
            }
    finally:
        other.end()


@privileged
def test_a_target_that_ended_keeps_its_counts() -> None:
    brief = Worker()
    with counting(pidList=[brief.pid]) as pd:
        brief.ask("write", LARGE)
        brief.end()
        assert by_thread(pd) == {brief.pid: LARGE + Worker.ANSWER}
        assert by_thread(pd) == {brief.pid: 0}


@privileged
@pytest.mark.parametrize("number", [2, 20, 200])
def test_none_is_missed_or_doubled_in_a_storm_of_threads(worker: Worker, number: int) -> None:
    """The target makes threads as fast as it can while it is attached."""
    worker.begin("storm", number)
    with counting(pidList=[worker.pid]) as pd:
        made = worker.answer()
        kperf.read(pd)
        assert worker.ask("all", SMALL) == made + 1
        data = kperf.read(pd)
        assert data.quality.notes == []
        assert total(data) == (made + 1) * SMALL + Worker.ANSWER


# ---- what perf says ----


class PerfStat:
    """`perf stat -p PID`, switched on and off from here; it counts what it has attached to."""

    def __init__(self, event: str, pid: int) -> None:
        orders, self._orders = os.pipe()
        self._done, done = os.pipe()
        self._process = subprocess.Popen(
            [
                *("perf", "stat", "-x,", "-e", event, "-p", str(pid)),
                *("-D", "-1", f"--control=fd:{orders},{done}"),  # off until it is told
            ],
            stderr=subprocess.PIPE,
            pass_fds=[orders, done],
            text=True,
        )
        os.close(orders)
        os.close(done)

    def tell(self, order: str) -> None:
        """Returns when it was done."""
        os.write(self._orders, f"{order}\n".encode())
        assert os.read(self._done, 16).startswith(b"ack")

    def count(self) -> int:
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=PATIENCE_S)
        os.close(self._orders)
        os.close(self._done)
        return int(said.strip().splitlines()[-1].partition(",")[0])


@privileged
def settle(pid: int) -> None:
    """Waits until a process faults no more: what its new threads still do falls into one window."""
    previous = -1
    while True:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        faults = int(fields[7]) + int(fields[9])
        if faults == previous:
            return
        previous = faults
        time.sleep(0.2)


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is the judge, and not installed")
@pytest.mark.parametrize("event", ["page-faults", "page-faults:u", "minor-faults"])
def test_perf_counts_the_same(worker: Worker, event: str) -> None:
    worker.ask("threads", 3)
    settle(worker.pid)
    perf = PerfStat(event, worker.pid)
    with kperf.Counting(event, pids=[worker.pid]) as ours:
        perf.tell("enable")
        ours.enable()
        worker.ask("touch", LARGE)
        worker.ask("fill", LARGE)
        worker.ask("fork", SMALL)
        settle(worker.pid)
        ours.disable()
        perf.tell("disable")
        assert total(ours.read()) == perf.count()
