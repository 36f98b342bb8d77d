"""What a read gives: rows as views on the core's columns, made when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex, Union

from kperf._core import ffi, lib
from kperf.errors import Error, KperfError, error
from kperf.topo import CpuTopology, Topology

if TYPE_CHECKING:
    from kperf.branches import SampleExt
    from kperf.events.event import Event
    from kperf.tracepoint import Format, Value

COUNTED = "counted"
NOT_COUNTED = "not-counted"
NOT_SUPPORTED = "not-supported"
_STATES = (COUNTED, NOT_COUNTED, NOT_SUPPORTED)

_COMM_BYTES = 16

# The columns of struct kp_counts: name, buffer format, bytes a row.
_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("count", "Q", 8),
    ("value", "Q", 8),
    ("enabled", "Q", 8),
    ("running", "Q", 8),
    ("event", "I", 4),
    ("cpu", "i", 4),
    ("pid", "i", 4),
    ("tid", "i", 4),
    ("state", "B", 1),
    ("comm", "B", _COMM_BYTES),
)

Number = Union[int, float]


class EventInfo:
    """What the rows of one event share."""

    __slots__ = ("event", "group", "name", "scale", "unit")

    def __init__(
        self,
        name: str,
        group: int,
        unit: str = "",
        scale: float = 1.0,
        event: Event | None = None,
    ) -> None:
        self.name = name
        self.group = group
        self.unit = unit
        self.scale = scale
        self.event = event  # as it was opened; None where that is not known


class Quality:
    """How far a result can be trusted. None: this kind of result has no such thing.

    samples           taken since the last read
    lost              samples the kernel or a full store had no room for
    throttled         times the kernel stopped an event that came too often
    unresolved        samples whose own address has no name
    truncated_stacks  samples whose call stack does not reach back to where its thread began
    notes             one sentence for each thing that was given up
    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        "samples",
        "lost",
        "throttled",
        "unresolved",
        "truncated_stacks",
        "aux_truncated",
        "aux_collisions",
        "unfinished",
    )

    def __init__(
        self,
        notes: Sequence[str] = (),
        *,
        samples: int | None = None,
        lost: int | None = None,
        throttled: int | None = None,
        unresolved: int | None = None,
        truncated_stacks: int | None = None,
        aux_truncated: int | None = None,
        aux_collisions: int | None = None,
        unfinished: int | None = None,
    ) -> None:
        self.samples = samples
        self.lost = lost
        self.throttled = throttled
        self.unresolved = unresolved
        self.truncated_stacks = truncated_stacks
        self.aux_truncated = aux_truncated
        self.aux_collisions = aux_collisions
        self.unfinished = unfinished
        self.notes = list(notes)

    def as_dict(self) -> dict[str, object]:
        return {**{name: getattr(self, name) for name in self.FIELDS}, "notes": list(self.notes)}


def column_view(owner: Any, pointer: Any, form: str, size: int) -> memoryview:
    """A read-only view that keeps the core's memory alive as long as anybody holds it."""
    # What holds the owner is called at the end, where an interrupt that Python code would raise is
    # printed and forgotten: so it is no Python code.
    kept = ffi.gc(pointer, partial(operator.is_, owner))
    raw: Any = memoryview(ffi.buffer(kept, size) if size else b"")
    view: memoryview = raw.cast(form).toreadonly()
    return view


class Columns:
    """The columns that rows read. free() empties it, and every row then says so."""

    __slots__ = ("comm", "cpu", "event", "events", "pid", "tid", "topology")

    comm: memoryview
    cpu: memoryview
    event: memoryview
    events: Sequence[EventInfo]
    pid: memoryview
    tid: memoryview
    topology: Topology

    def __getattr__(self, name: str) -> Any:
        # Reached only where a slot is empty, which is after free().
        if name in self._slots():
            raise error(
                Error.DATA_FREED,
                "this row's data was freed",
                hint="read rows before PmuData.free(), or keep the values and not the row",
            )
        raise AttributeError(name)

    @classmethod
    def _slots(cls) -> list[str]:
        return [name for kind in cls.__mro__ for name in getattr(kind, "__slots__", ())]

    @property
    def is_freed(self) -> bool:
        try:
            return not isinstance(self.events, Sequence)
        except KperfError:
            return True

    def clear(self) -> None:
        for name in self._slots():
            with suppress(AttributeError):  # some rows lack some of them
                delattr(self, name)


class _CountColumns(Columns):
    """The columns of counts."""

    __slots__ = ("count", "enabled", "running", "state", "ts", "value")

    count: memoryview
    enabled: memoryview
    running: memoryview
    state: memoryview
    ts: int
    value: memoryview


class Row:
    """One row of columns: its attributes are read when they are asked for, and tell of a task."""

    __slots__ = ("_columns", "_index")

    def __init__(self, columns: Any, index: int) -> None:
        self._columns = columns
        self._index = index

    # Loops over millions of rows read these: each is one expression, without a call.

    @property
    def pid(self) -> int:
        return self._columns.pid[self._index]  # type: ignore[no-any-return]

    @property
    def tid(self) -> int:
        return self._columns.tid[self._index]  # type: ignore[no-any-return]

    @property
    def cpu(self) -> int:
        """The logical CPU; -1 for a count over all CPUs."""
        return self._columns.cpu[self._index]  # type: ignore[no-any-return]

    @property
    def comm(self) -> str:
        """The name of its thread."""
        columns = self._columns
        return columns.comms[columns.comm[self._index]]  # type: ignore[no-any-return]


class ImplPmuData(Row):
    """A count of an event."""

    __slots__ = ()

    @property
    def ext(self) -> SampleExt | None:
        """What SPE or a branch filter recorded beside a sample; None without them."""
        return None

    @property
    def stack(self) -> Any:
        """Where it happened: a `Stack` for samples, None for counts."""
        return None

    @property
    def rawData(self) -> memoryview | None:
        """A sampled tracepoint's fields as they were recorded; None for everything else."""
        return None

    @property
    def format(self) -> Format | None:
        """How the raw data is read; None where there is none."""
        return None

    @property
    def fields(self) -> dict[str, Value]:
        """A sampled tracepoint's fields by name, decoded; empty for everything else."""
        return {}

    @property
    def period(self) -> int:
        """How many events a sample stands for; 0 for counts."""
        return 0

    @property
    def evt(self) -> str:
        columns = self._columns
        name: str = columns.events[columns.event[self._index]].name
        return name

    @property
    def groupId(self) -> int:
        columns = self._columns
        number: int = columns.events[columns.event[self._index]].group
        return number

    @property
    def unit(self) -> str:
        columns = self._columns
        unit: str = columns.events[columns.event[self._index]].unit
        return unit

    @property
    def ts(self) -> int:
        """When it was read: ns of CLOCK_MONOTONIC."""
        value: int = self._columns.ts
        return value

    @property
    def comm(self) -> str:
        first = self._index * _COMM_BYTES
        name = bytes(self._columns.comm[first : first + _COMM_BYTES])
        return name.partition(b"\0")[0].decode("utf-8", "replace")

    @property
    def count(self) -> Number:
        """Scaled for the time it was not counted, and by the machine's `.scale` (then a float)."""
        columns = self._columns
        value: int = columns.count[self._index]
        scale = columns.events[columns.event[self._index]].scale
        return value if scale == 1.0 else value * scale

    @property
    def rawCount(self) -> int:
        """As the kernel counted it."""
        value: int = self._columns.value[self._index]
        return value

    @property
    def countPercent(self) -> float:
        """The share of the enabled time in which it was counted; -1 if it never was."""
        columns, index = self._columns, self._index
        running: int = columns.running[index]
        enabled: int = columns.enabled[index]
        return running / enabled if running and enabled else -1.0

    @property
    def timeEnabled(self) -> int:
        """ns since the last read in which it was to be counted."""
        value: int = self._columns.enabled[self._index]
        return value

    @property
    def timeRunning(self) -> int:
        """ns since the last read in which it was counted."""
        value: int = self._columns.running[self._index]
        return value

    @property
    def state(self) -> str:
        """'counted', 'not-counted' (never scheduled) or 'not-supported'."""
        return _STATES[self._columns.state[self._index]]

    @property
    def cpuTopo(self) -> CpuTopology:
        columns = self._columns
        place: CpuTopology = columns.topology.cpu_topology(columns.cpu[self._index])
        return place

    def __repr__(self) -> str:
        if self._columns.is_freed:
            return "<kperf row, freed>"
        return (
            f"<kperf row {self.evt}: {self.count} ({self.state}), cpu {self.cpu}, "
            f"pid {self.pid}, tid {self.tid}>"
        )


class PmuData:
    """The rows of one read. Indexes, iterates and has a length; `free()` gives the memory back."""

    def __init__(
        self,
        counts: Any = None,
        events: Sequence[EventInfo] = (),
        topology: Topology | None = None,
        ts: int = 0,
        quality: Quality | None = None,
    ) -> None:
        self.quality = quality or Quality()
        self._columns: Any = _CountColumns()
        self._len = 0
        self.is_freed = False
        self._views: dict[str, memoryview] = {}
        if counts is None or topology is None:
            return
        owner = ffi.gc(counts, lib.kp_counts_destroy)
        self._len = owner.len
        for name, form, width in _COLUMNS:
            view = column_view(owner, getattr(owner, name), form, width * self._len)
            setattr(self._columns, name, view)
            self._views[name] = view
        self._columns.events = events
        self._columns.topology = topology
        self._columns.ts = ts

    @property
    def len(self) -> int:
        return self._len

    def __len__(self) -> int:
        return self._len

    @property
    def iter(self) -> Iterator[ImplPmuData]:
        """A new iterator over the rows."""
        row: Callable[[int], ImplPmuData] = self._row
        return map(row, range(self._len))

    def __iter__(self) -> Iterator[ImplPmuData]:
        return self.iter

    def __getitem__(self, index: SupportsIndex) -> ImplPmuData:
        number = operator.index(index)
        at = number + self._len if number < 0 else number
        if not 0 <= at < self._len:
            raise IndexError(f"row {number} of {self._len}")
        return self._row(at)

    def _row(self, index: int) -> ImplPmuData:
        return ImplPmuData(self._columns, index)

    def columns(self) -> dict[str, memoryview]:
        """The columns as read-only buffers without a copy; each keeps the memory alive by itself.

        `event` indexes `event_names`; `comm` has 16 bytes a row; times are ns.
        """
        return {name: memoryview(view) for name, view in self._views.items()}

    @property
    def event_names(self) -> list[str]:
        """The names that the `event` column indexes."""
        return [event.name for event in self._columns.events] if self._len else []

    @property
    def events(self) -> Sequence[EventInfo]:
        """What is known of the events that the `event` column indexes."""
        events: Sequence[EventInfo] = self._columns.events if self._len else ()
        return events

    def free(self) -> None:
        """Gives the memory back. Rows taken before raise from then on; buffers stay valid."""
        self._columns.clear()
        self._views = {}
        self._len = 0
        self.is_freed = True
