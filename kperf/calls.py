"""What a trace of system calls gives: calls one by one, and their summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from kperf._core import ffi, lib
from kperf.data import Columns, PmuData, Quality, Row, column_view
from kperf.syscalls import SyscallNames

if TYPE_CHECKING:
    from kperf.symbols.symbol import Symbol

    FindStack = Callable[[int, int, int, int], tuple[Symbol, ...]]  # by tid, start, elapsed, result

_NS_A_MS = 1e6

# The columns of struct kp_calls: name, buffer format, bytes a row.
_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("start", "Q", 8),
    ("elapsed", "Q", 8),
    ("ret", "q", 8),
    ("pid", "i", 4),
    ("tid", "i", 4),
    ("comm", "I", 4),
    ("which", "H", 2),
    ("cpu", "H", 2),
)


# ---- calls one by one ----


class _CallColumns(Columns):
    """The columns of calls."""

    __slots__ = ("comms", "elapsed", "find_stack", "names", "ret", "start", "which")

    comms: Sequence[str]
    elapsed: memoryview
    find_stack: FindStack | None
    names: Sequence[str]
    ret: memoryview
    start: memoryview
    which: memoryview


class ImplPmuTraceData(Row):
    """One system call; its CPU is that which it returned on."""

    __slots__ = ()

    @property
    def funcs(self) -> str:
        """Its name."""
        columns = self._columns
        return columns.names[columns.which[self._index]]  # type: ignore[no-any-return]

    @property
    def startTs(self) -> int:
        """When it began: ns of CLOCK_MONOTONIC."""
        return self._columns.start[self._index]  # type: ignore[no-any-return]

    @property
    def elapsedTime(self) -> float:
        """How long it took, in ms."""
        return self._columns.elapsed[self._index] / _NS_A_MS  # type: ignore[no-any-return]

    @property
    def elapsedNs(self) -> int:
        """How long it took, in ns."""
        return self._columns.elapsed[self._index]  # type: ignore[no-any-return]

    @property
    def ret(self) -> int:
        """What it returned; the negative number of an error where it failed."""
        return self._columns.ret[self._index]  # type: ignore[no-any-return]

    @property
    def frames(self) -> tuple[Symbol, ...]:
        """Who made it, the innermost first, with `call_stack`; () where that is not known."""
        columns, i = self._columns, self._index
        if columns.find_stack is None:
            return ()
        found: tuple[Symbol, ...] = columns.find_stack(
            columns.tid[i], columns.start[i], columns.elapsed[i], columns.ret[i]
        )
        return found

    def __repr__(self) -> str:
        if self._columns.is_freed:
            return "<kperf call, freed>"
        return f"<kperf call {self.funcs} = {self.ret}: {self.elapsedNs} ns, tid {self.tid}>"


class PmuTraceData(PmuData):
    """The calls of one read, in the order of their return."""

    def __init__(
        self, raw: Any = None, names: SyscallNames | None = None, quality: Quality | None = None
    ) -> None:
        super().__init__(quality=quality)
        self._columns = _CallColumns()
        self._columns.find_stack = None
        if raw is None or names is None:
            return
        owner = ffi.gc(raw, lib.kp_calls_destroy)
        self._len = owner.len
        for name, form, width in _COLUMNS:
            view = column_view(owner, getattr(owner, name), form, width * self._len)
            setattr(self._columns, name, view)
            self._views[name] = view
        self._columns.events = ()
        self._columns.names = [
            names.name(owner.numbers[i].number, owner.numbers[i].bits)
            for i in range(owner.n_numbers)
        ]
        self._columns.comms = [
            ffi.string(owner.strings + owner.string_offset[i]).decode("utf-8", "replace")
            for i in range(owner.n_strings)
        ]

    def find_stacks(self, find: FindStack) -> None:
        """Has the rows ask for their stacks there."""
        self._columns.find_stack = find

    @property
    def names(self) -> Sequence[str]:
        """What the numbers of the column `which` stand for."""
        found: Sequence[str] = self._columns.names
        return found

    @property
    def comms(self) -> Sequence[str]:
        """What the numbers of the column `comm` stand for."""
        found: Sequence[str] = self._columns.comms
        return found

    @property
    def iter(self) -> Iterator[Any]:
        """A new iterator over the rows."""
        return map(ImplPmuTraceData, repeat(self._columns), range(self._len))

    def _row(self, index: int) -> Any:
        return ImplPmuTraceData(self._columns, index)


# ---- the summary ----


class CallRow(NamedTuple):
    """The calls of one name, by a process or thread where that was asked for. Times in ns.

    Percentiles are within 1%; all else is exact. pid, tid: -1 where they were added up.
    histogram: (from, to, calls) for each range of times that some calls took.
    """

    syscall: str
    count: int  # type: ignore[assignment] # nobody counts a row's own fields
    errors: int
    unfinished: int
    begun_before: int
    total_ns: int
    mean_ns: float | None
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    max_ns: int | None
    share: float | None  # of the time of all calls
    pid: int
    tid: int
    comm: str
    bits: int  # 32: calls of 32-bit programs, else 64
    histogram: list[tuple[int, int, int]]


class CallSummary(NamedTuple):
    """What came since the last read, the calls that took longest in all first."""

    rows: list[CallRow]
    quality: Quality


def _histogram(raw: Any, row: Any) -> list[tuple[int, int, int]]:
    low, high = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    found = []
    for i in range(row.first_bucket, row.first_bucket + row.n_buckets):
        lib.kp_bucket_range(raw.buckets[i].bucket, low, high)
        found.append((low[0], high[0], raw.buckets[i].count))
    return found


def _row(raw: Any, row: Any, names: SyscallNames, total: int) -> CallRow:
    def percentile(share: float) -> int | None:
        return int(lib.kp_call_percentile(raw, ffi.addressof(row), share)) if row.count else None

    return CallRow(
        syscall=names.name(row.number, row.bits),
        count=row.count,
        errors=row.errors,
        unfinished=row.unfinished,
        begun_before=row.begun_before,
        total_ns=row.total_ns,
        mean_ns=row.total_ns / row.count if row.count else None,
        p50_ns=percentile(0.5),
        p95_ns=percentile(0.95),
        p99_ns=percentile(0.99),
        max_ns=row.max_ns if row.count else None,
        share=row.total_ns / total if total else None,
        pid=row.pid,
        tid=row.tid,
        comm=ffi.string(row.comm, 16).decode("utf-8", "replace"),
        bits=row.bits,
        histogram=_histogram(raw, row),
    )


def _begun_before(number: int) -> str:
    calls = "1 call" if number == 1 else f"{number:,} calls"
    return f"{calls} begun before the start, without a time"


def _quality(raw: Any, notes: Sequence[str]) -> Quality:
    """What the core says of its losses."""
    rows = [raw.rows[i] for i in range(raw.n_rows)]
    told = list(notes)
    before = sum(row.begun_before for row in rows)
    if before:
        told.append(_begun_before(before))
    return Quality(
        told,
        samples=sum(row.count for row in rows),
        lost=raw.loss.lost + raw.loss.dropped,
        unfinished=sum(row.unfinished for row in rows),
    )


def calls_of(raw: Any, rest: Any, names: SyscallNames, notes: Sequence[str]) -> PmuTraceData:
    """The core's calls, with the summary of what is not among them."""
    summary = ffi.gc(rest, lib.kp_call_summary_destroy)
    return PmuTraceData(raw, names, _quality(summary, notes))


def summary_of(raw: Any, names: SyscallNames, notes: Sequence[str]) -> CallSummary:
    """The core's summary, which is given back."""
    owner = ffi.gc(raw, lib.kp_call_summary_destroy)
    total = sum(owner.rows[i].total_ns for i in range(owner.n_rows))
    rows = [_row(owner, owner.rows[i], names, total) for i in range(owner.n_rows)]
    rows.sort(key=lambda row: (-row.total_ns, -row.count, row.syscall, row.pid, row.tid))
    return CallSummary(rows, _quality(owner, notes))
