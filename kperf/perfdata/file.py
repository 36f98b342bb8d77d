"""The structure of a perf.data file: its header, its events, what was noted of the machine.

Format: tools/perf/Documentation/perf.data-file-format.txt of Linux. Nothing in a file is trusted:
whatever lies outside of it, or is cut, is told with the file's name.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from kperf._cached import cached_property
from kperf.errors import Error, error

MAGIC = b"PERFILE2"
_OTHER_ENDIAN = MAGIC[::-1]

_HEADER = struct.Struct("<8sQQ6Q")  # magic, its size, size of an attr, attrs, data, event types
_SECTION = struct.Struct("<QQ")  # where it begins, how long it is
_RECORD = struct.Struct("<IHH")  # type, misc, size
_FEATURES_AT, _FEATURES = 72, 256

# Numbers of features, HEADER_* in tools/perf/util/header.h.
_BUILD_ID, _HOSTNAME, _OSRELEASE, _ARCH, _CPUID, _CMDLINE, _EVENT_DESC = 2, 3, 4, 6, 9, 11, 12

# struct perf_event_attr up to branch_sample_type, which version 2 added (perf_event_open(2)).
_ATTR = struct.Struct("<IIQQQQQIIQQQ")
_FREQUENCY, _SAMPLE_ID_ALL, _TELLS_BUILD_IDS = 1 << 10, 1 << 18, 1 << 34

_BUILD_ID_AT, _BUILD_ID_BYTES, _BUILD_ID_NAME_AT = 12, 20, 36
_HAS_SIZE = 1 << 15  # of a build-id record's misc

COMPRESSED = (81, 83)
AUXTRACE = 71
_AUXTRACE_HEAD = 16  # its header, and how many bytes stand behind the record


class Attribute(NamedTuple):
    """What is needed of an event's perf_event_attr, with the identifiers of its records."""

    name: str  # "" where the file has none
    type: int
    config: int
    period: int  # events between two samples; 0 where each sample tells its own
    sample_type: int
    read_format: int
    branch_sample_type: int
    sample_id_all: bool
    build_id: bool  # mappings tell build-ids where their records say so
    ids: tuple[int, ...]


class Record(NamedTuple):
    """Where a record lies."""

    type: int
    at: int
    size: int


class PerfDataFile:
    """A perf.data file, mapped. As a context: closed at its end.

    Raises `KperfError` for what is no such file, here and wherever a part turns out damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as failure:
            self._refuse_reading(failure)
        try:
            self._size = os.fstat(self._fd).st_size
            self._read_header()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> PerfDataFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _refuse_reading(self, failure: OSError | ValueError) -> NoReturn:
        why = failure.strerror if isinstance(failure, OSError) else failure
        self.refuse(f"it cannot be read ({why})", "name a file that 'kperf record -o' wrote")

    def refuse(self, why: str, hint: str = "record it again, into a file") -> NoReturn:
        raise error(Error.INVALID_ARGUMENT, f"{self.path}: {why}", hint=hint)

    def _read_header(self) -> None:
        start = self.part(0, _FEATURES_AT + _FEATURES // 8)
        magic = start[: len(MAGIC)]
        if magic == _OTHER_ENDIAN:
            self.refuse("a perf.data file of a big-endian machine", "look at it there")
        if magic != MAGIC:
            self.refuse("this is no perf.data file", "name a file that 'kperf record -o' wrote")
        if len(start) < _RECORD.size + len(MAGIC):
            self.refuse("a perf.data file that is cut within its header")
        if int.from_bytes(start[8:16], "little") < _HEADER.size:
            self.refuse("a perf.data file for a pipe", "write it into a file (perf record -o FILE)")
        if len(start) < _FEATURES_AT + _FEATURES // 8:
            self.refuse("a perf.data file that is cut within its header")
        places = _HEADER.unpack_from(start)[2:7]
        self._attr_size, self._attrs_at, self._attrs_size = map(int, places[:3])
        self.data_at, self.data_size = map(int, places[3:])
        if self.data_size == 0:  # whoever wrote it was killed before it could write this
            self.data_size = max(0, self._size - self.data_at)
        self.data_end = min(self.data_at + self.data_size, self._size)

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before its records do."""
        return self.data_at + self.data_size > self._size

    def part(self, at: int, size: int) -> bytes:
        """A part of the file, or what is there of it.

        Read and not mapped: who touches a mapping of a file that another one cuts is killed.
        """
        try:
            return os.pread(self._fd, size, at)
        except (OSError, ValueError, OverflowError, MemoryError) as failure:
            self._refuse_reading(failure if isinstance(failure, OSError) else ValueError(failure))

    def whole(self, at: int, size: int) -> bytes:
        """A part of the file, which must lie in it."""
        if at + size > self._size:
            self._refuse_parts()
        found = self.part(at, size)
        if len(found) < size:
            self._refuse_parts()
        return found

    def _refuse_parts(self) -> NoReturn:
        self.refuse("a perf.data file whose parts lie outside of it")

    # ---- features ----

    def _feature(self, number: int) -> bytes:
        """What was noted of the recording; empty where it was not, or the file is cut."""
        bits = int.from_bytes(self.whole(_FEATURES_AT, _FEATURES // 8), "little")
        if not bits >> number & 1 or self.is_cut:
            return b""
        before = bin(bits & (1 << number) - 1).count("1")  # sections stand in order of their bits
        section = self.data_at + self.data_size + _SECTION.size * before
        return self.whole(*_SECTION.unpack(self.whole(section, _SECTION.size)))

    def _text(self, number: int) -> str:
        return _text_at(self._feature(number), 0)[0]

    @cached_property
    def kernel(self) -> str:
        """The release of the kernel that it was recorded on; "" where it is not known."""
        return self._text(_OSRELEASE)

    @cached_property
    def hostname(self) -> str:
        return self._text(_HOSTNAME)

    @cached_property
    def arch(self) -> str:
        return self._text(_ARCH)

    @cached_property
    def cpuid(self) -> str:
        return self._text(_CPUID)

    @cached_property
    def command(self) -> tuple[str, ...]:
        """The command line that recorded it, as words."""
        raw = self._feature(_CMDLINE)
        words: list[str] = []
        n, at = int.from_bytes(raw[:4], "little"), 4
        while n > len(words) and at + 4 <= len(raw):
            word, at = _text_at(raw, at)
            words.append(word)
        return tuple(words)

    @cached_property
    def build_ids(self) -> dict[str, bytes]:
        """The build-id of each file that had samples, by its path."""
        found: dict[str, bytes] = {}
        raw, at = self._feature(_BUILD_ID), 0
        while at + _BUILD_ID_NAME_AT <= len(raw):
            _, misc, size = _RECORD.unpack_from(raw, at)
            if size < _BUILD_ID_NAME_AT or at + size > len(raw):
                break
            first = at + _BUILD_ID_AT
            length = min(raw[first + _BUILD_ID_BYTES], _BUILD_ID_BYTES)
            known = raw[first : first + (length if misc & _HAS_SIZE else _BUILD_ID_BYTES)]
            name = raw[at + _BUILD_ID_NAME_AT : at + size].partition(b"\0")[0]
            found[os.fsdecode(name)] = known
            at += size
        return found

    # ---- events ----

    @cached_property
    def attributes(self) -> list[Attribute]:
        """The events, in the order of the file; at least one."""
        if self._attr_size < _ATTR.size + _SECTION.size:
            self.refuse("a perf.data file whose events are not described")
        names = self._event_names()
        found: list[Attribute] = []
        for at in range(0, self._attrs_size - self._attr_size + 1, self._attr_size):
            raw = self.whole(self._attrs_at + at, self._attr_size)
            where, length = _SECTION.unpack_from(raw, len(raw) - _SECTION.size)
            ids = struct.unpack(f"<{length // 8}Q", self.whole(where, length // 8 * 8))
            name = names[len(found)] if len(found) < len(names) else ""
            found.append(_attribute(raw, ids, name))
        if not found:
            self.refuse("a perf.data file without events")
        return found

    def _event_names(self) -> list[str]:
        raw = self._feature(_EVENT_DESC)
        if len(raw) < 8:
            return []
        n, size = struct.unpack_from("<II", raw)
        at = 8
        names: list[str] = []
        while len(names) < n and at + size + 8 <= len(raw):
            n_ids = int.from_bytes(raw[at + size : at + size + 4], "little")
            name, at = _text_at(raw, at + size + 4)
            at += 8 * n_ids
            names.append(name)
        return names

    # ---- records ----

    def records(self, at: int | None = None) -> Iterator[Record]:
        """The records from one on; the bytes behind those of AUX areas are passed over."""
        at = self.data_at if at is None else at
        while at + _RECORD.size <= self.data_end:
            head = self.whole(at, min(_AUXTRACE_HEAD, self.data_end - at))
            kind, _, size = _RECORD.unpack_from(head)
            if size < _RECORD.size or at + size > self.data_end:
                return
            yield Record(kind, at, size)
            at += size
            if kind == AUXTRACE:
                at += int.from_bytes(head[_RECORD.size :], "little")


def _text_at(raw: bytes, at: int) -> tuple[str, int]:
    """A text behind its length, and where the next thing begins."""
    length = int.from_bytes(raw[at : at + 4], "little")
    text = raw[at + 4 : at + 4 + length].partition(b"\0")[0]
    return text.decode("utf-8", "replace"), at + 4 + length


def _attribute(raw: bytes, ids: tuple[int, ...], name: str) -> Attribute:
    fields = _ATTR.unpack_from(raw)
    kind, _, config, period, sample_type, read_format, flags = fields[:7]
    return Attribute(
        name=name,
        type=kind,
        config=config,
        period=0 if flags & _FREQUENCY else period,
        sample_type=sample_type,
        read_format=read_format,
        branch_sample_type=fields[-1],
        sample_id_all=bool(flags & _SAMPLE_ID_ALL),
        build_id=bool(flags & _TELLS_BUILD_IDS),
        ids=ids,
    )
