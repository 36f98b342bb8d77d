"""SAMPLING through the functional API: what it takes, what it refuses, what its rows are."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import Worker, ask_python, in_fork, perf_descriptors, privileged, together

import kperf
from kperf import BranchSampleFilter, Error, EvtAttr, PmuAttr, PmuTaskType, SymbolMode

WRITES = "syscalls:sys_enter_write"
LIMIT = int(Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text())


def open_sampling(**fields: object) -> int:
    return kperf.open(PmuTaskType.SAMPLING, PmuAttr(**fields))


def samples(worker: Worker, *command: object, **fields: object) -> kperf.PmuData:
    """What is read after a worker did something."""
    pd = open_sampling(pidList=[worker.pid], **fields)
    assert pd > 0, kperf.error()
    assert kperf.enable(pd) == 0
    worker.ask(*command)
    assert kperf.disable(pd) == 0
    data = kperf.read(pd)
    assert kperf.errorno() == 0
    kperf.close(pd)
    return data


# ---- what it takes ----


@privileged
def test_each_hit_is_a_row_with_every_attribute(worker: Worker) -> None:
    data = samples(worker, "write", 100, evtList=[WRITES], callStack=True)
    assert data.len == 100 + Worker.ANSWER
    for row in data.iter:
        assert (row.evt, row.pid, row.tid) == (WRITES, worker.pid, worker.pid)
        assert (row.count, row.period, row.groupId, row.ext) == (1, 1, -1, None)
        assert row.cpuTopo.coreId == row.cpu
        assert row.ts > 0
        assert row.rawData is not None
        assert row.stack.symbol is row.frames[0]
        assert row.names[0] == row.stack.symbol.symbolName


@privileged
@pytest.mark.parametrize("rate", [{"sampleRate": 10}, {"evtAttr": [EvtAttr(period=10)]}])
def test_a_period_of_all_or_of_one_event(worker: Worker, rate: dict[str, object]) -> None:
    data = samples(worker, "write", 1000 - Worker.ANSWER, evtList=[WRITES], **rate)
    assert [row.period for row in data] == [10] * 100


@privileged
def test_periods_of_events_of_one_list(worker: Worker) -> None:
    events = [WRITES, "syscalls:sys_exit_write"]
    attrs = [EvtAttr(period=50), EvtAttr()]
    data = samples(worker, "write", 500 - Worker.ANSWER, evtList=events, evtAttr=attrs)
    assert Counter(row.evt for row in data) == {events[0]: 10, events[1]: 500}


@privileged
def test_every_member_of_a_group_samples(worker: Worker) -> None:
    events = [WRITES, "syscalls:sys_exit_write"]
    data = samples(worker, "write", 100, evtList=events, evtAttr=[3, 3])
    assert {row.groupId for row in data} == {3}
    assert min(Counter(row.evt for row in data).values()) >= 100


@privileged
def test_duplicates_count_once(worker: Worker) -> None:
    pd = open_sampling(evtList=[WRITES], pidList=[worker.pid] * 2, cpuList=[0, 0])
    assert pd > 0, kperf.error()
    kperf.enable(pd)
    worker.ask("write", 100)
    rows = list(kperf.read(pd))
    kperf.close(pd)
    assert {row.cpu for row in rows} <= {0}
    assert len({row.ts for row in rows}) == len(rows) <= 100 + Worker.ANSWER


@privileged
def test_without_symbols_there_are_addresses_and_no_stack(worker: Worker) -> None:
    mode = SymbolMode.NO_SYMBOL_RESOLVE
    data = samples(worker, "write", 10, evtList=[WRITES], symbolMode=mode, callStack=True)
    assert len(data) > 0
    for row in data:
        assert row.stack is None
        assert row.frames[0].addr > 0
        assert not any(symbol.resolved for symbol in row.frames)


# ---- what it refuses ----

BAD = {
    "no event": ({"evtList": []}, Error.INVALID_EVENT_LIST, "empty"),
    "unknown event": ({"evtList": ["no-such", "nor-such"]}, Error.INVALID_EVENT, "nor-such"),
    "pid 0": ({"pidList": [0]}, Error.INVALID_PID_LIST, "0"),
    "pid -1": ({"pidList": [-1]}, Error.INVALID_PID_LIST, "-1"),
    "cpu": ({"cpuList": [99_999]}, Error.INVALID_CPU_LIST, "99999"),
    "group numbers": ({"evtAttr": [1, 2]}, Error.INVALID_EVENT_LIST, "2 group numbers"),
    "event period": ({"evtAttr": [EvtAttr(period=-5)]}, Error.INVALID_SAMPLE_RATE, "-5"),
    "rate": ({"sampleRate": -1}, Error.INVALID_SAMPLE_RATE, "-1"),
    "huge rate": ({"sampleRate": 1 << 63}, Error.INVALID_SAMPLE_RATE, str(1 << 63)),
    "frequency": (
        {"sampleRate": LIMIT + 1, "useFreq": True},
        Error.INVALID_SAMPLE_RATE,
        "kernel.perf_event_max_sample_rate",
    ),
    "nothing left": (
        {"excludeUser": True, "excludeKernel": True},
        Error.INVALID_ARGUMENT,
        "both excluded",
    ),
    "new forks": ({"includeNewFork": True}, Error.INVALID_ARGUMENT, "includeNewFork"),
    "levels alone": (
        {"branchSampleFilter": BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER},
        Error.INVALID_BRANCH_FILTER,
        "KPERF_SAMPLE_BRANCH_ANY",
    ),
    "unknown branches": ({"branchSampleFilter": 8 | 1 << 17}, Error.INVALID_BRANCH_FILTER, "20008"),
    "negative branches": ({"branchSampleFilter": -1}, Error.INVALID_BRANCH_FILTER, "filter"),
    "no branches here": (
        {"branchSampleFilter": BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY},
        Error.NOT_SUPPORTED_BY_CPU,
        "LBR, BRBE",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_code(case: str) -> None:
    fields, code, said = BAD[case]
    assert open_sampling(**{"evtList": ["cpu-clock"], "pidList": [os.getpid()], **fields}) == -1
    assert kperf.errorno() == code, kperf.error()
    assert said in kperf.error()
    assert "\n" not in kperf.error()


@pytest.mark.skipif(
    Path("/sys/bus/event_source/devices/arm_spe_0").exists(), reason="this machine has SPE"
)
def test_spe_says_why_it_is_not_here() -> None:
    assert kperf.open(PmuTaskType.SPE_SAMPLING, PmuAttr()) == -1
    assert kperf.errorno() == Error.SPE_UNAVAILABLE
    assert "no SPE here: " in kperf.error()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"useFreq": True, "sampleRate": 4000}, Error.INVALID_SAMPLE_RATE),
        ({"branchSampleFilter": 8}, Error.BRANCH_FILTER_OUTSIDE_SAMPLING),
    ],
)
def test_what_spe_does_not_take(fields: dict[str, Any], code: Error) -> None:
    assert kperf.open(PmuTaskType.SPE_SAMPLING, PmuAttr(**fields)) == -1
    assert kperf.errorno() == code


# ---- threads, forks, many ----


def open_own() -> int:
    pd = open_sampling(evtList=["cpu-clock"], pidList=[os.getpid()])
    assert pd > 0, kperf.error()
    return pd


def test_read_and_close_at_once() -> None:
    def read(pd: int) -> None:
        for _ in range(3):
            kperf.read(pd)
            assert kperf.errorno() in (0, Error.INVALID_DESCRIPTOR)

    for _ in range(20):
        pd = open_own()
        kperf.enable(pd)
        together(lambda pd=pd: read(pd), lambda pd=pd: kperf.close(pd))
    assert perf_descriptors() == []


def test_a_forked_child_has_no_part_in_it() -> None:
    pd = open_own()
    kperf.enable(pd)

    def in_child() -> list[int]:
        codes = [kperf.enable(pd), kperf.disable(pd)]
        codes += [len(kperf.read(pd)), kperf.errorno(), len(perf_descriptors())]
        return codes

    assert in_fork(in_child) == [Error.FORKED, Error.FORKED, 0, Error.FORKED, 0]
    assert kperf.disable(pd) == 0
    kperf.close(pd)


def test_many_sessions_leave_nothing_and_change_nothing() -> None:
    before, after, threads, handlers = ask_python(
        """
        import json, os, threading, kperf
        attr = kperf.PmuAttr(evtList=["cpu-clock"], pidList=[os.getpid()], callStack=True)

        def usage():
            with open("/proc/self/statm") as statm:
                return len(os.listdir("/proc/self/fd")), int(statm.read().split()[1])

        def run(times):
            for number in range(times):
                pd = kperf.open(kperf.PmuTaskType.SAMPLING, attr)
                assert pd > 0, kperf.error()
                kperf.enable(pd)
                data = kperf.read(pd)
                kperf.close(pd)
            return usage()

        def caught():
            with open("/proc/self/status") as status:
                return status.read().partition("SigCgt:")[2].split()[0]

        # The C library takes a signal of its own for any program's first thread.
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        first = caught()
        run(50)
        before = run(1)
        after = run(200)
        print(json.dumps([before, after, len(os.listdir("/proc/self/task")), first == caught()]))
        """
    )
    assert after[0] == before[0]
    assert after[1] - before[1] < 512  # pages
    assert (threads, handlers) == (1, True)
