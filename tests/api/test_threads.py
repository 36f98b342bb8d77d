"""Descriptors are usable from any thread, and from several at once."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from support import PATIENCE_S, Worker, perf_descriptors, privileged, run_python, together, total

import kperf
from kperf import Error, PmuAttr, PmuTaskType

WRITES = "syscalls:sys_enter_write"
ROUNDS = 2000


def open_own() -> int:
    attr = PmuAttr(evtList=["task-clock", "page-faults"], pidList=[os.getpid()])
    pd = kperf.open(PmuTaskType.COUNTING, attr)
    assert pd > 0, kperf.error()
    return pd


@privileged
def test_reads_of_several_threads_share_the_counts(worker: Worker) -> None:
    """Each count is given to one of them, and none is lost."""
    attr = PmuAttr(evtList=[WRITES], pidList=[worker.pid])
    pd = kperf.open(PmuTaskType.COUNTING, attr)
    assert pd > 0, kperf.error()
    kperf.enable(pd)
    done = threading.Event()
    counts: list[int] = []

    def read() -> None:
        while not done.is_set():
            counts.append(total(kperf.read(pd)))

    def work() -> None:
        try:
            for _ in range(20):
                worker.ask("write", 1000)
        finally:
            done.set()

    together(work, read, read, read)
    counts.append(total(kperf.read(pd)))
    assert sum(counts) == 20 * (1000 + Worker.ANSWER)
    kperf.close(pd)


def test_read_and_close_at_once() -> None:
    """A read gives the rows, or none and the reason."""

    def read(pd: int) -> None:
        for _ in range(3):
            data = kperf.read(pd)
            code = kperf.errorno()
            assert (len(data) > 0) == (code == 0)
            assert code in (0, Error.INVALID_DESCRIPTOR)
            assert all(row.pid == os.getpid() for row in data)

    for _ in range(ROUNDS // 10):
        descriptors = [open_own() for _ in range(10)]
        together(
            lambda pds=descriptors: [read(pd) for pd in pds],
            lambda pds=descriptors: [kperf.close(pd) for pd in pds],
        )
    assert perf_descriptors() == []


def test_every_use_at_once() -> None:
    uses = (kperf.enable, kperf.disable, kperf.enable, kperf.disable)

    def use(pd: int) -> None:
        for action in uses:
            assert action(pd) in (0, Error.INVALID_DESCRIPTOR)

    for _ in range(ROUNDS // 20):
        pd = open_own()
        together(
            lambda pd=pd: use(pd),
            lambda pd=pd: kperf.read(pd),
            lambda pd=pd: kperf.close(pd),
            lambda pd=pd: kperf.close(pd),
        )
        assert kperf.enable(pd) == Error.INVALID_DESCRIPTOR
    assert perf_descriptors() == []


def test_one_of_several_closing_threads_closes() -> None:
    codes: list[int] = []

    def close(pd: int) -> None:
        kperf.close(pd)
        codes.append(kperf.errorno())

    pd = open_own()
    together(*[lambda: close(pd)] * 8)
    assert codes.count(0) >= 1
    assert set(codes) <= {0, Error.INVALID_DESCRIPTOR}


def test_sixteen_threads_open_and_close() -> None:
    seen: list[int] = []

    def run() -> None:
        for _ in range(30):
            pd = open_own()
            assert kperf.enable(pd) == 0
            assert len(kperf.read(pd)) > 0
            kperf.close(pd)
            assert kperf.errorno() == 0
            seen.append(pd)

    together(*[run] * 16)
    assert len(set(seen)) == len(seen) == 16 * 30
    assert perf_descriptors() == []


@privileged
def test_threads_of_the_target_come_and_go_meanwhile(worker: Worker) -> None:
    attr = PmuAttr(evtList=[WRITES], pidList=[worker.pid])
    counts = []
    pd = kperf.open(PmuTaskType.COUNTING, attr)
    kperf.enable(pd)
    for number in (1, 5, 20):
        worker.ask("threads", number)
        worker.ask("all", 10)
        counts.append(total(kperf.read(pd)))
    threads = list(itertools.accumulate((1, 5, 20)))
    assert counts == [Worker.ANSWER + (1 + n) * 10 + Worker.ANSWER for n in threads]
    kperf.close(pd)


# ---- signals ----

INTERRUPTED = """
    import gc, os, signal, sys
    import kperf

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests run under

    def perf_descriptors():
        names = os.listdir("/proc/self/fd")
        return sum("[perf_event]" in os.readlink(f"/proc/self/fd/{n}") for n in names[:-1])

    events = ["task-clock", "page-faults"]
    keep = kperf.Counting(events, pids=[os.getppid()])
    keep.read()  # what is imported in it drops interrupts: importlib takes locks by callbacks
    if sys.argv[1] == "open":
        keep.close()
        keep = None
    try:
        os.write(1, b"ready\\n")
        while True:
            if keep:
                keep.enable(); keep.read(); keep.disable()
            else:
                kperf.Counting(events, pids=[os.getppid(), os.getpid()]).close()
    except KeyboardInterrupt:
        pass
    keep = None
    gc.collect()
    print("interrupted", perf_descriptors())
"""


@pytest.mark.parametrize("what", ["use", "open"])
def test_a_keyboard_interrupt_arrives_and_leaks_nothing(what: str) -> None:
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", textwrap.dedent(INTERRUPTED), what],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert (said, process.returncode) == ("interrupted 0\n", 0)


def test_an_interpreter_may_end_with_open_collections() -> None:
    run = run_python(
        """
        import os, threading, kperf
        attr = kperf.PmuAttr(evtList=["task-clock"], pidList=[os.getpid()])
        held = [kperf.open(kperf.PmuTaskType.COUNTING, attr) for _ in range(5)]
        counting = kperf.Counting("task-clock", pids=[os.getpid()])
        rows = list(counting.read())
        cycle = [counting]
        cycle.append(cycle)
        read = lambda: [counting.read() for _ in range(10_000)]
        threading.Thread(target=read, daemon=True).start()
        """
    )
    assert (run.stdout, run.stderr) == ("", "")
