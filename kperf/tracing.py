"""Tracing of system calls as a context manager that raises `KperfError`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from kperf._native import EventStatus, Failure
from kperf._native_tracing import KEYS, SPECIAL, NativeTracer, TraceOptions
from kperf.calls import CallSummary, PmuTraceData, calls_of, summary_of
from kperf.collection import Collection, Wanted
from kperf.command import Command
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup
from kperf.events.tracking import TRACKING
from kperf.syscalls import Selection, SyscallNames
from kperf.tracepoint import format_of

_EVENTS = ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "sched:sched_process_exec")

# Where the core finds what it reads of each, beside the common fields.
_OFFSETS = (
    ("raw_syscalls:sys_enter", "id", 8),
    ("raw_syscalls:sys_exit", "id", 8),
    ("raw_syscalls:sys_exit", "ret", 16),
    ("sched:sched_process_exec", "old_pid", 16),
)

_RING_BYTES = 32 << 20
_LEAST_RING_BYTES = 1 << 19
_MOST_SHARE = 32  # of the memory, for all rings

# Beyond that the kernel is slower in comparing numbers than in handing calls over.
_MOST_RANGES = 64

_RESTART_BLOCK = -516  # the result of a call that restart_syscall may resume
_NO_NUMBER = -1  # what rt_sigreturn exits with


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _filter(numbers: Iterable[int], *others: str) -> str:
    """Numbers as an expression of the kernel's; "" where there are too many."""
    ranges = _ranges(numbers)
    if len(ranges) > _MOST_RANGES:
        return ""
    parts = [f"id=={a}" if a == b else f"(id>={a}&&id<={b})" for a, b in ranges]
    return "||".join([*parts, *others])


def _filters(selection: Selection, special: dict[str, int]) -> tuple[str, str]:
    """What sys_enter and sys_exit let through; "": everything."""
    asked = {*selection.numbers, *selection.numbers_32}
    if not asked:
        return "", ""
    resumed = {number for field, number in special.items() if field.startswith("restart")}
    ended_without = {number for field, number in special.items() if "sigreturn" in field}
    ends = asked | resumed | ({_NO_NUMBER} if asked & ended_without else set())
    return _filter(asked | resumed), _filter(ends, f"ret=={_RESTART_BLOCK}")


class SyscallTrace(Collection):
    """Times system calls. Opened by the constructor, disabled until `enable()`.

    funcs: names (`read`, `pread` for `pread64`, `syscall_451`); none: all calls. Whom: as for
    `Counting`. With `keep_calls` `read()` gives every call, in 40 bytes each and up to
    `store_bytes` of them (default: a quarter of the memory); without, `summary()` gives counts and
    times, by call, and `by="process"` or `by="thread"` for each of these.

    A thread of this library empties the kernel's buffers (`buffer_bytes` a CPU) and pairs the
    calls' beginnings with their ends. Where a buffer runs full, calls are lost and counted, but
    none is reported with another one's end. Raises `KperfError`.
    """

    mechanism = "tracepoints"

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
    ) -> None:
        if by not in KEYS:
            raise error(
                Error.INVALID_ARGUMENT, f"by={by!r} means nothing", hint="use 'process' or 'thread'"
            )
        self._funcs = list(funcs)
        self._by = by
        self._keep_calls = keep_calls
        self._buffer_bytes = buffer_bytes
        self._given = 0  # calls that were handed out, and no quality has told of yet
        self._store_bytes = store_bytes or _memory() // 4
        super().__init__(
            Wanted(
                _EVENTS,
                pids=pids,
                tids=tids,
                cpus=cpus,
                command=command,
                cgroup=cgroup,
                inherit=inherit,
                enable_on_exec=enable_on_exec,
            )
        )

    # ---- opening ----

    def _resolve(self, wanted: Wanted) -> list[EventGroup]:
        self.names = SyscallNames(self.machine.arch)
        self._selection = self.names.select(self._funcs)
        groups = super()._resolve(wanted)
        for event, field, offset in _OFFSETS:
            if format_of(self.machine, event).field(field).described.offset != offset:
                raise error(
                    Error.NOT_SUPPORTED_BY_KERNEL,
                    f"{event} has its field '{field}' at an unknown place",
                    hint="use a kernel whose format kperf knows, and report this one",
                )
        return groups

    def _shape(self, groups: list[EventGroup]) -> list[EventGroup]:
        """Before the tracepoints, the event that tells of births, ends and names of threads."""
        shaped = [
            group._replace(events=tuple(event._replace(filter=kept) for event in group.events))
            for group, kept in zip(groups, (*_filters(self._selection, self._special()), ""))
        ]
        return [TRACKING, *shaped]

    def _special(self) -> dict[str, int]:
        """The numbers that mean something to the pairing."""
        found = {field: self.names.number(*call) for field, call in SPECIAL.items()}
        return {field: number for field, number in found.items() if number is not None}

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeTracer:
        self._tracer = NativeTracer(explain, self._options)
        return self._tracer

    def _options(self) -> TraceOptions:
        _, enter_event, exit_event, exec_event = self.events
        return TraceOptions(
            selection=self._selection,
            special=self._special(),
            by=self._by,
            with_list=self._keep_calls,
            ring_bytes=self._buffer_bytes or self._affordable_ring(),
            list_bytes=self._store_bytes,
            types=(enter_event.config, exit_event.config, exec_event.config),
        )

    def _affordable_ring(self) -> int:
        """Large rings lose nothing, and all together they take a small part of the memory."""
        n_cpus = len(self._target.cpus or self.machine.online_cpus)
        most = _memory() // _MOST_SHARE // n_cpus
        size = _RING_BYTES
        while size > most and size > _LEAST_RING_BYTES:
            size //= 2
        return size

    def _cpus_of(self, event: Event) -> Sequence[int]:
        """A ring that children inherit needs an event on one CPU: so each task on every CPU."""
        return super()._cpus_of(event) or self.machine.online_cpus

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        told = ["from the raw_syscalls tracepoints"]
        asked, got = self._options().ring_bytes, self._tracer.ring_bytes()
        if got >= asked:
            return told
        return [
            *told,
            f"buffers of {got >> 10} KiB a CPU instead of {asked >> 10}: the system allows no more "
            "locked memory (sysctl kernel.perf_event_mlock_kb)",
        ]

    # ---- use ----

    def read(self) -> PmuTraceData:
        """The calls since the last read, in the order of their return; may be called while enabled.

        Empty without `keep_calls`.
        """
        if not self._keep_calls:
            return PmuTraceData(quality=self.summary().quality)
        calls = self._tracer.read_calls()
        data = calls_of(calls, self._tracer.read_summary(), self.names, self.notes)
        data.quality.samples, self._given = self._given + len(data), 0
        return data

    def calls(self) -> PmuTraceData:
        """As `read()`, without a quality: the next `read()` tells that of these calls as well."""
        data = PmuTraceData(self._tracer.read_calls(), self.names)
        self._given += len(data)
        return data

    def summary(self) -> CallSummary:
        """Counts and times of the calls since the last summary; for `keep_calls=False`."""
        return summary_of(self._tracer.read_summary(), self.names, self.notes)

    def __enter__(self) -> SyscallTrace:
        return self


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
