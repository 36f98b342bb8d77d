"""Tracing of system calls as a context manager that raises `KperfError`."""

from __future__ import annotations

from collections.abc import Sequence

from kperf._native_tracing import KEYS
from kperf.arguments import size
from kperf.calls import CallSummary, PmuTraceData
from kperf.closing import Closing
from kperf.collection import Wanted
from kperf.command import Command
from kperf.errors import Error, KperfError, error
from kperf.machine import Machine
from kperf.syscalls import SyscallNames
from kperf.trace_bpf import BpfTrace
from kperf.trace_rings import RingTrace
from kperf.trace_wanted import TraceWanted

_MECHANISMS = ("", BpfTrace.mechanism, RingTrace.mechanism)


def _open(wanted: TraceWanted, mechanism: str) -> BpfTrace | RingTrace:
    """A summary is added up in the kernel where that may be: it costs the least."""
    can_add_up = not (wanted.keep_calls or wanted.whom.cgroup or wanted.whom.tids)
    if mechanism == RingTrace.mechanism or (not mechanism and not can_add_up):
        return RingTrace(wanted)
    if not can_add_up:
        raise error(
            Error.INVALID_ARGUMENT,
            "BPF programs keep no calls, and follow processes, not threads or cgroups",
            hint="leave mechanism out",
        )
    try:
        return BpfTrace(wanted)
    except KperfError as refused:
        if mechanism:
            raise
        trace = RingTrace(wanted)  # raises what is wrong with the request itself
        trace.notes.append(f"not with BPF programs ({refused.message})")
        return trace


class SyscallTrace(Closing):
    """Times system calls. Opened by the constructor, disabled until `enable()`.

    funcs: names (`read`, `pread` for `pread64`, `syscall_451`); none: all calls. Whom: as for
    `Counting`. With `keep_calls` `read()` gives every call, in 40 bytes each and up to
    `store_bytes` of them (default: a quarter of the memory); without, `summary()` gives counts and
    times, by call, and `by="process"` or `by="thread"` for each of these.

    A summary is added up by BPF programs in the kernel where that is permitted. Else, and for a
    list of calls, the kernel's tracepoints write into buffers (`buffer_bytes` a CPU), which a
    thread of this library empties, pairing the calls' beginnings with their ends. Where a buffer
    runs full, calls are lost and counted, but none is reported with another one's end.
    `call_stack` records who made each call (`row.frames`), by a second set of events: it about
    doubles what tracing costs, and keeps a sample a call in `store_bytes` more.
    `mechanism` says which it is, "BPF" or "tracepoints"; given, it must be that one.
    Raises `KperfError`.
    """

    def __init__(
        self,
        funcs: Sequence[str] = (),
        *,
        pids: Sequence[int] = (),
        tids: Sequence[int] = (),
        cpus: Sequence[int] = (),
        command: Command | None = None,
        cgroup: str = "",
        inherit: bool = True,
        enable_on_exec: bool = False,
        by: str = "",
        keep_calls: bool = True,
        buffer_bytes: int = 0,
        store_bytes: int = 0,
        mechanism: str = "",
        call_stack: bool = False,
    ) -> None:
        for name, value, known in (("by", by, KEYS), ("mechanism", mechanism, _MECHANISMS)):
            if value not in known:
                choices = " or ".join(repr(choice) for choice in known if choice)
                raise error(
                    Error.INVALID_ARGUMENT,
                    f"{name}={value!r} means nothing",
                    hint=f"use {choices}",
                )
        if call_stack and not keep_calls:
            raise error(
                Error.INVALID_ARGUMENT,
                "call_stack is of calls one by one, and keep_calls=False keeps none",
                hint="leave one of them out",
            )
        names = SyscallNames(Machine().arch)
        whom = Wanted(
            (),
            pids=pids,
            tids=tids,
            cpus=cpus,
            command=command,
            cgroup=cgroup,
            inherit=inherit,
            enable_on_exec=enable_on_exec,
        )
        selection = names.select(list(funcs))
        wanted = TraceWanted(
            names,
            selection,
            by,
            bool(keep_calls),
            size("buffer_bytes", buffer_bytes),
            size("store_bytes", store_bytes),
            whom,
            call_stack,
        )
        self._keeps_calls = keep_calls
        self._trace = _open(wanted, mechanism)
        self.mechanism = self._trace.mechanism
        self.notes = self._trace.notes

    def check_usable(self) -> None:
        """Raises `KperfError` where it was closed, and in a forked child of its opener."""
        self._trace.check_usable()

    def enable(self) -> None:
        """Traces from now on, without forgetting what was traced before."""
        self._trace.enable()

    def disable(self) -> None:
        """Stops tracing until `enable()`: what has not returned by now is unfinished."""
        self._trace.disable()

    def read(self) -> PmuTraceData:
        """The calls since the last read, in the order of their return; may be called while enabled.

        Empty without `keep_calls`.
        """
        if not self._keeps_calls or isinstance(self._trace, BpfTrace):
            return PmuTraceData(quality=self._trace.summary().quality)
        return self._trace.read()

    def calls(self) -> PmuTraceData:
        """As `read()`, without a quality: the next `read()` tells that of these calls as well."""
        if not self._keeps_calls or isinstance(self._trace, BpfTrace):
            return PmuTraceData()
        return self._trace.calls()

    def summary(self) -> CallSummary:
        """Counts and times of the calls since the last summary; for `keep_calls=False`."""
        return self._trace.summary()

    def close(self) -> None:
        """Ends the tracing. Data already read stays valid. May be called again."""
        self._trace.close()
