"""perf.data files with SPE: side-band, clock, core types and AUX bytes.

Format: Documentation/perf.data-file-format.txt of Linux's tools/perf. Nothing in a file is trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.perfdata.file import AUXTRACE, COMPRESSED, Attribute, PerfDataFile
from kperf.spe.decode import Chunk, Clock, Recorded
from kperf.spe.sources import Midr

_RECORD = struct.Struct("<IHH")

# Records by type: those of perf's own, and side-band in the kernel's numbers.
_AUXTRACE_INFO, _TIME_CONV = 70, 79
_SIDE_BAND = (2, 3, 4, 7, 10, 11, 12, 14, 15)

_INFO_ARM_SPE = 4
_CPU_MAGIC = 0x1010101010101010

# What stands at a record's end, in this order (sample_id_all): bit of sample_type, name.
_TRAILER = ((1, "tid"), (2, "time"), (6, "id"), (9, "stream"), (7, "cpu"), (16, "identifier"))
_OURS = struct.Struct("<iiQiIQ")  # pid, tid, time, cpu, reserved, identifier


class _Side(NamedTuple):
    time: int
    record: bytes


class _Area(NamedTuple):
    """Where AUX bytes of a CPU lie in the file."""

    cpu: int
    offset: int
    at: int
    size: int


class _Chunks:
    """The AUX bytes, read when they are iterated over: a file may be larger than the memory."""

    def __init__(self, file: PerfDataFile, areas: Sequence[_Area]) -> None:
        self._file = file
        self._areas = areas

    def __iter__(self) -> Iterator[Chunk]:
        for area in self._areas:
            yield Chunk(area.cpu, area.offset, self._file.part(area.at, area.size))


def _midr(register: int) -> Midr:
    return register >> 24 & 0xFF, register >> 4 & 0xFFF


def _cpuid(file: PerfDataFile) -> Midr | None:
    """The core type that it was recorded on, where it is an Arm core."""
    try:
        return _midr(int(file.cpuid, 16))
    except ValueError:
        return None


def _trailer(attribute: Attribute) -> tuple[str, ...]:
    """What stands at the end of this event's side-band."""
    if not attribute.sample_id_all:
        return ()
    return tuple(name for bit, name in _TRAILER if attribute.sample_type >> bit & 1)


def _rewritten(raw: bytes, names: tuple[str, ...]) -> _Side | None:
    """A side-band record with our trailer for its own."""
    size = 8 * len(names)
    if len(raw) < _RECORD.size + size:
        return None
    words = struct.unpack_from(f"<{len(names)}Q", raw, len(raw) - size) if names else ()
    told = dict(zip(names, words))
    task = told.get("tid", (1 << 64) - 1)
    cpu = told.get("cpu", 0) & 0x7FFFFFFF
    time = told.get("time", 0)
    trailer = _OURS.pack(
        _signed(task), _signed(task >> 32), time, cpu, 0, told.get("identifier", told.get("id", 0))
    )
    kind, misc, _ = _RECORD.unpack_from(raw)
    body = raw[_RECORD.size : len(raw) - size]
    head = _RECORD.pack(kind, misc, _RECORD.size + len(body) + len(trailer))
    return _Side(time, head + body + trailer)


def _signed(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


class _Reader:
    """Sorts a file's records by what they tell."""

    def __init__(self, file: PerfDataFile) -> None:
        self._file = file
        attributes = file.attributes
        self._first = _trailer(attributes[0])
        self._trailers = {number: _trailer(one) for one in attributes for number in one.ids}
        self.sides: list[_Side] = []
        self.areas: list[_Area] = []
        self.clock: Clock | None = None
        self.midrs: dict[int, Midr] = {}
        self.pmu: int | None = None
        self.is_cut = file.is_cut
        self._actions = {
            _AUXTRACE_INFO: self._take_info,
            AUXTRACE: self._take_area,
            _TIME_CONV: self._take_clock,
            **dict.fromkeys(_SIDE_BAND, self._take_side),
        }

    def read(self) -> None:
        end = self._file.data_at
        for kind, at, size in self._file.records():
            if kind in COMPRESSED:
                self._file.refuse("compressed records", "record it without -z")
            end = at + size
            action = self._actions.get(kind)
            if action is not None:
                action(at, size)
            if kind == AUXTRACE and self.areas:
                end = max(end, self.areas[-1].at + self.areas[-1].size)
        self.is_cut = self.is_cut or self._file.data_end - end >= _RECORD.size

    @property
    def period(self) -> int:
        """Operations between two records."""
        of_spe = (one.period for one in self._file.attributes if one.type == self.pmu)
        return next(of_spe, 0) or 1

    def _take_side(self, at: int, size: int) -> None:
        raw = self._file.whole(at, size)
        names = self._trailers.get(int.from_bytes(raw[-8:], "little"), self._first)
        side = _rewritten(raw, names)
        if side is not None:
            self.sides.append(side)

    def _take_area(self, at: int, size: int) -> None:
        if size < 48:
            return
        _, _, _, length, offset, _, index, _, cpu, _ = struct.unpack(
            "<IHHQQQIIII", self._file.whole(at, 48)
        )
        where = index if cpu == 0xFFFFFFFF else cpu
        if where < 1 << 16:
            first = at + size
            there = max(0, min(length, self._file.data_end - first))
            self.areas.append(_Area(where, offset, first, there))

    def _take_clock(self, at: int, size: int) -> None:
        if size < 8 + 24:
            return
        raw = self._file.whole(at, size)[8:].ljust(48, b"\0")
        shift, mult, zero, cycles, mask, has_zero, is_short = struct.unpack_from("<5QBB", raw)
        if shift < 64 and mult < 1 << 32 and (has_zero or size < 48):
            self.clock = Clock(zero, mult, shift, cycles, mask, bool(is_short))

    def _take_info(self, at: int, size: int) -> None:
        """The type of the PMU and, in newer files, every CPU's core type."""
        raw = self._file.whole(at, size)
        if size < 32 or struct.unpack_from("<I", raw, 8)[0] != _INFO_ARM_SPE:
            return
        words = struct.unpack_from(f"<{(size - 16) // 8}Q", raw, 16)
        if len(words) < 4 or words[1] != 4:
            self.pmu = words[0]
            return
        self.pmu = words[2] & 0xFFFFFFFF
        place = words[1]
        while place + 4 <= len(words) and words[place] == _CPU_MAGIC:
            cpu, n = words[place + 1 : place + 3]
            self.midrs[cpu] = _midr(words[place + 3])
            place += 3 + n


def _read(file: PerfDataFile) -> _Reader:
    reader = _Reader(file)
    reader.read()
    if not reader.areas:
        raise _without_spe(file.path, reader.pmu)
    return reader


def chunks_by_cpu(file: PerfDataFile) -> Iterable[Chunk]:
    """The AUX bytes of a perf.data file, one CPU's after another's. Raises `KperfError`."""
    areas = _without_padding(_read(file).areas)
    return _Chunks(file, sorted(areas, key=lambda area: (area.cpu, area.offset)))


def read_perf_data(file: PerfDataFile) -> Recorded:
    """What a perf.data file holds of SPE, for as long as it is open. Raises `KperfError`."""
    reader = _read(file)
    n_cpus = max(area.cpu for area in reader.areas) + 1
    core = None if reader.midrs else _cpuid(file)
    midrs = reader.midrs or (dict.fromkeys(range(n_cpus), core) if core else {})
    reader.sides.sort(key=lambda side: side.time)
    return Recorded(
        chunks=_Chunks(file, _without_padding(reader.areas)),
        records=[side.record for side in reader.sides],
        clock=reader.clock,
        n_cpus=n_cpus,
        midrs=midrs,
        period=reader.period,
        kernel=file.kernel,
        notes=("the file is cut: records are missing",) if reader.is_cut else (),
    )


def _without_padding(areas: list[_Area]) -> list[_Area]:
    """The areas without what fills each up to 8 bytes, which the next one's offset tells."""
    following: dict[int, int] = {}
    found = []
    for area in reversed(areas):
        extra = area.offset + area.size - following.get(area.cpu, area.offset + area.size)
        if 0 < extra < 8:
            area = area._replace(size=area.size - extra)
        following[area.cpu] = area.offset
        found.append(area)
    return found[::-1]


def _without_spe(path: str, pmu: int | None) -> KperfError:
    why = "no SPE records were taken" if pmu is not None else "it was recorded without SPE"
    return error(
        Error.INVALID_ARGUMENT,
        f"{path} holds no SPE data: {why}",
        hint="record with 'kperf spe -o FILE.data', or 'perf record -e arm_spe_0//'",
    )
