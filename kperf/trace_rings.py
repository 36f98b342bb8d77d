"""System calls from the raw_syscalls tracepoints: filtered in the kernel, paired by the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kperf._native import EventStatus, Failure
from kperf._native_tracing import CallOptions, NativeTracer, RingOptions
from kperf.calls import CallSummary, PmuTraceData, calls_of, summary_of
from kperf.collection import Collection, Wanted
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup
from kperf.events.tracking import TRACKING
from kperf.syscalls import Selection
from kperf.trace_stacks import CallStacks
from kperf.trace_wanted import TraceWanted, memory
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


class RingTrace(Collection):
    """Calls as records of two tracepoints, which the core's thread pairs."""

    mechanism = "tracepoints"

    def __init__(self, wanted: TraceWanted) -> None:
        self._wanted = wanted
        self._given = 0  # calls that were handed out, and no quality has told of yet
        self._stacks: CallStacks | None = None
        super().__init__(wanted.whom._replace(events=_EVENTS))
        if wanted.call_stack:
            self._open_stacks()

    def _open_stacks(self) -> None:
        _, exit_filter = _filters(self._wanted.selection, self._wanted.special)
        try:
            self._stacks = CallStacks(self._wanted, exit_filter)
        except BaseException:
            self.close()
            raise

    # ---- opening ----

    def _resolve(self, wanted: Wanted) -> list[EventGroup]:
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
        filters = _filters(self._wanted.selection, self._wanted.special)
        shaped = [
            group._replace(events=tuple(event._replace(filter=kept) for event in group.events))
            for group, kept in zip(groups, (*filters, ""))
        ]
        return [TRACKING, *shaped]

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeTracer:
        wanted = self._wanted
        options = CallOptions(
            wanted.selection,
            wanted.special,
            wanted.by,
            with_list=wanted.keep_calls,
            list_bytes=wanted.store_bytes or memory() // 4,
        )
        self._tracer = NativeTracer(explain, options, self._rings)
        return self._tracer

    def _rings(self) -> RingOptions:
        _, enter_event, exit_event, exec_event = self.events
        return RingOptions(
            self._wanted.buffer_bytes or self._affordable_ring(),
            (enter_event.config, exit_event.config, exec_event.config),
        )

    def _affordable_ring(self) -> int:
        """Large rings lose nothing, and all together they take a small part of the memory."""
        n_cpus = len(self._target.cpus or self.machine.online_cpus)
        most = memory() // _MOST_SHARE // n_cpus
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
        asked, got = self._rings().ring_bytes, self._tracer.ring_bytes()
        if got >= asked:
            return told
        return [
            *told,
            f"buffers of {got >> 10} KiB a CPU instead of {asked >> 10}: the system allows no more "
            "locked memory (sysctl kernel.perf_event_mlock_kb)",
        ]

    # ---- use ----

    def enable(self) -> None:
        if self._stacks:  # before the calls, and until behind them: each call finds its stack
            self._stacks.enable()
        super().enable()

    def disable(self) -> None:
        super().disable()
        if self._stacks:
            self._stacks.disable()

    def close(self) -> None:
        super().close()
        if self._stacks:
            self._stacks.close()

    def _add_stacks(self, data: PmuTraceData) -> None:
        if self._stacks:
            data.find_stacks(self._stacks.take())

    def read(self) -> PmuTraceData:
        calls = self._tracer.read_calls()
        data = calls_of(calls, self._tracer.read_summary(), self._wanted.names, self.notes)
        data.quality.samples, self._given = self._given + len(data), 0
        self._add_stacks(data)
        data.quality.notes += self._stacks.losses() if self._stacks else []
        return data

    def calls(self) -> PmuTraceData:
        data = PmuTraceData(self._tracer.read_calls(), self._wanted.names)
        self._given += len(data)
        self._add_stacks(data)
        return data

    def summary(self) -> CallSummary:
        return summary_of(self._tracer.read_summary(), self._wanted.names, self.notes)
