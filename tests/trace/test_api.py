"""Tracing through the library: the contract's functions and `SyscallTrace`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import privileged

import kperf
from kperf import Error, PmuTraceAttr, PmuTraceType

pytestmark = privileged

SYSCALLS = PmuTraceType.TRACE_SYS_CALL

# ---- the contract ----

# As its page has them, in order; the page leaves out that a trace is enabled and disabled.
_EXAMPLES = (
    """
# python代码示例
import time
import kperf
funcs = ["read", "write"]
pmu_trace_attr = kperf.PmuTraceAttr(funcs=funcs)
pd = kperf.trace_open(kperf.PmuTraceType.TRACE_SYS_CALL, pmu_trace_attr)
if pd == -1:
    print(kperf.error())
    exit(1)
""",
    """
kperf.trace_enable(pd)
with open("/dev/null", "w", buffering=1) as sink:
    sink.write("one line\\n")
kperf.trace_disable(pd)
""",
    """
pmu_trace_data = kperf.trace_read(pd)
for pmu_trace in pmu_trace_data.iter:
    print("funcs: %s, elapsedTime: %d, pid: %d, tid: %d, cpu: %d, comm: %s" % (pmu_trace.funcs, pmu_trace.elapsedTime, pmu_trace.pid, pmu_trace.tid, pmu_trace.cpu, pmu_trace.comm))
""",  # noqa: E501
    """
kperf.trace_close(pd)
""",
    """
# python代码示例
for func_name in kperf.sys_call_func_list():
    print(f"syscall function name: {func_name}")
""",
)


def test_the_contracts_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for block in _EXAMPLES:
        exec(block, namespace)
    out = capsys.readouterr().out
    assert f"funcs: write, elapsedTime: 0, pid: {os.getpid()}, tid: {os.getpid()}" in out
    assert "syscall function name: futex" in out


def writes(number: int) -> None:
    with open("/dev/null", "wb", buffering=0) as sink:
        for _ in range(number):
            sink.write(b"12345")


@pytest.fixture
def trace() -> Any:
    pd = kperf.trace_open(SYSCALLS, PmuTraceAttr(["write"], [os.getpid()]))
    assert pd > 0, kperf.error()
    yield pd
    kperf.trace_close(pd)


def test_what_a_call_tells(trace: int) -> None:
    before = time.monotonic_ns()
    assert kperf.trace_enable(trace) == 0
    writes(3)
    assert kperf.trace_disable(trace) == 0
    data = kperf.trace_read(trace)
    assert (data.len, len(list(data.iter)), kperf.error()) == (3, 3, "")
    for row in data:
        assert row.funcs == "write"
        assert (row.pid, row.tid, row.ret) == (os.getpid(), os.getpid(), 5)
        assert row.comm == Path("/proc/self/comm").read_text().strip()
        assert before <= row.startTs <= time.monotonic_ns()
        assert row.elapsedTime == row.elapsedNs / 1e6 > 0
        assert row.cpu in kperf.Machine().online_cpus
    assert data.quality.samples == 3
    assert data.quality.lost == 0


def test_each_read_has_what_came_since_the_last(trace: int) -> None:
    kperf.trace_enable(trace)
    lengths = []
    for number in (2, 0, 5):
        writes(number)
        lengths.append(len(kperf.trace_read(trace)))
    kperf.trace_disable(trace)
    writes(4)
    assert [*lengths, len(kperf.trace_read(trace))] == [2, 0, 5, 0]
    kperf.trace_enable(trace)
    writes(1)
    kperf.trace_disable(trace)
    assert len(kperf.trace_read(trace)) == 1


def test_columns_are_buffers_that_outlive_the_rest(trace: int) -> None:
    kperf.trace_enable(trace)
    writes(4)
    kperf.trace_disable(trace)
    data = kperf.trace_read(trace)
    columns, row = data.columns(), data[0]
    assert list(columns) == ["start", "elapsed", "ret", "pid", "tid", "comm", "which", "cpu"]
    assert sum(column.itemsize for column in columns.values()) == 40
    assert list(columns["ret"]) == [5] * 4
    data.free()
    data.free()
    with pytest.raises(kperf.KperfError, match="freed"):
        _ = row.funcs
    assert list(columns["ret"]) == [5] * 4
    assert repr(row) == "<kperf call, freed>"


@pytest.mark.parametrize(
    ("attr", "trace_type", "code"),
    [
        (PmuTraceAttr(["read", "no_such_call"]), 0, Error.INVALID_SYSCALL),
        (PmuTraceAttr(["read"]), 7, Error.INVALID_TRACE_TYPE),
        (PmuTraceAttr(["read"], pidList=[-3]), 0, Error.INVALID_PID_LIST),
        (PmuTraceAttr(["read"], pidList=[2**22]), 0, Error.NO_SUCH_PROCESS),
        (PmuTraceAttr(["read"], cpuList=[4000]), 0, Error.INVALID_CPU_LIST),
    ],
)
def test_what_cannot_be_traced(attr: PmuTraceAttr, trace_type: Any, code: Error) -> None:
    assert kperf.trace_open(trace_type, attr) == -1
    assert kperf.errorno() == code
    assert kperf.error()


def test_wrong_types_are_type_errors() -> None:
    wrong: Any = "read"
    with pytest.raises(TypeError, match="funcs"):
        PmuTraceAttr(funcs=wrong)
    with pytest.raises(TypeError, match="pmu_trace_attr"):
        kperf.trace_open(SYSCALLS, wrong)
    assert repr(PmuTraceAttr(["read"])) == "PmuTraceAttr(funcs=['read'])"


def test_descriptors_that_are_none(trace: int) -> None:
    counting = kperf.open(kperf.PmuTaskType.COUNTING, kperf.PmuAttr(["task-clock"], [os.getpid()]))
    for pd in (counting, 99_999_999):
        assert kperf.trace_enable(pd) == kperf.trace_disable(pd) == Error.INVALID_DESCRIPTOR
        assert len(kperf.trace_read(pd)) == 0
        assert kperf.errorno() == Error.INVALID_DESCRIPTOR
    kperf.close(counting)
    kperf.trace_close(trace)
    assert kperf.errorno() == 0
    assert kperf.trace_enable(trace) == Error.INVALID_DESCRIPTOR


def test_a_forked_child_has_no_part_in_it(trace: int) -> None:
    kperf.trace_enable(trace)
    child = os.fork()
    if child == 0:
        os._exit(0 if kperf.trace_enable(trace) == Error.FORKED else 1)
    assert os.waitpid(child, 0)[1] == 0
    writes(1)
    kperf.trace_disable(trace)
    assert len(kperf.trace_read(trace)) == 1


def test_every_name_of_the_list_is_taken() -> None:
    names = list(kperf.sys_call_func_list())
    assert len(names) > 250
    with kperf.SyscallTrace(names, pids=[os.getpid()]) as trace:
        trace.enable()
        os.getppid()
        trace.disable()
        assert "getppid" in {row.funcs for row in trace.read()}


# ---- the object ----


def test_a_summary(tmp_path: Path) -> None:
    with kperf.SyscallTrace(
        ["write", "openat"],
        pids=[os.getpid()],
        keep_calls=False,
        by="thread",
        mechanism="tracepoints",
    ) as trace:
        trace.enable()
        writes(10)
        with pytest.raises(FileNotFoundError):
            (tmp_path / "missing").read_bytes()
        trace.disable()
        rows = {row.syscall: row for row in trace.summary().rows}
        assert trace.summary().rows == []
        assert len(trace.read()) == 0
    assert (rows["write"].count, rows["write"].errors) == (10, 0)
    assert (rows["openat"].count, rows["openat"].errors) == (2, 1)
    assert {(row.pid, row.tid) for row in rows.values()} == {(os.getpid(), os.getpid())}
    row = rows["write"]
    assert row.mean_ns == row.total_ns / 10
    assert sum(number for _, _, number in row.histogram) == 10
    assert all(low < high <= low * 65 / 64 + 1 for low, high, _ in row.histogram)
    assert sum(row.share or 0 for row in rows.values()) == pytest.approx(1)


def test_a_full_store_is_loss() -> None:
    with kperf.SyscallTrace(["write"], pids=[os.getpid()], store_bytes=400) as trace:
        trace.enable()
        writes(30)
        trace.disable()
        data = trace.read()
    assert (len(data), data.quality.lost) == (10, 20)


def test_calls_under_way_are_unfinished() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)
        os._exit(0)
    while "pipe" not in Path(f"/proc/{child}/wchan").read_text():
        time.sleep(0.001)
    try:
        with kperf.SyscallTrace(["read"], pids=[child]) as trace:
            trace.enable()
            os.write(writer, b"x")
            os.waitpid(child, 0)
            trace.disable()
            data = trace.read()
    finally:
        os.close(reader)
        os.close(writer)
    assert len(data) == 0
    assert "1 call begun before the start, without a time" in data.quality.notes


@pytest.mark.parametrize("wrong", ["cpu", "Thread"])
def test_a_key_that_means_nothing(wrong: str) -> None:
    with pytest.raises(kperf.InvalidArgumentError, match=r"by=.*use 'process' or 'thread'"):
        kperf.SyscallTrace(by=wrong)
    with pytest.raises(kperf.InvalidArgumentError, match="mechanism="):
        kperf.SyscallTrace(mechanism=wrong)


def test_what_bpf_programs_cannot_do() -> None:
    for options in ({"keep_calls": True}, {"keep_calls": False, "tids": [os.getpid()]}):
        with pytest.raises(kperf.InvalidArgumentError, match="BPF programs keep no calls"):
            kperf.SyscallTrace(mechanism="BPF", **options)


def test_the_mechanism_is_told() -> None:
    for options, words in (
        ({"keep_calls": True}, ["tracepoints"]),
        ({"keep_calls": False, "tids": [os.getpid()]}, ["tracepoints"]),
        ({"keep_calls": False, "pids": [os.getpid()]}, ["tracepoints", "BPF"]),
    ):
        with kperf.SyscallTrace(["read"], **{"pids": [os.getpid()], **options}) as trace:
            assert trace.mechanism in words
            assert trace.mechanism in " ".join(trace.notes)


def test_rows_tell_who_made_the_call(calls: Callable[[str], Path]) -> None:
    with kperf.Command([str(calls("callers")), "50"]) as command:
        funcs = ["getppid", "nanosleep", "clock_nanosleep"]
        with kperf.SyscallTrace(
            funcs, command=command, enable_on_exec=True, call_stack=True
        ) as trace:
            command.start()
            os.waitpid(command.pid, 0)
            first, second = trace.calls(), trace.read()
    found = [*first, *second]
    assert len(found) == 100
    for row in found:
        called_by = {symbol.symbolName for symbol in row.frames}
        assert ("asks" in called_by) == (row.funcs == "getppid")
        assert ("sleeps" in called_by) == (row.funcs != "getppid")
    plain = kperf.SyscallTrace(["getppid"], pids=[os.getpid()])
    with plain:
        plain.enable()
        os.getppid()
        plain.disable()
        assert plain.read()[0].frames == ()
    with pytest.raises(kperf.KperfError, match="keep_calls"):
        kperf.SyscallTrace(call_stack=True, keep_calls=False)


def test_threads_alone(tmp_path: Path) -> None:
    with kperf.SyscallTrace(["write"], tids=[os.getpid()], keep_calls=False) as trace:
        trace.enable()
        writes(3)
        trace.disable()
        (row,) = trace.summary().rows
    assert row.count == 3


def test_threads_and_children_are_followed(calls: Callable[[str], Path]) -> None:
    with (
        kperf.Command([str(calls("known")), "2", "3"]) as command,
        kperf.SyscallTrace(["getppid"], command=command, enable_on_exec=True) as trace,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        trace.disable()
        data = trace.read()
    tids = {row.tid for row in data}
    assert (len(data), len(tids), len({row.pid for row in data})) == (600, 6, 2)
    assert {row.comm for row in data} == {"known"}
