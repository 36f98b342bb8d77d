"""SPE records that were added up while they came: what tables are made of."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf.machine import Machine
from kperf.samples import SampleQuality, Shown, Stacks
from kperf.symbols.symbol import Symbol

_CELL = struct.Struct("=5Q2I2H4x")  # struct kp_spe_cell
_LINE = struct.Struct("=3Qi4B")  # struct kp_spe_line


class Cell(NamedTuple):
    """Records of one instruction, and alike in all but the exact latency."""

    symbol: Symbol
    pid: int
    cpu: int  # of the first
    events: int
    samples: int
    total: int  # sums of latencies in cycles
    issue: int
    translation: int
    source: int
    bucket: int  # of the total latency: see `bucket_range`
    op: int
    has: int


class Access(NamedTuple):
    """Accesses of one thread by one instruction to one byte of a cache line."""

    symbol: Symbol
    pid: int
    tid: int
    comm: str
    line: int  # address of the line
    samples: int
    total: int
    owner: int  # the process whose address it is; 0: the same for all
    offset: int
    writes: int
    physical: int


def bucket_range(bucket: int) -> tuple[int, int]:
    """The latencies of a bucket in cycles, the second one excluded."""
    ends = ffi.new("uint64_t[2]")
    lib.kp_bucket_range(bucket, ends, ends + 1)
    return ends[0], ends[1]


class SpeSums:
    """The sums of one read, with the symbols of their instructions."""

    def __init__(self, owner: Any, machine: Machine, shown: Shown) -> None:
        self._owner = owner  # the memory is its
        self._raw = owner.sums
        self.quality = SampleQuality()
        self._stacks = Stacks(self._raw, machine, shown, self.quality)
        self.quality.ask(self._stacks)
        self._extra = ffi.buffer(self._raw.extra, self._raw.n_extra) if self._raw.n_extra else b""

    def _rows(self, form: struct.Struct) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The rows whose raw bytes are of this kind, which their size tells."""
        raw = self._raw
        for row in range(raw.len):
            if raw.extra_size[row] == form.size:
                yield row, form.unpack_from(self._extra, raw.extra_at[row])

    def _symbol(self, row: int) -> Symbol:
        raw = self._raw
        number: int = raw.stack_frame[raw.stack[row]]
        return self._stacks.symbols[number]

    def cells(self) -> Iterator[Cell]:
        """Sums by instruction, events, source, operation and latency."""
        raw = self._raw
        for row, (events, samples, total, issue, translation, *rest) in self._rows(_CELL):
            yield Cell(
                self._symbol(row), raw.pid[row], raw.cpu[row],
                events, samples, total, issue, translation, *rest,
            )  # fmt: skip

    def accesses(self) -> Iterator[Access]:
        """Sums by cache line, thread and instruction."""
        raw = self._raw
        for row, (line, samples, total, owner, offset, writes, physical, _) in self._rows(_LINE):
            yield Access(
                self._symbol(row), raw.pid[row], raw.tid[row], self._stacks.comms[raw.comm[row]],
                line, samples, total, owner, offset, writes, physical,
            )  # fmt: skip
