"""System calls on this architecture: names, counts, times, who made them, and a tracer's death.

`known` and `callers` are programs of tests/trace, built for the guest by run-tests.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import guest
import pytest

import kperf

PROGRAMS = Path(__file__).parent
SHELL = (
    "sh",
    "-c",
    "for i in 1 2 3; do /bin/busybox true; echo $i >/dev/null; done; ls / >/dev/null",
)
ENGINES = ("BPF", "tracepoints")

# At their return the caller is gone or another, or the number is none any more.
WITHOUT_A_RETURN = ("execve", "exit", "exit_group", "rt_sigreturn")


def traced(mechanism: str, funcs: list[str], *argv: str) -> kperf.CallSummary:
    with (
        kperf.Command(argv) as command,
        kperf.SyscallTrace(
            funcs, command=command, enable_on_exec=True, keep_calls=False, mechanism=mechanism
        ) as trace,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        trace.disable()
        summary = trace.summary()
    assert summary.quality.lost == 0
    return summary


@pytest.mark.parametrize("mechanism", ENGINES)
def test_counts_are_the_programs(mechanism: str) -> None:
    """Two children with three threads each: 100 getppid, 200 writes and 50 bad reads a thread."""
    summary = traced(mechanism, ["getppid", "write", "read"], str(PROGRAMS / "known"), "2", "3")
    found = {row.syscall: (row.count, row.errors) for row in summary.rows}
    assert found["getppid"] == (600, 0)
    assert found["write"] == (1200, 0)
    assert found["read"][1] == 300


@pytest.mark.parametrize("mechanism", ENGINES)
def test_names_are_the_kernels(mechanism: str) -> None:
    """The kernel's own tracepoint of each call, whose name it gives, counts as often."""
    found = {row.syscall: row.count for row in traced(mechanism, [], *SHELL).rows}
    named = [name for name in found if name not in WITHOUT_A_RETURN]
    assert len(named) > 15
    events = [f"syscalls:sys_exit_{_tracepoint(name)}" for name in named]
    counts: dict[str, int] = {}
    with (
        kperf.Command(SHELL) as command,
        kperf.Counting(events, pids=[command.pid], enable_on_exec=True) as counting,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        for row in counting.read():
            counts[row.evt] = counts.get(row.evt, 0) + int(row.count)
    assert {name: counts[event] for name, event in zip(named, events)} == {
        name: found[name] for name in named
    }


def _tracepoint(name: str) -> str:
    """What the kernel calls the tracepoints of those that its source names otherwise."""
    others = {"fstat": "newfstat", "newfstatat": "newfstatat", "uname": "newuname"}
    return others.get(name, name)


def test_times_are_those_slept() -> None:
    slept_ms = (5, 20, 50)
    with kperf.SyscallTrace(["nanosleep", "clock_nanosleep"], pids=[os.getpid()]) as trace:
        trace.enable()
        for ms in slept_ms:
            time.sleep(ms / 1000)
        trace.disable()
        calls = list(trace.read())
    assert len(calls) == len(slept_ms)
    for call, ms in zip(calls, slept_ms):
        assert ms <= call.elapsedTime < ms * 1.01 + 2
        assert (call.ret, call.pid, call.tid) == (0, os.getpid(), os.getpid())


def test_who_made_a_call() -> None:
    done = guest.kperf_command(
        *("trace", "getppid,nanosleep,clock_nanosleep", "--top-slow", "100", "-g", "--json"),
        *("--", str(PROGRAMS / "callers"), "20"),
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    assert len(rows) == 40
    for row in rows:
        called_by = {caller["symbol"] for caller in row["stack"]}
        assert ("asks" in called_by) == (row["syscall"] == "getppid")
        assert ("sleeps" in called_by) == (row["syscall"] != "getppid")


@pytest.mark.parametrize("mechanism", ENGINES)
def test_a_killed_tracer_leaves_nothing_behind(mechanism: str) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        trace = kperf.SyscallTrace(["write"], cpus=[0], keep_calls=False, mechanism=mechanism)
        trace.enable()
        os.write(told, b"x")
        time.sleep(1000)
    assert os.read(ready, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(told)
    tracing = Path("/sys/kernel/tracing/events/raw_syscalls")
    for event in ("sys_enter", "sys_exit"):
        assert (tracing / event / "enable").read_text().strip() == "0"
        assert (tracing / event / "filter").read_text().strip() == "none"
    assert guest.count(["raw_syscalls:sys_enter"], 0.05)[0].state == "counted"


def test_an_unknown_call_is_refused_with_the_nearest() -> None:
    done = guest.kperf_command("trace", "opnat,write", "-a", "-d", "0.1")
    assert done.returncode == 1
    assert "openat" in done.stderr
