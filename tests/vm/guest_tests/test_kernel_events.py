"""Software events, tracepoints and system calls on this architecture."""

from __future__ import annotations

import mmap
import os
import time

import guest
import pytest
from guest import count_here

PAGES = 500


def test_task_clock_is_the_process_s_time() -> None:
    inner = 0

    def work() -> None:
        nonlocal inner
        begin = time.process_time_ns()
        guest.spin()
        inner = time.process_time_ns() - begin

    begin = time.process_time_ns()
    (row,) = count_here(["task-clock"], work)
    outer = time.process_time_ns() - begin
    assert inner <= row.count <= outer


def test_page_faults_are_the_pages_touched() -> None:
    def touch() -> None:
        with mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            for page in range(PAGES):
                memory[page * mmap.PAGESIZE] = 1

    whole, minor = count_here(["{page-faults,minor-faults}"], touch)
    assert whole.count == minor.count
    assert PAGES <= whole.count < PAGES + 50


def test_context_switches_are_the_sleeps() -> None:
    def sleep() -> None:
        for _ in range(20):
            time.sleep(0.001)

    switches, traced = count_here(["{context-switches,sched:sched_switch}"], sleep)
    assert 20 <= switches.count < 200
    assert traced.count == switches.count


@pytest.mark.parametrize("name", ["getppid", "write", "getrandom", "pipe2"])
def test_system_calls_are_counted_one_by_one(name: str) -> None:
    """By this architecture's own numbers, which differ from others'."""

    def call() -> None:
        for _ in range(10):
            os.getppid()
        for _ in range(20):
            os.write(null, b"x")
        for _ in range(30):
            os.getrandom(1)
        for _ in range(40):
            read, write = os.pipe()
            os.close(read)
            os.close(write)

    null = os.open("/dev/null", os.O_WRONLY)
    enter, leave = count_here([f"syscalls:sys_enter_{name}", f"syscalls:sys_exit_{name}"], call)
    os.close(null)
    assert enter.count == {"getppid": 10, "write": 20, "getrandom": 30, "pipe2": 40}[name]
    assert leave.count == enter.count


def test_system_calls_of_a_command_are_perf_s() -> None:
    """A program that always does the same, from its first instruction to its last."""
    events = "raw_syscalls:sys_enter,syscalls:sys_enter_write,sched:sched_process_fork"
    command = ("--", "sh", "-c", "for i in 1 2 3; do /bin/busybox true; echo $i >/dev/null; done")
    judges = guest.perf_stat("-e", events, *command)
    rows = guest.stat("-e", events, *command)["rows"]
    assert [row["count"] for row in rows] == [judge.count for judge in judges]
    assert [row["count"] for row in rows[1:]] == [3, 3]


def test_children_and_threads_of_a_command_are_counted() -> None:
    document = guest.stat(
        *("-e", "syscalls:sys_enter_getppid,sched:sched_process_fork", "--", "python3", "-S", "-c"),
        "import os, threading\n"
        "def call():\n"
        "    for _ in range(100): os.getppid()\n"
        "threads = [threading.Thread(target=call) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "if os.fork() == 0: call(); os._exit(0)\n"
        "os.wait()\n",
    )
    assert [row["count"] for row in document["rows"]] == [400, 4]


def test_breakpoint_counts_accesses() -> None:
    import ctypes

    value = ctypes.c_uint64(0)

    def store() -> None:
        for number in range(25):
            value.value = number

    (row,) = count_here([f"mem:{ctypes.addressof(value):#x}/8:w"], store)
    assert (row.state, row.count) == ("counted", 25)
