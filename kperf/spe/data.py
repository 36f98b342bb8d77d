"""SPE records as rows: a sample each, with what the operation did in `ext`."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf.branches import BranchRecords
from kperf.data import EventInfo, ImplPmuData
from kperf.machine import Machine
from kperf.samples import SampleColumns, SampleData, SampleRow, Shown
from kperf.spe.events import event_names
from kperf.spe.operations import SpeOp, operation
from kperf.spe.sources import Midr, source_of
from kperf.spe.sums import SpeSums
from kperf.topo import Topology

# struct kp_spe_record
_RECORD = struct.Struct("=7Q2I5H4BH")


class _Record(NamedTuple):
    time: int
    pc: int
    target: int
    previous: int
    va: int
    pa: int
    events: int
    context: int
    source: int
    total: int
    issue: int
    translation: int
    op: int
    has: int
    pc_level: int
    target_level: int
    va_tag: int
    pa_attributes: int
    reserved: int


class SpeExt:
    """What an SPE record tells; None: the record does not tell it.

    `pa` and `va` are the addresses of a load or store, `event` has a bit for each of its events,
    `lat` is its whole latency in cycles, `source` the chip's code for where a load's data came
    from, `op` a `SpeOp`.
    """

    __slots__ = ("_midr", "_record")

    branchRecords = BranchRecords(b"")

    def __init__(self, raw: Any, midr: Midr | None) -> None:
        self._record = _Record._make(_RECORD.unpack(raw))
        self._midr = midr

    def _field(self, name: str, bit: int) -> int | None:
        value: int = getattr(self._record, name)
        return value if self._record.has & bit else None

    @property
    def pa(self) -> int | None:
        """The physical address, with PA_ENABLE and the privilege for it."""
        return self._field("pa", lib.KP_SPE_HAS_PA)

    @property
    def va(self) -> int | None:
        """The virtual address, without its tag."""
        return self._field("va", lib.KP_SPE_HAS_VA)

    @property
    def tag(self) -> int | None:
        """The top byte of the virtual address as the program gave it."""
        return self._field("va_tag", lib.KP_SPE_HAS_VA)

    @property
    def event(self) -> int:
        """The events as bits: see `SpeEventFilter`, and `eventNames`."""
        return self._record.events

    @property
    def eventNames(self) -> list[str]:
        """The events in words, as `kperf spe --event` takes them."""
        return event_names(self._record.events)

    @property
    def lat(self) -> int | None:
        """Cycles from dispatch to the end; at the counter's largest value, that many or more."""
        return self._field("total", lib.KP_SPE_HAS_TOTAL)

    @property
    def issueLat(self) -> int | None:
        """Cycles from dispatch to issue."""
        return self._field("issue", lib.KP_SPE_HAS_ISSUE)

    @property
    def translationLat(self) -> int | None:
        """Cycles for the translation of the address."""
        return self._field("translation", lib.KP_SPE_HAS_TRANSLATION)

    @property
    def source(self) -> int | None:
        """The code of where a load's data came from; what it means is the core's."""
        return self._field("source", lib.KP_SPE_HAS_SOURCE)

    @property
    def sourceName(self) -> str | None:
        """The same in words, where this core's codes are known."""
        code = self.source
        return None if code is None else source_of(self._midr, code).name

    @property
    def op(self) -> SpeOp:
        """What kind of operation it was."""
        return operation(self._record.op) if self._record.has & lib.KP_SPE_HAS_OP else SpeOp.NONE

    @property
    def target(self) -> int | None:
        """Where a branch went."""
        return self._field("target", lib.KP_SPE_HAS_TARGET)

    @property
    def previousTarget(self) -> int | None:
        """Where the branch taken before it went."""
        return self._field("previous", lib.KP_SPE_HAS_PREVIOUS)

    @property
    def context(self) -> int | None:
        """The thread by the context register."""
        return self._field("context", lib.KP_SPE_HAS_CONTEXT)

    @property
    def timer(self) -> int | None:
        """The generic timer when it was sampled."""
        return self._field("time", lib.KP_SPE_HAS_TIME)


class SpeRow(SampleRow):
    """One SPE record: a sample with `ext`."""

    __slots__ = ()

    @property
    def ext(self) -> SpeExt:  # type: ignore[override]
        """What the record tells of the operation."""
        columns = self._columns
        midr = columns.midrs(columns.cpu[self._index])
        return SpeExt(self._extra(), midr)

    @property
    def rawData(self) -> None:
        return None

    @property
    def ts(self) -> int:
        """When it was sampled, in ns of CLOCK_MONOTONIC; of files: of perf's clock. -1: unknown."""
        return self._columns.time[self._index] if self._columns.has_clock else -1


class Cores:
    """The core types of CPUs, as data sources are named by them."""

    def __init__(self, machine: Machine | None, known: Mapping[int, Midr] | None = None) -> None:
        """`machine`: where CPUs that are not known are looked up, if they are its own."""
        self._machine = machine
        self._known: dict[int, Midr | None] = dict(known or {})

    def __call__(self, cpu: int) -> Midr | None:
        if cpu not in self._known:
            self._known[cpu] = self._machine.midr_of(cpu) if self._machine and cpu >= 0 else None
        return self._known[cpu]


class SpeReport(NamedTuple):
    """What became of SPE data since the last read."""

    bytes: int
    records: int
    corrupt: int  # bytes that begin no packet
    cut: int  # records that lack their end
    truncated: int  # times that the AUX area was full
    partial: int  # times that the hardware lost data
    collisions: int  # times that samples fell on one another
    filtered: int  # records without any of the events that were asked for
    lines_dropped: int  # accesses to cache lines that were forgotten
    aux_bytes: int  # of the smallest AUX area; 0: none
    spool_errno: int  # why records could not be written to a file any more; 0: they could

    @property
    def notes(self) -> list[str]:
        """One sentence for each thing that went wrong."""
        told = (
            (self.truncated, "the AUX area was full {:,} times, and records went lost"),
            (self.partial, "the hardware lost records {:,} times"),
            (self.collisions, "samples collided {:,} times: a longer period avoids that"),
            (self.corrupt, "{:,} corrupt bytes in the SPE data"),
            (self.cut, "{:,} SPE records were cut"),
            (self.lines_dropped, "{:,} accesses to cold cache lines were forgotten"),
        )
        return [words.format(n) for n, words in told if n]


def _report_of(raw: Any) -> SpeReport:
    return SpeReport._make(getattr(raw.spe, name) for name in SpeReport._fields)


class _SpeColumns(SampleColumns):
    """The columns that rows of SPE records read."""

    __slots__ = ("has_clock", "midrs")


class SpeData(SampleData):
    """The SPE records of one read, in order of time; `sums` has those that were added up."""

    _columns_type = _SpeColumns

    def __init__(
        self,
        raw: Any,
        events: Sequence[EventInfo],
        machine: Machine,
        topology: Topology,
        shown: Shown,
        notes: Sequence[str],
        cores: Cores,
        has_clock: bool = True,
    ) -> None:
        self.report = _report_of(raw)
        super().__init__(raw, events, machine, topology, shown, [*notes, *self.report.notes])
        self.machine = machine
        self._shown_as = shown
        self.cores = cores
        self._columns.midrs = cores
        self._columns.has_clock = has_clock
        quality = self.quality
        quality.aux_truncated = self.report.truncated + self.report.partial
        quality.aux_collisions = self.report.collisions
        quality.samples = sum(raw.loss[i].samples for i in range(raw.n_events))

    @cached_property
    def sums(self) -> SpeSums | None:
        """The records added up, where the session was asked for that."""
        raw = self._raw
        if raw is None or raw.sums == ffi.NULL:
            return None
        return SpeSums(raw, self.machine, self._shown_as)

    @property
    def raw(self) -> Any:
        """The core's result, as long as it was not freed."""
        return self._raw

    @property
    def iter(self) -> Iterator[ImplPmuData]:
        """A new iterator over the rows."""
        return map(SpeRow, repeat(self._columns), range(self._len))

    def _row(self, index: int) -> SpeRow:
        return SpeRow(self._columns, index)
