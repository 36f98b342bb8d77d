"""The host program's file descriptors and memory: what kperf takes, and what it gives back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from support import (
    PATIENCE_S,
    ask_python,
    in_fork,
    online_cpus,
    perf_descriptors,
    privileged,
    rooted,
)

import kperf
from kperf import Error, PmuTaskType

USAGE = """
    import json, os, resource, kperf

    def usage():
        with open("/proc/self/statm") as statm:
            return len(os.listdir("/proc/self/fd")), int(statm.read().split()[1])
"""


def test_ten_thousand_collections_leave_nothing() -> None:
    """Neither descriptors nor memory, whatever became of the data."""
    before, after = ask_python(
        USAGE
        + """
    attr = kperf.PmuAttr(evtList=["task-clock", "{page-faults,context-switches}:u"],
                         pidList=[os.getpid()])

    def run(times):
        for number in range(times):
            pd = kperf.open(kperf.PmuTaskType.COUNTING, attr)
            assert pd > 0, kperf.error()
            assert kperf.enable(pd) == 0
            data = kperf.read(pd)
            assert len(data) == 3
            if number % 2:
                data.free()
            kperf.close(pd)
            assert kperf.open(7, attr) == -1
        return usage()

    run(2000)
    before = run(1)
    print(json.dumps([before, run(8000)]))
    """
    )
    assert after[0] == before[0]
    assert after[1] - before[1] < 256  # pages: 130 bytes a collection would show


@privileged
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
@pytest.mark.parametrize("mounted", [True, False])
def test_tracepoints_leave_no_descriptors(mounted: bool) -> None:
    """With tracefs mounted, and without, in a mount namespace of its own."""
    tracing = "/sys/kernel/tracing"
    mount = f"mount -t tracefs none {tracing}" if mounted else f"! mountpoint -q {tracing}"
    script = f'umount -q {tracing}; umount -q {tracing}; {mount} && exec "$@"'
    alone = ["unshare", "--mount", "sh", "-c", script, "sh"]
    source = (
        USAGE
        + """
    attr = kperf.PmuAttr(evtList=["syscalls:sys_enter_write"], pidList=[os.getpid()])
    held = kperf.open(kperf.PmuTaskType.COUNTING, attr)
    assert held > 0, kperf.error()
    before = usage()[0]
    for _ in range(50):
        kperf.close(kperf.open(kperf.PmuTaskType.COUNTING, attr))
        list(kperf.event_list(kperf.PmuEventType.TRACE_EVENT))
        assert kperf.errorno() == 0
    print(usage()[0] - before)
    """
    )
    run = subprocess.run(
        [*alone, sys.executable, "-I", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("0\n", "", 0)


# ---- the limit ----

MANY = """
    import json, os, resource, sys, threading, kperf
    soft, hard, threads = map(int, sys.argv[1:4])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if len(sys.argv) > 4:
        os.setgroups([])
        os.setuid(int(sys.argv[4]))
    stop = threading.Event()
    for _ in range(threads - 1):
        threading.Thread(target=stop.wait, daemon=True).start()
    events = ["task-clock:u", "page-faults:u", "context-switches:u", "cpu-migrations:u"]
    attr = kperf.PmuAttr(evtList=events, pidList=[os.getpid()])
    pd = kperf.open(kperf.PmuTaskType.COUNTING, attr)
    names = os.listdir("/proc/self/fd") if pd > 0 else []
    links = {}
    for name in names:
        try:
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass
    ours = sorted(fd for fd, link in links.items() if "[perf_event]" in link)
    rows = len(kperf.read(pd))
    lowest = os.open("/dev/null", os.O_RDONLY)
    kperf.close(pd)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    print(json.dumps([pd, ours, rows, lowest, limit, kperf.errorno()]))
"""
EVENTS_OF_MANY = 4
CAP_SYS_RESOURCE = 24
NOBODY = 65534


def may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(effective >> CAP_SYS_RESOURCE & 1)


def test_a_limit_of_64_is_enough_for_a_few() -> None:
    pd, ours, rows, _, limit, _ = ask_python(MANY, 64, 64, 5)
    assert pd > 0
    assert len(ours) == rows == 5 * EVENTS_OF_MANY
    assert limit == [64, 64]  # what is enough is left alone


def test_a_soft_limit_is_raised() -> None:
    pd, ours, rows, _, limit, _ = ask_python(MANY, 64, 4096, 100)
    assert pd > 0
    assert len(ours) == rows == 100 * EVENTS_OF_MANY
    assert limit[0] > 100 * EVENTS_OF_MANY


@pytest.mark.skipif(not may_raise_limits(), reason="only CAP_SYS_RESOURCE raises a hard limit")
def test_a_hard_limit_is_raised() -> None:
    pd, ours, rows, _, _, _ = ask_python(MANY, 64, 64, 100)
    assert pd > 0
    assert len(ours) == rows == 100 * EVENTS_OF_MANY


def _open_against_a_hard_limit(task_type: PmuTaskType) -> list[object]:
    """In a forked child that may not raise it, nor watch everybody."""
    import os
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.setuid(NOBODY)
    attr = kperf.PmuAttr(evtList=["task-clock:u"] * 100, pidList=[os.getpid()])
    pd = kperf.open(task_type, attr)
    return [pd, kperf.errorno(), kperf.error(), perf_descriptors()]


@rooted
@pytest.mark.parametrize("task_type", [PmuTaskType.COUNTING, PmuTaskType.SAMPLING])
def test_a_hard_limit_is_told_with_both_numbers(task_type: PmuTaskType) -> None:
    pd, code, said, left = in_fork(partial(_open_against_a_hard_limit, task_type))
    assert (pd, code, left) == (-1, Error.TOO_MANY_FILES, [])
    assert "the limit is 64" in said
    assert "ulimit -n" in said


@privileged
@pytest.mark.parametrize("event", ["cpu-clock", "syscalls:sys_enter_write"])
def test_without_a_descriptor_to_look_with_nothing_is_guessed(event: str) -> None:
    """Neither that an event is unknown, nor that the machine has one CPU."""
    full, roomy = ask_python(
        """
        import json, os, resource, sys, kperf
        attr = kperf.PmuAttr(evtList=[sys.argv[1]])
        kperf.close(kperf.open(kperf.PmuTaskType.COUNTING, attr))  # everything is imported
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass

        def attempt():
            pd = kperf.open(kperf.PmuTaskType.COUNTING, attr)
            return [kperf.errorno(), len(kperf.read(pd)) if pd > 0 else 0]

        full = attempt()
        for fd in held[:3]:
            os.close(fd)
        print(json.dumps([full, attempt()]))
        """,
        event,
    )
    assert full == [Error.TOO_MANY_FILES, 0]
    assert roomy == [0, len(online_cpus())]


def test_low_descriptors_stay_free_for_select() -> None:
    """Beyond 256 they are moved to 1024 and above."""
    pd, ours, rows, lowest, _, _ = ask_python(MANY, 4096, 4096, 100)
    assert pd > 0
    assert len(ours) == rows == 100 * EVENTS_OF_MANY
    assert sum(fd < 1024 for fd in ours) <= 256 + 1
    assert lowest < 512


def test_counters_are_closed_on_exec() -> None:
    import fcntl
    import os

    with kperf.Counting("task-clock", pids=[os.getpid()]):
        flags = [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in perf_descriptors()]
        assert flags != []
        assert all(flag & fcntl.FD_CLOEXEC for flag in flags)
