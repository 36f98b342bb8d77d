"""SPE data that was recorded before: raw AUX bytes, or a perf.data file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from kperf._core import ffi, lib
from kperf._native import last_failure, plain_error
from kperf.data import EventInfo
from kperf.errors import Error, error
from kperf.machine import Machine
from kperf.samples import Shown
from kperf.spe.data import Cores, SpeData
from kperf.spe.sources import Midr
from kperf.topo import Topology

_PIECE_BYTES = 1 << 24
_STORE_BYTES = 1 << 36  # address space, of which only what is used costs memory
_NO_SYMBOLS, _RESOLVE_ELF = 0, 1

EVENT_NAME = "spe"


class Keep(NamedTuple):
    """What is kept of the records."""

    rows: bool = True
    sums: bool = False
    lines: bool = False  # sums by cache line, too
    any_events: int = 0  # only records with at least one of these events; 0: all

    @property
    def flags(self) -> int:
        wanted = (
            (self.rows, lib.KP_SPE_ROWS),
            (self.sums, lib.KP_SPE_SUMS),
            (self.sums and self.lines, lib.KP_SPE_LINES),
        )
        return sum(int(flag) for is_wanted, flag in wanted if is_wanted)


_ROWS = Keep()


class Clock(NamedTuple):
    """How the generic timer becomes ns of the perf clock (perf_event_open(2), time_zero)."""

    zero: int
    mult: int
    shift: int
    cycles: int = 0
    mask: int = 0
    is_short: bool = False


class Chunk(NamedTuple):
    """Bytes of a CPU's AUX area, which follow what came before where the offset says so."""

    cpu: int
    offset: int
    content: Any  # a buffer


class _Decoding:
    """The core's decoder of recorded streams."""

    def __init__(self, keep: Keep, n_cpus: int, period: int) -> None:
        options = ffi.new("struct kp_spe_options *")
        options.period = period
        options.any_events = keep.any_events
        options.flags = keep.flags
        out = ffi.new("struct kp_spe_decoding **")
        _check(lib.kp_spe_decoding_create(options, _STORE_BYTES, n_cpus, out))
        self._raw = ffi.gc(out[0], lib.kp_spe_decoding_destroy)

    def set_clock(self, clock: Clock) -> None:
        raw = ffi.new("struct kp_spe_clock *")
        raw.zero, raw.mult, raw.shift = clock.zero, clock.mult, clock.shift
        raw.cycles, raw.mask, raw.is_short = clock.cycles, clock.mask, clock.is_short
        raw.known = 1
        lib.kp_spe_decoding_clock(self._raw, raw)

    def add_record(self, record: Any) -> None:
        _check(lib.kp_spe_decoding_record(self._raw, ffi.from_buffer(record), len(record)))

    def add_chunk(self, chunk: Chunk) -> None:
        content = ffi.from_buffer(chunk.content)
        lib.kp_spe_decoding_aux(self._raw, chunk.cpu, chunk.offset, content, len(content))

    def finish(self) -> Any:
        out = ffi.new("struct kp_samples **")
        _check(lib.kp_spe_decoding_finish(self._raw, out))
        return out[0]


def _check(code: int) -> None:
    if code != 0:
        raise plain_error(last_failure())


class Recorded(NamedTuple):
    """What a file holds of a recording with SPE."""

    chunks: Iterable[Chunk]
    records: Iterable[Any] = ()  # side-band, in order of time
    clock: Clock | None = None
    n_cpus: int = 1
    midrs: Mapping[int, Midr] = MappingProxyType({})
    period: int = 1
    kernel: str = ""  # the release of the kernel it was recorded on; "": not known
    notes: tuple[str, ...] = ()


_ELSEWHERE = "addresses have no names, as this was recorded on another machine or kernel"


def decode(recorded: Recorded, keep: Keep, machine: Machine) -> SpeData:
    """The records of a recording.

    Its core types are the recorded ones. Symbols are looked up only under the kernel that it was
    recorded on: another machine's files would give wrong names.
    """
    is_here = recorded.kernel != "" and recorded.kernel == machine.kernel
    elsewhere = () if is_here or not recorded.records else (_ELSEWHERE,)
    decoding = _Decoding(keep, recorded.n_cpus, recorded.period)
    if recorded.clock is not None:
        decoding.set_clock(recorded.clock)
    for record in recorded.records:
        decoding.add_record(record)
    for chunk in recorded.chunks:
        decoding.add_chunk(chunk)
    return SpeData(
        decoding.finish(),
        [EventInfo(EVENT_NAME, -1)],
        machine,
        Topology(machine),
        Shown(_RESOLVE_ELF if is_here else _NO_SYMBOLS, call_stack=False, branches=False),
        (*recorded.notes, *elsewhere),
        Cores(None, recorded.midrs),
        has_clock=recorded.clock is not None,
    )


def decode_spe(buffer: Any, *, midr: Midr | None = None) -> SpeData:
    """The records of raw AUX bytes (one CPU's), in their order, as rows with `ext`.

    `midr` is the implementer and part number of the core, as in MIDR_EL1, for the names of data
    sources. Raw bytes tell neither processes nor files: rows have pid and tid where the context
    stands in them, and addresses without symbols; `ts` is -1, and the generic timer is in
    `ext.timer`. Corrupt bytes are counted in `report` and told in `quality`. Raises `KperfError`.
    """
    return decode(Recorded([Chunk(0, 0, buffer)], midrs=_midrs(midr)), Keep(), Machine())


def _midrs(midr: Midr | None) -> dict[int, Midr]:
    """Of the one core that raw bytes are of."""
    return {} if midr is None else {0: midr}


def decode_file(
    path: str | os.PathLike[str], keep: Keep = _ROWS, *, midr: Midr | None = None
) -> SpeData:
    """The records of a file: raw AUX bytes, or a perf.data with SPE. Raises `KperfError`.

    `midr`: the core that raw bytes are of, which they do not tell.
    """
    from kperf.perfdata.file import MAGIC, PerfDataFile
    from kperf.spe.perfdata import read_perf_data

    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise _not_spe(path, "it is empty")
        if file.read(len(MAGIC)) != MAGIC:
            data = decode(Recorded(_Raw(file), midrs=_midrs(midr)), keep, Machine())
            if data.report.records == 0:
                raise _not_spe(path, "it has no SPE record")
            return data
    with PerfDataFile(os.fspath(path)) as recorded:
        return decode(read_perf_data(recorded), keep, Machine())


class _Raw:
    """A file of raw AUX bytes, piece by piece: it may be larger than the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Chunk]:
        self._file.seek(0)
        at = 0
        while piece := self._file.read(_PIECE_BYTES):
            yield Chunk(0, at, piece)
            at += len(piece)


def _not_spe(path: str | os.PathLike[str], why: str) -> Exception:
    return error(
        Error.INVALID_ARGUMENT,
        f"{os.fspath(path)} is no SPE recording: {why}",
        hint="give raw AUX bytes, or a perf.data with arm_spe_0",
    )
