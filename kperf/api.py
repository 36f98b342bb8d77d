"""The functional contract: descriptors, return codes, `error()`. A thin skin over `session`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, TypeVar, Union

from kperf import errors
from kperf.attrs import (
    BranchSampleFilter,
    PmuAttr,
    PmuBdfType,
    PmuDeviceAttr,
    PmuEventType,
    PmuTaskType,
    PmuTraceAttr,
    PmuTraceType,
)
from kperf.data import ImplPmuData, PmuData
from kperf.errors import Error, KperfError
from kperf.machine import Machine
from kperf.topo import Topology

if TYPE_CHECKING:  # each kind of collection is loaded when it is first opened
    from kperf.calls import PmuTraceData
    from kperf.collection import Collection
    from kperf.device.data import PmuDeviceData
    from kperf.tracepoint import SampleRawField
    from kperf.tracing import SyscallTrace

    Session = Union[Collection, SyscallTrace]

_T = TypeVar("_T")

# Without a lock, which a fork could leave held in the child: each use is one atomic operation.
_descriptors = itertools.count(1)  # never used again in a process
_open_sessions: dict[int, Session] = {}


def _guarded(action: Callable[[], _T], failed: Callable[[KperfError], _T]) -> _T:
    """Runs an action; what goes wrong becomes the thread's last error and `failed`'s value."""
    try:
        result = action()
    except (KperfError, OSError, MemoryError) as cause:
        failure = errors.as_kperf_error(cause)
        errors.set_last(failure)
        return failed(failure)
    errors.set_last(None)
    return result


def _code(action: Callable[[], None]) -> int:
    """Runs an action; 0, or its error's code."""

    def succeed() -> int:
        action()
        return 0

    return _guarded(succeed, lambda failure: int(failure.code))


def _check_type(name: str, value: object, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def _session(pd: int) -> Session:
    """What a descriptor stands for, if this process may use it."""
    _check_type("a descriptor", pd, "int")
    session = _open_sessions.get(pd)
    if session is None:
        raise errors.error(
            Error.INVALID_DESCRIPTOR,
            f"descriptor {pd} is not open",
            hint="use what kperf.open returned, before kperf.close",
        )
    session.check_usable()
    return session


def _common(attr: PmuAttr) -> dict[str, Any]:
    """What counting and sampling take alike."""
    return {
        "events": attr.evtList,
        "pids": attr.pidList,
        "cpus": attr.cpuList,
        "groups": attr.evtAttr or None,
        "exclude_user": attr.excludeUser,
        "exclude_kernel": attr.excludeKernel,
    }


def _refuse_branch_filter(attr: PmuAttr, task: str) -> None:
    if attr.branchSampleFilter != BranchSampleFilter.KPERF_NO_BRANCH_SAMPLE:
        raise errors.error(
            Error.BRANCH_FILTER_OUTSIDE_SAMPLING,
            f"branchSampleFilter is for SAMPLING, and this is {task}",
            hint="leave it out, or open with PmuTaskType.SAMPLING",
        )


def _counting(attr: PmuAttr) -> Collection:
    _refuse_branch_filter(attr, "COUNTING")
    from kperf.session import Counting

    return Counting(**_common(attr), include_new_fork=attr.includeNewFork)


def _sampling(attr: PmuAttr) -> Collection:
    if attr.includeNewFork:
        raise errors.error(
            Error.INVALID_ARGUMENT,
            "includeNewFork is for COUNTING, and this is SAMPLING",
            hint="leave it out: a sample always tells its own thread",
        )
    from kperf.sampling import Sampling

    return Sampling(
        **_common(attr),
        period=0 if attr.useFreq else attr.sampleRate,
        frequency=attr.sampleRate if attr.useFreq else 0,
        call_stack=attr.callStack,
        symbol_mode=attr.symbolMode,
        branch_filter=attr.branchSampleFilter,
    )


def _spe_sampling(attr: PmuAttr) -> Collection:
    _refuse_branch_filter(attr, "SPE_SAMPLING")
    if attr.useFreq:
        raise errors.error(
            Error.INVALID_SAMPLE_RATE,
            "SPE has no frequency: it samples every so many operations",
            hint="leave useFreq out, and give a period as sampleRate",
        )
    from kperf.spe.sampling import SpeSampling

    return SpeSampling(
        pids=attr.pidList,
        cpus=attr.cpuList,
        exclude_user=attr.excludeUser,
        exclude_kernel=attr.excludeKernel,
        period=attr.sampleRate,
        data_filter=attr.dataFilter,
        event_filter=attr.evFilter,
        min_latency=attr.minLatency,
        symbol_mode=attr.symbolMode,
    )


_COLLECT: dict[int, Callable[[PmuAttr], Collection]] = {
    PmuTaskType.COUNTING: _counting,
    PmuTaskType.SAMPLING: _sampling,
    PmuTaskType.SPE_SAMPLING: _spe_sampling,
}


def _collect(collector_type: int, attr: PmuAttr) -> Collection:
    collect = _COLLECT.get(collector_type)
    if collect is None:
        raise errors.error(
            Error.INVALID_TASK_TYPE,
            f"{collector_type} is no task type",
            hint="use a member of kperf.PmuTaskType",
        )
    return collect(attr)


def _open(collect: Callable[[], Session]) -> int:
    def action() -> int:
        session = collect()
        descriptor = next(_descriptors)
        _open_sessions[descriptor] = session
        return descriptor

    return _guarded(action, lambda _: -1)


def open(collector_type: PmuTaskType, pmu_attr: PmuAttr) -> int:
    """Opens a collection, disabled. Returns a descriptor > 0, or -1 with `error()` set."""
    if not isinstance(pmu_attr, PmuAttr):
        raise TypeError(f"pmu_attr must be PmuAttr, not {type(pmu_attr).__name__}")
    _check_type("collector_type", collector_type, "PmuTaskType")

    return _open(lambda: _collect(collector_type, pmu_attr))


def enable(pd: int) -> int:
    """Starts collecting. Returns 0, or an `Error` code > 0."""
    return _code(lambda: _session(pd).enable())


def disable(pd: int) -> int:
    """Stops collecting. Returns 0, or an `Error` code > 0."""
    return _code(lambda: _session(pd).disable())


def read(pd: int) -> PmuData:
    """What came since the last read; empty on error, with `error()` set."""
    return _guarded(lambda: _session(pd).read(), lambda _: PmuData())


def dump(pmuData: PmuData, filepath: str | os.PathLike[str], dump_dwf: int = 0) -> int:
    """Adds what was read to the end of a text file. Returns 0, or an `Error` code > 0.

    With `dump_dwf`, source files and lines as well. `kperf.export.dump` describes the lines. If it
    fails, the file is as it was.
    """
    if not isinstance(pmuData, PmuData):
        raise TypeError(f"pmuData must be PmuData, not {type(pmuData).__name__}")
    path = os.fspath(filepath)

    def action() -> None:
        from kperf import export

        export.write(pmuData, path, "dump", lines=bool(dump_dwf), append=True)

    return _code(action)


def close(pd: int) -> None:
    """Closes a descriptor; data already read stays valid. An unknown one sets `errorno()`."""

    def action() -> None:
        session = _session(pd)
        _open_sessions.pop(pd, None)
        session.close()

    _code(action)


def get_field(pmu_data: ImplPmuData, field_name: str, value: Any) -> int:
    """Writes a tracepoint's field into what `value`, a ctypes pointer or a buffer, points to.

    Returns 0, or an `Error` code > 0: then nothing was written.
    """
    from kperf.tracepoint import copy_field

    _check_row(pmu_data, field_name)
    return _code(lambda: copy_field(pmu_data, field_name, value))


def get_field_exp(pmu_data: ImplPmuData, field_name: str) -> SampleRawField | None:
    """Where a tracepoint's field lies in a row's raw data; None on error, with `error()` set."""
    from kperf.tracepoint import field_of

    _check_row(pmu_data, field_name)
    return _guarded(lambda: field_of(pmu_data, field_name)[0].described, lambda _: None)


def _check_row(row: object, field_name: object) -> None:
    if not isinstance(row, ImplPmuData):
        raise TypeError(f"pmu_data must be a row of PmuData, not {type(row).__name__}")
    if not isinstance(field_name, str):
        raise TypeError(f"field_name must be str, not {type(field_name).__name__}")


# ---- system calls ----


def trace_open(trace_type: PmuTraceType, pmu_trace_attr: PmuTraceAttr) -> int:
    """Opens a trace, disabled. Returns a descriptor > 0, or -1 with `error()` set."""
    if not isinstance(pmu_trace_attr, PmuTraceAttr):
        raise TypeError(f"pmu_trace_attr must be PmuTraceAttr, not {type(pmu_trace_attr).__name__}")
    _check_type("trace_type", trace_type, "PmuTraceType")

    def collect() -> Session:
        if trace_type != PmuTraceType.TRACE_SYS_CALL:
            raise errors.error(
                Error.INVALID_TRACE_TYPE,
                f"{trace_type} is no trace type",
                hint="use PmuTraceType.TRACE_SYS_CALL",
            )
        from kperf.tracing import SyscallTrace

        attr = pmu_trace_attr
        return SyscallTrace(attr.funcs, pids=attr.pidList, cpus=attr.cpuList)

    return _open(collect)


def trace_enable(pd: int) -> int:
    """Starts tracing. Returns 0, or an `Error` code > 0."""
    return _code(lambda: _trace(pd).enable())


def trace_disable(pd: int) -> int:
    """Stops tracing. Returns 0, or an `Error` code > 0."""
    return _code(lambda: _trace(pd).disable())


def trace_read(pd: int) -> PmuTraceData:
    """The calls that returned since the last read; empty on error, with `error()` set."""
    from kperf.calls import PmuTraceData

    return _guarded(lambda: _trace(pd).read(), lambda _: PmuTraceData())


def trace_close(pd: int) -> None:
    """Closes a descriptor; data already read stays valid. An unknown one sets `errorno()`."""

    def action() -> None:
        trace = _trace(pd)
        _open_sessions.pop(pd, None)
        trace.close()

    _code(action)


def _trace(pd: int) -> SyscallTrace:
    """The trace that a descriptor stands for."""
    from kperf.tracing import SyscallTrace

    session = _session(pd)
    if not isinstance(session, SyscallTrace):
        raise errors.error(
            Error.INVALID_DESCRIPTOR,
            f"descriptor {pd} is no trace",
            hint="use what kperf.trace_open returned; this one is for kperf.enable, read and close",
        )
    return session


def sys_call_func_list() -> Iterator[str]:
    """The system calls of this architecture. Each is accepted in funcs."""
    from kperf.syscalls import SyscallNames

    names: list[str] = []
    _code(lambda: names.extend(SyscallNames(Machine().arch).names))
    return iter(names)


# ---- errors ----


def error() -> str:
    """What went wrong in this thread's last call, in one sentence; "" if nothing did."""
    return errors.last_message()


def errorno() -> int:
    """The `Error` code of this thread's last call; 0 if it went well."""
    return errors.last_code()


_LISTED: dict[int, tuple[str, ...]] = {
    PmuEventType.CORE_EVENT: ("core", "software"),
    PmuEventType.UNCORE_EVENT: ("uncore",),
    PmuEventType.TRACE_EVENT: ("trace",),
    PmuEventType.ALL_EVENT: ("core", "software", "uncore", "trace"),
}


def event_list(event_type: PmuEventType) -> Iterator[str]:
    """The names of this machine's events. Each is accepted in evtList.

    Those that cannot be listed, as tracepoints are closed to ordinary users, are left out, and
    `error()` says why.
    """
    from kperf.events.listing import KINDS

    _check_type("event_type", event_type, "PmuEventType")
    names: list[str] = []

    def action() -> None:
        if event_type not in _LISTED:
            raise errors.error(
                Error.INVALID_ARGUMENT,
                f"{event_type} is no event type",
                hint="use a member of kperf.PmuEventType",
            )
        machine = Machine()
        failures = []
        for kind in _LISTED[event_type]:
            try:
                names.extend(event.name for event in KINDS[kind](machine))
            except KperfError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    _code(action)
    return iter(names)


# ---- devices ----


def _check_device_attrs(attrs: Sequence[PmuDeviceAttr]) -> list[PmuDeviceAttr]:
    given = attrs if isinstance(attrs, Sequence) and not isinstance(attrs, str) else None
    if given is None or not all(isinstance(attr, PmuDeviceAttr) for attr in given):
        raise TypeError("device attributes must be a list of PmuDeviceAttr")
    return list(given)


def device_open(dev_attr: Sequence[PmuDeviceAttr]) -> int:
    """Opens metrics of devices, disabled. Returns a descriptor > 0, or -1 with `error()` set."""
    attrs = _check_device_attrs(dev_attr)

    def collect() -> Collection:
        from kperf.device.session import Device

        return Device(attrs)

    return _open(collect)


def get_device_metric(pmu_data: PmuData, device_attr: Sequence[PmuDeviceAttr]) -> PmuDeviceData:
    """The metrics that `read` of a device descriptor counted; empty on error, with `error()` set.

    `device_attr` names some or all of those that were opened.
    """
    from kperf.device.data import DeviceCounts, PmuDeviceData
    from kperf.device.session import ask

    if not isinstance(pmu_data, PmuData):
        raise TypeError(f"pmu_data must be PmuData, not {type(pmu_data).__name__}")
    attrs = _check_device_attrs(device_attr)

    def action() -> PmuDeviceData:
        if not isinstance(pmu_data, DeviceCounts):
            raise errors.error(
                Error.INVALID_ARGUMENT,
                "this data holds no metrics of devices",
                hint="give what kperf.read returned for a descriptor of kperf.device_open",
            )
        return PmuDeviceData(pmu_data.evaluate(ask(attrs)), pmu_data.quality)

    return _guarded(action, lambda _: PmuDeviceData())


def device_bdf_list(bdf_type: PmuBdfType) -> Iterator[str]:
    """The PCIe devices, such as '7a:01.0', that the metrics of PCIe or of SMMUs may name.

    Empty where no PMU covers any; then `error()` says so.
    """
    from kperf.device.pci import covered_bdfs

    _check_type("bdf_type", bdf_type, "PmuBdfType")
    return _guarded(lambda: iter(covered_bdfs(Machine(), bdf_type)), lambda _: iter(()))


# ---- the machine ----


def _cpu_list(
    find: Callable[[Topology, int], tuple[int, ...]], name: str, number: int
) -> list[int]:
    _check_type(name, number, "int")
    return _guarded(lambda: list(find(Topology(Machine()), number)), lambda _: [])


def get_cpu_freq(core: int) -> int:
    """The frequency of a logical CPU at this moment, in Hz; -1 with `error()` where none is told.

    From cpufreq or CPPC, else from the cycles that a thread on it counts in 10 ms.
    """
    from kperf.frequency import cpu_frequency

    _check_type("core", core, "int")
    return _guarded(lambda: cpu_frequency(Machine(), core), lambda _: -1)


def get_cluster_core(clusterId: int) -> list[int]:
    """The CPUs of a cluster, by the kernel's cluster_id, else by its index in order of first CPU.

    Empty on error, with `error()` set.
    """
    return _cpu_list(Topology.cluster_cpus, "clusterId", clusterId)


def get_numa_core(numaId: int) -> list[int]:
    """The CPUs of a NUMA node; empty on error, and for a node of memory alone."""
    return _cpu_list(Topology.node_cpus, "numaId", numaId)
