"""What a read of samples gives: rows, call stacks and symbols as views on the core's columns."""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from struct import iter_unpack
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from kperf._core import ffi, lib
from kperf._native import last_failure, plain_error
from kperf.branches import BranchRecords, SampleExt
from kperf.cut_stacks import count_cut
from kperf.data import COUNTED, Columns, EventInfo, ImplPmuData, PmuData, Quality, Row, column_view
from kperf.errors import Error, KperfError, error
from kperf.machine import Machine
from kperf.symbols.symbol import KERNEL_MODULE, UNKNOWN, Symbol
from kperf.topo import Topology
from kperf.tracepoint import Format, Value, format_of, is_tracepoint

if TYPE_CHECKING:  # ELF files are no matter of who only collects
    from kperf.symbols.files import Mapping
    from kperf.symbols.image import BadFile
    from kperf.tasks import TaskEvent

# The columns of struct kp_samples: name, buffer format, bytes a row.
_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("time", "Q", 8),
    ("ip", "Q", 8),
    ("period", "Q", 8),
    ("pid", "i", 4),
    ("tid", "i", 4),
    ("cpu", "i", 4),
    ("event", "I", 4),
    ("comm", "I", 4),
    ("stack", "I", 4),
)

_MOST_FRAMES = 127  # of a stack, where the machine does not say (kernel.perf_event_max_stack)
_MOST_CHAINS = 65_536  # stacks kept as Python chains at a time

_Made = TypeVar("_Made")


class _Cache(dict[int, _Made]):
    """What was made for a number. A hit is a plain look-up, as every row makes some.

    Forgets everything when it is full: what is still in use keeps itself alive.
    """

    def __init__(self, make: Callable[[int], _Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, number: int) -> _Made:
        made = self._make(number)
        if len(self) >= _MOST_CHAINS:
            self.clear()
        self[number] = made
        return made


class Shown(NamedTuple):
    """What a session recorded, and how it is to be shown."""

    symbol_mode: int
    call_stack: bool
    branches: int  # the `BranchSampleFilter`; 0: none
    no_kernel: BadFile | None = None  # why the kernel's addresses mean nothing here


class _NoResolver:
    """Stands for the resolver where no names are wanted: addresses and their modules alone."""

    notes: ClassVar[list[str]] = []

    def symbols(
        self,
        mapping: Mapping | None,
        addresses: Sequence[int],
        *,
        kernel: bool,
        callers: Sequence[bool],
    ) -> list[Symbol]:
        module = KERNEL_MODULE if kernel else mapping.shown_path if mapping else UNKNOWN
        return [Symbol(address, module) for address in addresses]

    def close(self) -> None:
        pass


class Found(NamedTuple):
    """What is known of samples once their symbols are; None: not asked for."""

    unresolved: int | None
    truncated_stacks: int | None
    notes: list[str]


def _numbers(pointer: Any, form: str, n: int) -> Any:
    """An array of the core's, for as long as its owner lives."""
    raw: Any = memoryview(ffi.buffer(pointer, n * struct.calcsize(form)) if n else b"")
    return raw.cast(form)


class EventTimes(NamedTuple):
    """How long an event was to be sampled since the last read and how long it was, in ns."""

    enabled: int
    running: int

    @property
    def share(self) -> float:
        """1.0: all the time; -1: never."""
        return self.running / self.enabled if self.running else -1.0


class Stack:
    """One frame of a call stack, and the way outward (`next`) and inward (`prev`).

    `count` is the number of samples with the whole stack that this frame is a part of.
    """

    __slots__ = ("count", "next", "prev", "symbol")

    def __init__(self, symbol: Symbol, prev: Stack | None, count: int) -> None:
        self.symbol = symbol
        self.prev = prev
        self.next: Stack | None = None
        self.count = count


class Stacks:
    """The stacks and symbols of one read; symbols are looked up when the first one is asked for."""

    def __init__(self, raw: Any, machine: Machine, shown: Shown, quality: SampleQuality) -> None:
        self._raw = raw
        self._machine = machine
        self._quality = quality
        self._shown = shown
        self._symbols: list[Symbol] | None = None
        self._functions: dict[int, range] = {}  # of frames that hold inlined functions
        self._counts: list[int] = []
        self._stack_frame = _numbers(raw.stack_frame, "Q", raw.n_stacks)
        self._stack_parent = _numbers(raw.stack_parent, "I", raw.n_stacks)
        self._frame_address = _numbers(raw.frame_address, "Q", raw.n_frames)
        self._frame_mapping = _numbers(raw.frame_mapping, "I", raw.n_frames)
        # Functions and not methods: a method would make a cycle, and the core's memory wait for it.
        this = weakref.proxy(self)
        self.chains: _Cache[Stack | None] = _Cache(lambda node: Stacks._link(this, node))
        self.frames: _Cache[tuple[Symbol, ...]] = _Cache(lambda node: Stacks._frames_of(this, node))
        self.names: _Cache[tuple[str, ...]] = _Cache(lambda node: Stacks._names_of(this, node))
        self.comms: _Cache[str] = _Cache(lambda number: Stacks.string(this, number))

    # ---- symbols ----

    @property
    def symbols(self) -> list[Symbol]:
        """The symbol of each frame, frame 0 being none; behind them those of inlined functions."""
        if self._symbols is None:
            self._symbols = self._resolve()
        return self._symbols

    def _resolve(self) -> list[Symbol]:
        resolver = self._resolver()
        symbols = [Symbol(0, "")] * self._raw.n_frames
        for number, frames in self._frames_by_mapping().items():
            named = resolver.symbols(
                self.mapping(number),
                [self._frame_address[frame] for frame in frames],
                kernel=number == lib.KP_MAPPING_KERNEL,
                callers=[self._frame_mapping[frame] & _CALLER != 0 for frame in frames],
            )
            for frame, symbol in zip(frames, named):
                symbols[frame] = symbol
        resolver.close()
        self._count_frames(symbols)
        self._quality.tell(self._found(symbols, resolver.notes))
        self._expand(symbols)
        return symbols

    def _expand(self, symbols: list[Symbol]) -> None:
        """Gives the functions of frames that hold inlined ones numbers of their own."""
        for frame in range(1, self._raw.n_frames):
            functions = symbols[frame].expanded
            if functions:
                self._functions[frame] = range(len(symbols), len(symbols) + len(functions))
                for function in functions:
                    function.count = symbols[frame].count
                symbols.extend(functions)

    def _resolver(self) -> Any:
        if self._shown.symbol_mode == _NO_SYMBOLS:
            return _NoResolver()
        from kperf.symbols.resolver import Resolver

        return Resolver(
            self._machine,
            lines=self._shown.symbol_mode == _WITH_LINES,
            inlined=self._shown.call_stack,
            no_kernel=self._shown.no_kernel,
        )

    def _frames_by_mapping(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for frame in range(1, self._raw.n_frames):
            found.setdefault(self.mapping_number(frame), []).append(frame)
        return found

    def mapping_number(self, frame: int) -> int:
        """The mapping that a frame lies in, or a kp_mapping_number."""
        return int(self._frame_mapping[frame] & ~_CALLER) - 1

    def _found(self, symbols: Sequence[Symbol], notes: list[str]) -> Found:
        """What looking the symbols up brought to light."""
        if self._shown.symbol_mode == _NO_SYMBOLS:
            return Found(None, None, notes)
        unresolved = sum(
            count
            for frame, count in zip(self._stack_frame, self._counts)
            if count and not symbols[frame].resolved
        )
        return Found(unresolved, self._count_cut(symbols), notes)

    def _count_cut(self, symbols: Sequence[Symbol]) -> int | None:
        if not self._shown.call_stack:
            return None
        return count_cut(
            self._stack_parent,
            self._stack_frame,
            self._counts,
            symbols,
            self.kernel_addresses(),
            self._machine.max_stack or _MOST_FRAMES,
        )

    def mapping(self, number: int) -> Mapping | None:
        """What is mapped, by its number; None where there is no such mapping."""
        from kperf.symbols.resolver import Mapping

        if not 0 <= number < self._raw.n_mappings:
            return None
        raw = self._raw.mappings[number]
        return Mapping(
            start=raw.start,
            end=raw.end,
            offset=raw.offset,
            path=os.fsdecode(self.string_bytes(raw.path)),
            build_id=bytes(ffi.buffer(raw.build_id, raw.build_id_size)),
            inode=raw.inode,
            device=(raw.device_major, raw.device_minor),
            pid=raw.pid,
        )

    def _count_frames(self, symbols: Sequence[Symbol]) -> None:
        raw = self._raw
        stacks = ffi.new("uint64_t[]", max(1, raw.n_stacks))
        below = ffi.new("uint64_t[]", max(1, raw.n_stacks))
        frames = ffi.new("uint64_t[]", max(1, raw.n_frames))
        lib.kp_samples_occurrences(raw, stacks, below, frames)
        self._counts = list(stacks)
        for symbol, count in zip(symbols[1:], list(frames)[1:]):
            symbol.count = count

    def string_bytes(self, number: int) -> bytes:
        """A name as the kernel gave it, which may be no UTF-8."""
        raw = self._raw
        return bytes(ffi.string(raw.strings + raw.string_offset[number]))

    def string(self, number: int) -> str:
        return self.string_bytes(number).decode("utf-8", "replace")

    # ---- stacks ----

    @property
    def nodes(self) -> tuple[Sequence[int], Sequence[int]]:
        """Of each node its caller's (0: none) and its frame. A node stands after its caller's."""
        return self._stack_parent, self._stack_frame

    def frame_numbers(self, node: int) -> list[int]:
        """The frames of a stack from the innermost out: one an address."""
        frames, parents, numbers = self._stack_frame, self._stack_parent, []
        while node:
            numbers.append(frames[node])
            node = parents[node]
        return numbers

    @property
    def inlined(self) -> dict[int, range]:
        """Of frames that hold inlined functions: these from the innermost out."""
        self.symbols  # noqa: B018  # tells which were inlined
        return self._functions

    def function_numbers(self, node: int) -> list[int]:
        """The functions of a stack from the innermost out, as numbers of `symbols`.

        They are its frames, but for frames that hold inlined functions: there, each has its own.
        """
        self.symbols  # noqa: B018  # tells which were inlined
        functions = self._functions
        if not functions:
            return self.frame_numbers(node)
        return [
            number
            for frame in self.frame_numbers(node)
            for number in functions.get(frame, (frame,))
        ]

    @property
    def addresses(self) -> Sequence[int]:
        """Of each frame its address; that of frame 0 means nothing."""
        addresses: Sequence[int] = self._frame_address
        return addresses

    def mapping_path(self, number: int) -> bytes:
        """The path of a mapping as the kernel gave it."""
        return self.string_bytes(self._raw.mappings[number].path)

    def mappings_hit(self) -> set[int]:
        """The numbers of the mappings that frames lie in; the kernel's is none."""
        numbers = set(map(self.mapping_number, range(1, self._raw.n_frames)))
        return {number for number in numbers if 0 <= number < self._raw.n_mappings}

    def kernel_frames(self) -> list[bool]:
        """Of each of `symbols` whether it is the kernel's; inlined functions never are."""
        frames = self.kernel_addresses()
        return frames + [False] * (len(self.symbols) - len(frames))

    def kernel_addresses(self) -> list[bool]:
        """Of each frame whether it is the kernel's; looks no symbol up."""
        kernel = lib.KP_MAPPING_KERNEL
        return [self.mapping_number(frame) == kernel for frame in range(self._raw.n_frames)]

    def _frames_of(self, node: int) -> tuple[Symbol, ...]:
        symbols = self.symbols
        return tuple(symbols[number] for number in self.function_numbers(node))

    def _names_of(self, node: int) -> tuple[str, ...]:
        return tuple(symbol.symbolName for symbol in self.frames[node])

    def _link(self, node: int) -> Stack | None:
        """The contract's linked list of a stack: one a stack, shared by its samples."""
        if self._shown.symbol_mode == _NO_SYMBOLS:
            return None
        first = previous = None
        frames = self.frames[node]
        count = self._counts[node]
        for symbol in frames:
            link = Stack(symbol, previous, count)
            if previous is None:
                first = link
            else:
                previous.next = link
            previous = link
        return first


_NO_SYMBOLS, _WITH_LINES = 0, 2
_CALLER = int(lib.KP_FRAME_CALLER)


class SampleColumns(Columns):
    """The columns that rows of samples read."""

    __slots__ = (
        "chains",
        "comms",
        "extra",
        "extra_at",
        "extra_size",
        "formats",
        "frames",
        "has_branches",
        "ip",
        "names",
        "period",
        "stack",
        "stacks",
        "time",
        "times",
    )


class SampleRow(ImplPmuData):
    """One sample of an event."""

    __slots__ = ()

    @property
    def count(self) -> int:
        return 1

    @property
    def rawCount(self) -> int:
        return 1

    @property
    def countPercent(self) -> float:
        """The share of the enabled time in which its event was sampled."""
        share = self._times.share
        return share if share > 0 else 1.0  # it came in the instant after the times were read

    @property
    def timeEnabled(self) -> int:
        """ns since the last read in which its event was to be sampled, over all tasks and CPUs."""
        return self._times.enabled

    @property
    def timeRunning(self) -> int:
        """ns of these in which it was sampled."""
        return self._times.running

    @property
    def _times(self) -> EventTimes:
        columns = self._columns
        times: EventTimes = columns.times[columns.event[self._index]]
        return times

    @property
    def state(self) -> str:
        return COUNTED

    # ---- a tracepoint's fields ----

    @property
    def format(self) -> Format | None:
        """How the raw data is read; None for what is no tracepoint."""
        columns = self._columns
        form: Format | None = columns.formats[columns.event[self._index]]
        return form

    @property
    def rawData(self) -> memoryview | None:
        """A tracepoint's fields as they were recorded; None for other events."""
        return None if self.format is None else self._extra()

    def _extra(self) -> memoryview:
        """What was recorded beside the sample: raw data or branches."""
        columns, index = self._columns, self._index
        first: int = columns.extra_at[index]
        extra: memoryview = columns.extra[first : first + columns.extra_size[index]]
        return extra

    @property
    def fields(self) -> dict[str, Value]:
        """A tracepoint's fields by name, decoded; empty for other events."""
        form, raw = self.format, self.rawData
        return {} if form is None or raw is None else form.decode(raw)

    # Loops over millions of rows read these: each is one expression, without a call.

    @property
    def ts(self) -> int:
        """When it was taken: ns of CLOCK_MONOTONIC."""
        return self._columns.time[self._index]  # type: ignore[no-any-return]

    @property
    def period(self) -> int:
        """How many events this sample stands for."""
        return self._columns.period[self._index]  # type: ignore[no-any-return]

    comm = Row.comm  # a number stands for it, not its bytes

    @property
    def ext(self) -> SampleExt | None:
        """The branches that led to it, with a branch filter; else None."""
        if not self._columns.has_branches:
            return None
        return SampleExt(BranchRecords(bytes(self._extra())))

    @property
    def stack(self) -> Stack | None:
        """The sampled frame, linked outward; None with NO_SYMBOL_RESOLVE."""
        columns = self._columns
        return columns.chains[columns.stack[self._index]]  # type: ignore[no-any-return]

    @property
    def frames(self) -> tuple[Symbol, ...]:
        """The symbols of the stack, innermost first."""
        columns = self._columns
        return columns.frames[columns.stack[self._index]]  # type: ignore[no-any-return]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        columns = self._columns
        return columns.names[columns.stack[self._index]]  # type: ignore[no-any-return]


class SampleData(PmuData):
    """The samples of one read, in order of time."""

    _columns_type: ClassVar[type[SampleColumns]] = SampleColumns

    def __init__(
        self,
        raw: Any,
        events: Sequence[EventInfo],
        machine: Machine,
        topology: Topology,
        shown: Shown,
        notes: Sequence[str],
    ) -> None:
        super().__init__()
        owner = ffi.gc(raw, lib.kp_samples_destroy)
        self._raw = owner
        self._columns = self._columns_type()
        self._len = owner.len
        self._views = {
            name: column_view(owner, getattr(owner, name), form, width * self._len)
            for name, form, width in _COLUMNS
        }
        for name, view in self._views.items():
            setattr(self._columns, name, view)
        self._columns.events = events
        self._columns.topology = topology
        self.machine = machine
        self.shown = shown
        losses = [owner.loss[i] for i in range(owner.n_events)]
        times = [EventTimes(loss.enabled, loss.running) for loss in losses]
        self._columns.times = times
        told = [*notes, *_of_losses(events, losses), *_of_times(events, times)]
        quality = _quality(owner, losses, told)
        self._stacks: Stacks | None = Stacks(owner, machine, shown, quality)
        quality.ask(self._stacks)
        self.quality = quality
        self._columns.has_branches = bool(shown.branches)
        for name in ("chains", "comms", "frames", "names"):
            setattr(self._columns, name, getattr(self._stacks, name))
        self._columns.stacks = self._stacks
        self._show_raw(owner, machine)

    def _show_raw(self, owner: Any, machine: Machine) -> None:
        """The tracepoints' fields, described when the first one is asked for."""
        columns = self._columns
        has_raw = owner.extra_at != ffi.NULL
        columns.extra_at = column_view(owner, owner.extra_at, "Q", 8 * self._len * has_raw)
        columns.extra_size = column_view(owner, owner.extra_size, "I", 4 * self._len * has_raw)
        columns.extra = column_view(owner, owner.extra, "B", owner.n_extra)
        names = [event.name for event in columns.events]
        is_raw = [has_raw and is_tracepoint(name) for name in names]
        columns.formats = _Cache(
            lambda number: format_of(machine, names[number]) if is_raw[number] else None
        )

    @property
    def stacks(self) -> Stacks:
        """The stacks and symbols of these samples."""
        if self._stacks is None:
            raise _freed()
        return self._stacks

    @property
    def span_ns(self) -> int:
        """From the first sample to the last."""
        times = self._columns.time
        return int(times[-1] - times[0]) if self._len else 0

    @property
    def event_times(self) -> Sequence[EventTimes]:
        """How long each event was to be sampled and was, in the order of `event_names`."""
        times: Sequence[EventTimes] = self._columns.times
        return times

    @property
    def events(self) -> Sequence[EventInfo]:
        """What is known of the events, whether there are samples of them or not."""
        return () if self.is_freed else self._columns.events

    def task_events(self) -> Iterator[TaskEvent]:
        """What happened to the processes up to the time of the read, in order of time."""
        from kperf.tasks import task_events

        if self._raw is None:
            raise _freed()
        return task_events(self._raw)

    def lost(self, event: int) -> int:
        """How many samples of an event are missing, for whatever cause."""
        if self._raw is None:
            raise _freed()
        loss = self._raw.loss[event]
        return int(loss.lost + loss.lost_samples + loss.dropped)

    @property
    def extras(self) -> Iterator[bytes] | None:
        """Beside each sample its raw data or branches; None where neither was recorded."""
        columns = self._columns
        if self._len and not columns.extra_size:
            return None
        extra = columns.extra
        return (
            bytes(extra[first : first + size])
            for first, size in zip(columns.extra_at, columns.extra_size)
        )

    @property
    def iter(self) -> Iterator[ImplPmuData]:
        """A new iterator over the rows."""
        return map(SampleRow, repeat(self._columns), range(self._len))

    def _row(self, index: int) -> SampleRow:
        return SampleRow(self._columns, index)

    def free(self) -> None:
        """Gives the memory back. Rows taken before raise from then on; buffers stay valid."""
        super().free()
        self._raw = self._stacks = None

    def branches(self) -> list[BranchSum]:
        """The branches before all samples, added up; none without a branch filter."""
        if self._raw is None:
            raise _freed()
        size = self._raw.n_branches * ffi.sizeof("struct kp_branch_row")
        raw = ffi.buffer(self._raw.branches, size) if size else b""
        return list(map(BranchSum._make, iter_unpack(_BRANCH_ROW, raw)))

    def hot(self, keys: int) -> list[HotRow]:
        """The samples added up by some of `HotKey`."""
        if self._raw is None:
            raise _freed()
        rows, n = ffi.new("struct kp_hot_row **"), ffi.new("size_t *")
        if lib.kp_samples_hot(self._raw, keys, rows, n) != 0:
            raise plain_error(last_failure())
        try:
            raw = ffi.buffer(rows[0], n[0] * ffi.sizeof("struct kp_hot_row"))
            return list(map(HotRow._make, iter_unpack(_HOT_ROW, raw)))
        finally:
            lib.kp_hot_destroy(rows[0])


class BranchSum(NamedTuple):
    """Branches of one event between two frames (numbers of `Stacks.symbols`): struct kp_branch_row.

    mispredicted, predicted: how often the hardware says so. cycles: since the branch before, over
    `timed` of them.
    """

    taken: int
    mispredicted: int
    predicted: int
    cycles: int
    timed: int
    event: int
    origin: int
    target: int


_BRANCH_ROW = "=QQQQQIII4x"


class HotRow(NamedTuple):
    """Samples that have the chosen keys in common; the other keys are 0."""

    samples: int
    period: int
    event: int
    frame: int
    stack: int
    comm: int
    pid: int
    tid: int
    cpu: int


_HOT_ROW = "=QQIIIIiii4x"  # struct kp_hot_row


class HotKey:
    """What samples may be added up by."""

    EVENT = lib.KP_HOT_EVENT
    FRAME = lib.KP_HOT_FRAME
    STACK = lib.KP_HOT_STACK
    COMM = lib.KP_HOT_COMM
    PID = lib.KP_HOT_PID
    TID = lib.KP_HOT_TID
    CPU = lib.KP_HOT_CPU


def _freed() -> KperfError:
    return error(
        Error.DATA_FREED, "these samples were freed", hint="add them up before PmuData.free()"
    )


class SampleQuality(Quality):
    """The quality of samples. What only their symbols tell is looked up when it is asked for."""

    def ask(self, stacks: Stacks) -> None:
        """Has the rest told by these stacks: later, and not kept alive for it."""
        self._stacks = weakref.ref(stacks)
        self._told = self.notes
        for name in Found._fields:  # until then __getattr__ stands for them
            delattr(self, name)

    def tell(self, found: Found) -> None:
        self.unresolved, self.truncated_stacks = found.unresolved, found.truncated_stacks
        self.notes = [*self._told, *found.notes]

    def __getattr__(self, name: str) -> Any:
        if name not in Found._fields:
            raise AttributeError(name)
        stacks = self._stacks()
        if stacks is None:  # freed before anybody asked
            self.tell(Found(None, None, []))
        else:
            stacks.symbols  # noqa: B018  # tells
        return getattr(self, name)


def _of_losses(events: Sequence[EventInfo], losses: Sequence[Any]) -> list[str]:
    """What went lost, by event."""
    found = []
    for event, loss in zip(events, losses):
        lost = loss.lost + loss.lost_samples
        if lost:
            found.append(f"{event.name}: {lost} samples lost, as the buffer was full")
        if loss.dropped:
            found.append(f"{event.name}: {loss.dropped} samples dropped, as the store was full")
        if loss.throttled:
            found.append(f"{event.name}: throttled {loss.throttled} times by the kernel")
    return found


_ALWAYS = 0.995  # a share that is shown as 100%


def _of_times(events: Sequence[EventInfo], times: Sequence[EventTimes]) -> list[str]:
    """Events that had no counter for a part of their time."""
    return [
        f"{event.name}: sampled in {max(spent.share, 0):.0%} of its time, as events share the PMU"
        for event, spent in zip(events, times)
        if spent.enabled and spent.share < _ALWAYS
    ]


def _quality(raw: Any, losses: Sequence[Any], notes: Sequence[str]) -> SampleQuality:
    """What became of the samples, added up over the events; by event in the notes."""
    found = list(notes)
    if raw.branches_dropped:
        found.append(f"{raw.branches_dropped:,} branches found no room among the hot ones")
    if raw.side_lost:
        found.append(
            f"{raw.side_lost} records of processes and mappings lost: names may be missing"
        )
    return SampleQuality(
        found,
        samples=raw.len,
        lost=sum(loss.lost + loss.lost_samples + loss.dropped for loss in losses),
        throttled=sum(loss.throttled for loss in losses),
    )
