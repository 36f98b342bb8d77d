"""A fork of the host program leaves the parent's collections working and the child without them."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import Worker, in_fork, perf_descriptors, privileged, run_python, total

import kperf
from kperf import Error, PmuAttr, PmuTaskType

WRITES = "syscalls:sys_enter_write"
FORKS = 30


def open_for(pid: int, *events: str) -> int:
    attr = PmuAttr(evtList=list(events), pidList=[pid])
    pd = kperf.open(PmuTaskType.COUNTING, attr)
    assert pd > 0, kperf.error()
    return pd


def use_everything(pd: int) -> list[int]:
    codes = [kperf.enable(pd), kperf.disable(pd)]
    assert len(kperf.read(pd)) == 0
    codes.append(kperf.errorno())
    kperf.close(pd)
    codes.append(kperf.errorno())
    return codes


@privileged
def test_the_parent_counts_on_whatever_the_child_does(worker: Worker) -> None:
    pd = open_for(worker.pid, WRITES, "task-clock")
    kperf.enable(pd)
    worker.ask("write", 10)
    assert in_fork(lambda: use_everything(pd)) == [Error.FORKED] * 4
    assert perf_descriptors() != []
    worker.ask("write", 10)
    writes = [row.count for row in kperf.read(pd) if row.evt == WRITES]
    assert sum(writes) == 2 * (10 + Worker.ANSWER)
    kperf.close(pd)


def test_the_child_is_told_why(worker: Worker) -> None:
    pd = open_for(worker.pid, "task-clock")
    kperf.enable(-1)  # the parent's error, which the child inherits until its first call

    def fail() -> str:
        kperf.enable(pd)
        return kperf.error()

    assert "forked child" in in_fork(fail)
    kperf.close(pd)


def test_the_child_holds_none_of_the_descriptors(worker: Worker) -> None:
    descriptors = [open_for(worker.pid, "task-clock", "page-faults") for _ in range(3)]
    assert len(perf_descriptors()) == 6
    assert in_fork(perf_descriptors) == []
    assert len(perf_descriptors()) == 6
    assert in_fork(lambda: in_fork(perf_descriptors)) == []
    for pd in descriptors:
        kperf.close(pd)


def test_the_child_opens_its_own(worker: Worker) -> None:
    pd = open_for(worker.pid, "task-clock")

    def count() -> list[object]:
        own = open_for(os.getpid(), "task-clock", "page-faults")
        codes = [kperf.enable(own), kperf.disable(own)]
        rows = [[row.evt, row.pid] for row in kperf.read(own)]
        held = len(perf_descriptors())
        kperf.close(own)
        return [codes, rows, held, len(perf_descriptors()), own != pd, os.getpid()]

    codes, rows, held, left, is_new, child = in_fork(count)
    assert (codes, held, left, is_new) == ([0, 0], 2, 0, True)
    assert rows == [["task-clock", child], ["page-faults", child]]
    kperf.close(pd)


def test_data_already_read_stays_valid_in_the_child(worker: Worker) -> None:
    pd = open_for(worker.pid, "task-clock", "page-faults")
    kperf.enable(pd)
    worker.ask("touch", 10)
    data = kperf.read(pd)
    rows = [[row.evt, row.count, row.tid, row.comm] for row in data]

    def look() -> object:
        seen = [[row.evt, row.count, row.tid, row.comm] for row in data]
        data.free()
        return seen

    assert in_fork(look) == rows
    assert [[row.evt, row.count, row.tid, row.comm] for row in data] == rows
    kperf.close(pd)


@privileged
def test_a_child_leaves_the_object_apis_block_in_peace(worker: Worker) -> None:
    with kperf.Counting(WRITES, pids=[worker.pid]) as counting:
        counting.enable()

        def leave() -> list[object]:
            code = 0
            try:
                counting.read()
            except kperf.KperfError as failure:
                code = failure.code
            counting.__exit__(None, None, None)
            gc.collect()
            return [code, perf_descriptors()]

        assert in_fork(leave) == [Error.FORKED, []]
        worker.ask("write", 10)
        assert total(counting.read()) == 10 + Worker.ANSWER


def test_a_child_may_end_like_any_program() -> None:
    """With finalizers, and without a word on stderr."""
    run = run_python(
        """
        import os, sys, kperf
        held = kperf.Counting("task-clock", pids=[os.getpid()])
        pd = kperf.open(0, kperf.PmuAttr(evtList=["task-clock"], pidList=[os.getpid()]))
        if os.fork() == 0:
            sys.exit(0)
        _, status = os.wait()
        assert status == 0, status
        assert kperf.enable(pd) == 0
        assert len(held.read()) == 1
        print("ok")
        """
    )
    assert (run.stdout, run.stderr) == ("ok\n", "")


# ---- forks in the middle of what other threads do ----


@contextmanager
def busy(*actions: object) -> Iterator[list[int]]:
    """Threads that repeat an action until the block ends; how often each did, then."""
    stop = threading.Event()
    times = [0] * len(actions)

    def repeat(index: int, action: object) -> None:
        while not stop.is_set():
            action()
            times[index] += 1

    threads = [
        threading.Thread(target=repeat, args=(index, action))
        for index, action in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    try:
        yield times
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# Newer interpreters warn that such a child may deadlock; that ours does not is what is tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forks_in_the_middle_of_everything(worker: Worker) -> None:
    shared = open_for(worker.pid, "task-clock", "page-faults")

    def open_and_close() -> None:
        kperf.close(open_for(worker.pid, "task-clock", "page-faults", "context-switches"))

    def use_shared() -> None:
        assert kperf.enable(shared) == 0
        assert len(kperf.read(shared)) == 2

    def look() -> list[object]:
        inherited = perf_descriptors()
        codes = use_everything(shared)
        own = open_for(os.getpid(), "task-clock")
        count = len(kperf.read(own))
        kperf.close(own)
        return [inherited, codes, count, perf_descriptors()]

    with busy(open_and_close, open_and_close, use_shared, use_shared) as times:
        for _ in range(FORKS):
            assert in_fork(look) == [[], [Error.FORKED] * 4, 1, []]
    assert all(number > 0 for number in times)
    kperf.close(shared)


def test_a_pool_of_forked_processes(worker: Worker) -> None:
    import multiprocessing

    pd = open_for(worker.pid, "task-clock")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map(_enable_and_count, [pd] * 8)
    assert answers == [[Error.FORKED, 0]] * 8
    assert kperf.enable(pd) == 0
    kperf.close(pd)


def _enable_and_count(pd: int) -> list[int]:
    return [kperf.enable(pd), len(perf_descriptors())]
