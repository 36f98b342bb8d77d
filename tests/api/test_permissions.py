"""What an ordinary user may count, and what is said about the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import Worker, as_nobody, rooted

import kperf
from kperf import Error, PmuAttr, PmuTaskType

PARANOID = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
at_level_2 = pytest.mark.skipif(
    PARANOID != 2, reason=f"kernel.perf_event_paranoid is {PARANOID}, and this is about 2"
)
pytestmark = rooted


def attempt(events: list[str], **fields: object) -> list[object]:
    """[how many rows, the code, the sentence, the notes]"""
    pd = kperf.open(PmuTaskType.COUNTING, PmuAttr(evtList=events, **fields))
    if pd == -1:
        return [0, kperf.errorno(), kperf.error(), []]
    kperf.enable(pd)
    data = kperf.read(pd)
    kperf.close(pd)
    return [len(data), kperf.errorno(), kperf.error(), data.quality.notes]


def tried_by_nobody(events: list[str], **fields: object) -> list[object]:
    return as_nobody(lambda: attempt(events, **fields))


def tried_on_itself(*events: str) -> list[object]:
    return as_nobody(lambda: attempt(list(events), pidList=[os.getpid()]))


@at_level_2
def test_own_processes_are_counted_in_user_space_and_that_is_told() -> None:
    rows, code, said, notes = tried_on_itself("page-faults", "task-clock:u")
    assert (rows, code, said) == (2, 0, "")
    assert any("user space only" in note and "page-faults" in note for note in notes)
    assert not any("task-clock" in note for note in notes)


@at_level_2
def test_what_asks_for_no_more_than_that_needs_no_note() -> None:
    assert tried_on_itself("page-faults:u") == [1, 0, "", []]


@at_level_2
def test_what_happens_in_the_kernel_alone_is_refused_by_name() -> None:
    rows, code, said, _ = tried_on_itself("context-switches", "page-faults", "cpu-migrations")
    assert (rows, code) == (0, Error.NO_PERMISSION)
    assert "context-switches" in said
    assert "cpu-migrations" in said
    assert "CAP_PERFMON" in said


@at_level_2
def test_whole_cpus_are_refused_with_the_fix() -> None:
    _, code, said, _ = tried_by_nobody(["task-clock"])
    assert code == Error.NO_PERMISSION
    assert "kernel.perf_event_paranoid is 2" in said
    assert "sysctl kernel.perf_event_paranoid=0" in said


def test_other_peoples_processes_are_refused(worker: Worker) -> None:
    _, code, said, _ = tried_by_nobody(["task-clock:u"], pidList=[worker.pid])
    assert code == Error.NO_PERMISSION
    assert str(worker.pid) in said


def test_tracepoints_are_refused() -> None:
    rows, code, said, _ = tried_by_nobody(["syscalls:sys_enter_write"])
    assert (rows, said != "") == (0, True)
    assert code in (Error.NO_PERMISSION, Error.TRACEFS_UNAVAILABLE)


def test_a_refusal_is_a_permission_error() -> None:
    def raised() -> list[object]:
        try:
            kperf.Counting("task-clock", pids=[1])
        except PermissionError as failure:
            return [type(failure).__name__, failure.errno]
        return []

    assert as_nobody(raised) in (["NotPermittedError", number] for number in (1, 13))
