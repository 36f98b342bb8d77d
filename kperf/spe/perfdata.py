"""perf.data files with SPE: side-band, clock, core types and AUX bytes.

Format: Documentation/perf.data-file-format.txt of Linux's tools/perf. Nothing in a file is trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.spe.decode import Chunk, Clock, Recorded
from kperf.spe.sources import Midr

_HEADER = struct.Struct("<8sQQ6Q")  # magic, its size, size of an attr, attrs, data, event types
_RECORD = struct.Struct("<IHH")
_FEATURES_AT, _FEATURES = 72, 256
_OSRELEASE, _CPUID = 4, 9

# Records by type: those of perf's own, and side-band in the kernel's numbers.
_AUXTRACE_INFO, _AUXTRACE, _TIME_CONV, _COMPRESSED = 70, 71, 79, (81, 83)
_AUX = 11
_SIDE_BAND = (2, 3, 4, 7, 10, _AUX, 12, 14, 15)

_INFO_ARM_SPE = 4
_CPU_MAGIC = 0x1010101010101010

# What stands at a record's end, in this order (sample_id_all): bit of sample_type, name.
_TRAILER = ((1, "tid"), (2, "time"), (6, "id"), (9, "stream"), (7, "cpu"), (16, "identifier"))
_ID_ALL = 1 << 18
_OURS = struct.Struct("<iiQiIQ")  # pid, tid, time, cpu, reserved, identifier


class _Attr(NamedTuple):
    """What is needed of a perf_event_attr."""

    type: int
    period: int
    trailer: tuple[str, ...]


class _Side(NamedTuple):
    time: int
    record: bytes


def _refuse(path: str, why: str, hint: str = "record it again, with a file as its output") -> Any:
    raise error(Error.INVALID_ARGUMENT, f"{path}: {why}", hint=hint)


def _midr(register: int) -> Midr:
    return register >> 24 & 0xFF, register >> 4 & 0xFFF


class _File:
    """One perf.data file, checked as it is read."""

    def __init__(self, content: Any, path: str) -> None:
        self._content = content
        self._path = path
        self._size = len(content)
        if self._size < _HEADER.size:
            _refuse(path, "a perf.data file that is cut within its header")
        (_, size, self._attr_size, *places) = _HEADER.unpack_from(content)
        self._attrs_at, self._attrs_size, self.data_at, self.data_size = places[:4]
        if size < _HEADER.size:
            _refuse(path, "a perf.data file for a pipe, which cannot be read twice")
        if self.data_size == 0:
            self.data_size = self._size - self.data_at  # perf was killed before it wrote the size
        self.is_cut = self.data_at + self.data_size > self._size
        self.data_end = min(self.data_at + self.data_size, self._size)

    def bytes(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > self._size:
            _refuse(self._path, "a perf.data file whose parts lie outside of it")
        return bytes(self._content[at : at + size])

    def view(self, at: int, size: int) -> memoryview:
        return memoryview(self._content)[at : min(at + size, self._size)]

    # ---- attributes ----

    def attrs(self) -> list[tuple[_Attr, list[int]]]:
        """The events' attributes with their identifiers."""
        if self._attr_size < 64 + 16:
            _refuse(self._path, "a perf.data file without event attributes")
        found = []
        for at in range(0, self._attrs_size - self._attr_size + 1, self._attr_size):
            raw = self.bytes(self._attrs_at + at, self._attr_size)
            kind, _, _, period, sample_type, _, flags = struct.unpack_from("<IIQQQQQ", raw)
            ids_at, ids_size = struct.unpack_from("<QQ", raw, len(raw) - 16)
            names = tuple(name for bit, name in _TRAILER if sample_type >> bit & 1)
            attr = _Attr(kind, period, names if flags & _ID_ALL else ())
            ids = self.bytes(ids_at, ids_size // 8 * 8)
            found.append((attr, [one[0] for one in struct.iter_unpack("<Q", ids)]))
        if not found:
            _refuse(self._path, "a perf.data file without event attributes")
        return found

    # ---- features ----

    def _feature(self, number: int) -> str:
        """What perf noted of the machine; "" where it did not."""
        bits = int.from_bytes(self.bytes(_FEATURES_AT, _FEATURES // 8), "little")
        if not bits >> number & 1:
            return ""
        before = bin(bits & (1 << number) - 1).count("1")  # sections stand in order of their bits
        section = self.data_at + self.data_size + 16 * before
        at, size = struct.unpack("<QQ", self.bytes(section, 16))
        return self.bytes(at, size)[4:].partition(b"\0")[0].decode("utf-8", "replace")

    @property
    def kernel(self) -> str:
        """The release of the kernel that it was recorded on."""
        return self._feature(_OSRELEASE)

    @property
    def cpuid(self) -> Midr | None:
        """The core type that it was recorded on, where it is an Arm core."""
        try:
            return _midr(int(self._feature(_CPUID), 16))
        except ValueError:
            return None

    # ---- records ----

    def records(self) -> Iterator[tuple[int, int, int]]:
        """Type, place and size of each record; the bytes behind an AUXTRACE are passed over."""
        at = self.data_at
        while at + _RECORD.size <= self.data_end:
            kind, _, size = _RECORD.unpack_from(self._content, at)
            if size < _RECORD.size or at + size > self.data_end:
                self.is_cut = True
                return
            yield kind, at, size
            at += size
            if kind == _AUXTRACE and size >= 16:
                at += int.from_bytes(self._content[at - size + 8 : at - size + 16], "little")


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

    def __init__(self, file: _File) -> None:
        self._file = file
        attrs = file.attrs()
        self._first = attrs[0][0]
        self._by_id = {number: attr for attr, ids in attrs for number in ids}
        self._attrs = [attr for attr, _ in attrs]
        self.sides: list[_Side] = []
        self.chunks: list[Chunk] = []
        self.clock: Clock | None = None
        self.midrs: dict[int, Midr] = {}
        self.pmu: int | None = None
        self._actions = {
            _AUXTRACE_INFO: self._take_info,
            _AUXTRACE: self._take_chunk,
            _TIME_CONV: self._take_clock,
            **dict.fromkeys(_SIDE_BAND, self._take_side),
        }

    def read(self, path: str) -> None:
        for kind, at, size in self._file.records():
            if kind in _COMPRESSED:
                _refuse(path, "compressed records", "record it without -z")
            action = self._actions.get(kind)
            if action is not None:
                action(at, size)

    @property
    def period(self) -> int:
        """Operations between two records."""
        return next((attr.period for attr in self._attrs if attr.type == self.pmu), 1)

    def _take_side(self, at: int, size: int) -> None:
        raw = self._file.bytes(at, size)
        attr = self._by_id.get(int.from_bytes(raw[-8:], "little"), self._first)
        side = _rewritten(raw, attr.trailer)
        if side is not None:
            self.sides.append(side)

    def _take_chunk(self, at: int, size: int) -> None:
        if size < 48:
            return
        _, _, _, length, offset, _, index, _, cpu, _ = struct.unpack(
            "<IHHQQQIIII", self._file.bytes(at, 48)
        )
        where = index if cpu == 0xFFFFFFFF else cpu
        if where < 1 << 16:
            self.chunks.append(Chunk(where, offset, self._file.view(at + size, length)))

    def _take_clock(self, at: int, size: int) -> None:
        if size < 8 + 24:
            return
        raw = self._file.bytes(at, size)[8:].ljust(48, b"\0")
        shift, mult, zero, cycles, mask, has_zero, is_short = struct.unpack_from("<5QBB", raw)
        if shift < 64 and mult < 1 << 32 and (has_zero or size < 48):
            self.clock = Clock(zero, mult, shift, cycles, mask, bool(is_short))

    def _take_info(self, at: int, size: int) -> None:
        """The type of the PMU and, in newer files, every CPU's core type."""
        raw = self._file.bytes(at, size)
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


def read_perf_data(content: Any, path: str) -> Recorded:
    """What a perf.data file holds of SPE. Raises `KperfError`."""
    file = _File(content, path)
    reader = _Reader(file)
    reader.read(path)
    if not reader.chunks:
        raise _without_spe(path, reader.pmu)
    n_cpus = max(chunk.cpu for chunk in reader.chunks) + 1
    core = None if reader.midrs else file.cpuid
    midrs = reader.midrs or (dict.fromkeys(range(n_cpus), core) if core else {})
    reader.sides.sort(key=lambda side: side.time)
    return Recorded(
        chunks=_without_padding(reader.chunks),
        records=[side.record for side in reader.sides],
        clock=reader.clock,
        n_cpus=n_cpus,
        midrs=midrs,
        period=reader.period,
        kernel=file.kernel,
        notes=("the file is cut: records are missing",) if file.is_cut else (),
    )


def _without_padding(chunks: list[Chunk]) -> list[Chunk]:
    """The chunks without what fills each up to 8 bytes, which the next one's offset tells."""
    following: dict[int, int] = {}
    found = []
    for chunk in reversed(chunks):
        size = len(chunk.content)
        extra = chunk.offset + size - following.get(chunk.cpu, chunk.offset + size)
        if 0 < extra < 8:
            chunk = chunk._replace(content=chunk.content[: size - extra])
        following[chunk.cpu] = chunk.offset
        found.append(chunk)
    return found[::-1]


def _without_spe(path: str, pmu: int | None) -> KperfError:
    why = "no SPE records were taken" if pmu is not None else "it was recorded without SPE"
    return error(
        Error.INVALID_ARGUMENT,
        f"{path} holds no SPE data: {why}",
        hint="record with 'kperf spe -o FILE.data', or 'perf record -e arm_spe_0//'",
    )
