"""Sentences for refusals that no test can bring about here: other kernels, other hardware.

Each names the thing, the cause and what to do.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from unit.trees import Tree

from kperf._native import Failure
from kperf.errors import Error, NotPermittedError, NotSupportedError
from kperf.events.event import BREAKPOINT, CORE, DEVICE, SOFTWARE, TRACEPOINT, Event
from kperf.explain import Attempt, explain, kernel_hidden, unsupported
from kperf.machine import Machine

CYCLES = Event("cycles", CORE, 0)
SWITCHES = Event("context-switches", SOFTWARE, 1, kernel_only=True)
SWITCH = Event("sched:sched_switch", TRACEPOINT, 2, kernel_only=True)
WATCH = Event("mem:0x1000:w", BREAKPOINT, 5)
CHANNEL = Event("hisi_sccl1_ddrc0/flux_rd/", DEVICE, 20)
PRECISE = Event("cycles:p", CORE, 0, precise=1)
EVENTS = [CYCLES, SWITCHES, SWITCH, WATCH, CHANNEL, PRECISE]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.write("proc/sys/kernel/perf_event_paranoid", 2)
    return tree


def sentence(
    machine: Machine,
    code: Error,
    number: int,
    event: Event = CYCLES,
    *,
    tid: int = 0,
    cpu: int = -1,
    tasks: bool = True,
    needed: int = 0,
    limit: int = 0,
) -> str:
    place = EVENTS.index(event)
    failure = Failure(code, number, place, cpu, tid or os.getpid(), needed, limit, "message")
    found = explain(failure, Attempt(EVENTS, machine, tasks))
    assert (found.code, found.errno) == (code, number)
    return str(found)


def test_a_kernel_that_refuses_everything_to_users(tree: Tree) -> None:
    """Debian's and Ubuntu's patch: 3 and 4."""
    tree.write("proc/sys/kernel/perf_event_paranoid", 4)
    text = sentence(tree.machine(), Error.NO_PERMISSION, errno.EACCES)
    assert "this kernel closes perf events to users (kernel.perf_event_paranoid is 4)" in text
    assert "sysctl kernel.perf_event_paranoid=2" in text


@pytest.mark.parametrize(
    ("event", "tasks", "cause", "fix"),
    [
        (CYCLES, True, "it counts what happens in the kernel", "count user space alone (':u')"),
        (SWITCHES, True, "it counts what happens in the kernel", "perf_event_paranoid=1"),
        (CYCLES, False, "counting whole CPUs shows everybody's programs", "perf_event_paranoid=0"),
        (SWITCH, True, "tracepoints show the kernel", "perf_event_paranoid=-1"),
        (CHANNEL, False, "device counters show everybody's traffic", "CAP_PERFMON"),
    ],
)
def test_a_permission_that_lacks(
    tree: Tree, event: Event, tasks: bool, cause: str, fix: str
) -> None:
    text = sentence(tree.machine(), Error.NO_PERMISSION, errno.EACCES, event, tasks=tasks)
    assert text.startswith(f"no permission to count {event.name} on thread {os.getpid()}: {cause}")
    assert fix in text


def test_no_way_out_that_counts_nothing_is_offered(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.NO_PERMISSION, errno.EACCES, SWITCHES)
    assert ":u" not in text


def test_somebody_elses_process(tree: Tree) -> None:
    """Process 1 is root's; for root itself it is its own."""
    tid = 1 if os.geteuid() else 1 << 30
    text = sentence(tree.machine(), Error.NO_PERMISSION, errno.EACCES, tid=tid)
    assert "it belongs to somebody else" in text


def test_a_counter_that_somebody_else_holds(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.DEVICE_BUSY, errno.EBUSY, CYCLES, cpu=3)
    assert "cycles is in use" in text
    assert "CPU 3" in text
    assert "end the other profiler" in text


def test_no_breakpoint_is_left(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.DEVICE_BUSY, errno.ENOSPC, WATCH)
    assert "no free hardware breakpoint for mem:0x1000:w" in text


def test_a_group_with_too_many_events(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.INVALID_GROUP, errno.EINVAL)
    assert "cycles does not fit into its group" in text
    assert "take it out of the group" in text


def test_a_group_that_a_child_spoiled(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.INVALID_GROUP, errno.ECHILD)
    assert "cannot be read" in text
    assert "count again" in text


def test_an_event_that_the_kernel_refuses(tree: Tree) -> None:
    assert "check its encoding" in sentence(tree.machine(), Error.INVALID_EVENT, errno.EINVAL)
    precise = sentence(tree.machine(), Error.INVALID_EVENT, errno.EINVAL, PRECISE)
    assert "leave the modifier ':p' out" in precise
    watch = sentence(tree.machine(), Error.INVALID_EVENT, errno.EINVAL, WATCH)
    assert "the length must be 1, 2, 4 or 8" in watch


def test_a_kernel_without_perf_events(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.NOT_SUPPORTED_BY_KERNEL, errno.ENOSYS)
    assert "this kernel has no perf events" in text
    text = sentence(tree.machine(), Error.NOT_SUPPORTED_BY_KERNEL, errno.E2BIG)
    assert "is too old for it" in text


def test_no_more_descriptors(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.TOO_MANY_FILES, errno.EMFILE, needed=5000, limit=1024)
    assert "needs 5000 file descriptors, and the limit is 1024: raise it (ulimit -n 5064)" in text
    text = sentence(tree.machine(), Error.TOO_MANY_FILES, errno.ENFILE)
    assert "sysctl fs.file-max" in text


def test_what_nobody_expected_names_the_event_and_the_cause(tree: Tree) -> None:
    text = sentence(tree.machine(), Error.SYSTEM, errno.EIO, CYCLES, cpu=2)
    assert text.startswith("cycles: message on thread")
    assert os.strerror(errno.EIO) in text


def test_events_that_the_machine_lacks(tree: Tree) -> None:
    failure = unsupported([CYCLES, SWITCHES, CYCLES], tree.machine())
    assert isinstance(failure, NotSupportedError)
    assert (
        "not supported here: cycles, context-switches; this machine shows no hardware PMU"
        in str(failure)
    )


def test_events_that_the_pmu_lacks(tree: Tree) -> None:
    tree.write("sys/bus/event_source/devices/cpu/type", 4)
    assert "its PMU has no such event" in str(unsupported([CYCLES], tree.machine()))


def test_events_that_the_user_may_not_see(tree: Tree) -> None:
    failure = kernel_hidden([SWITCHES], tree.machine())
    assert isinstance(failure, NotPermittedError)
    assert "it happens in the kernel (kernel.perf_event_paranoid is 2)" in str(failure)
