"""perf.data files with SPE: the core writes their records as they come, this writes what is around.

Format: Documentation/perf.data-file-format.txt of Linux's tools/perf.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from kperf._core import ffi
from kperf.events.event import Event
from kperf.export.place import refused
from kperf.machine import Machine
from kperf.spe.data import SpeData
from kperf.whole_file import WholeFile

_HEADER_BYTES, _ATTR_BYTES = 104, 112
_HEADER = struct.Struct("<8sQQ6Q")
_ATTR = struct.Struct("<IIQQQQQIIQQ")
_ID = 1  # of the one event

_AUXTRACE_INFO, _TIME_CONV, _INFO_ARM_SPE = 70, 79, 4
_MMAP, _COMM, _MMAP2 = 1, 3, 10
_KERNEL, _USER = 1, 2
_SAMPLE_TYPE = 0x1 | 0x2 | 0x4 | 0x80 | 1 << 15 | 1 << 16  # IP TID TIME CPU DATA_SRC IDENTIFIER
_SAMPLE_ID_ALL, _DISABLED = 1 << 18, 1
_PROT_READ_EXEC, _MAP_PRIVATE = 5, 2

_DATA_AT = _HEADER_BYTES + 8 + _ATTR_BYTES + 16
_CLOCK_BYTES, _INFO_BYTES = 56, 32

_FEATURES_AT = 72
_OSRELEASE, _ARCH, _CPUID = 4, 6, 9


class _Sections(NamedTuple):
    data_size: int
    features: dict[int, bytes]


def _padded(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") + b"\0"
    return raw + bytes(-len(raw) % 8)


def _record(kind: int, misc: int, body: bytes, pid: int = -1, tid: int = -1) -> bytes:
    """A record of the beginning, before everything that was recorded."""
    body += struct.pack("<iiQQQ", pid, tid, 0, 0, 0)
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


class SpoolFile:
    """A perf.data in the making; `fd` is for the core.

    When `finish` was called it appears at its path, whole or not at all. One that is not `kept` can
    be read from then on to the end of the `with` block, and leaves nothing.
    """

    def __init__(self, path: str, *, kept: bool = True) -> None:
        self.path = path
        self._kept = kept
        try:
            self._whole = WholeFile(path)
            self._file = os.fdopen(self._whole.fd, "w+b")
            self._begin()
        except OSError as cause:
            raise refused(path, cause) from None

    @property
    def fd(self) -> int:
        return self._file.fileno()

    @property
    def readable_at(self) -> str:
        """Where it can be read once it is finished."""
        return self.path if self._kept else self._whole.meanwhile

    def finish(self, event: Event, data: SpeData) -> None:
        """Completes the file with what the whole session told. Raises `KperfError`."""
        if data.report.spool_errno:
            cause = OSError(data.report.spool_errno, os.strerror(data.report.spool_errno))
            raise refused(self.path, cause)
        try:
            self._complete(event, data)
            self._file.flush()
            if self._kept:
                self._whole.appear()
        except OSError as cause:
            raise refused(self.path, cause) from None

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._close()

    # ---- parts ----

    def _begin(self) -> None:
        """Leaves room for what is known at the end. The buffer is empty then: the core is next."""
        try:
            self._file.write(bytes(_DATA_AT + _CLOCK_BYTES + _INFO_BYTES))
            self._file.flush()
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        with suppress(OSError):  # of what is in the buffer still, which is not wanted any more
            self._file.close()
        self._whole.abandon()

    def _complete(self, event: Event, data: SpeData) -> None:
        self._file.seek(0, os.SEEK_END)
        for record in _beginning(data):
            self._file.write(record)
        sections = _Sections(self._file.tell() - _DATA_AT, _features(data.machine, data.cores(0)))
        self._write_features(sections.features)
        self._file.seek(0)
        self._file.write(_head(event, sections))
        self._file.seek(_DATA_AT)
        self._file.write(_clock(data.raw) + _info(event))

    def _write_features(self, features: dict[int, bytes]) -> None:
        at = self._file.tell() + 16 * len(features)
        for _, content in sorted(features.items()):
            self._file.write(struct.pack("<QQ", at, len(content)))
            at += len(content)
        for _, content in sorted(features.items()):
            self._file.write(content)


def _head(event: Event, sections: _Sections) -> bytes:
    attr = _ATTR.pack(
        event.type, _ATTR_BYTES, event.config, event.period, _SAMPLE_TYPE, 4,
        _SAMPLE_ID_ALL | _DISABLED, 0, 0, event.config1, event.config2,
    )  # fmt: skip
    section = attr.ljust(_ATTR_BYTES, b"\0") + struct.pack("<QQ", _HEADER_BYTES, 8)
    header = _HEADER.pack(
        b"PERFILE2", _HEADER_BYTES, len(section), _HEADER_BYTES + 8, len(section), _DATA_AT,
        sections.data_size, 0, 0,
    )  # fmt: skip
    bits = sum(1 << number for number in sections.features)
    header = header[:_FEATURES_AT] + bits.to_bytes(32, "little")
    return header.ljust(_HEADER_BYTES, b"\0") + struct.pack("<Q", _ID) + section


def _clock(raw: Any) -> bytes:
    clock = raw.spe_clock
    mult = clock.mult or 1  # perf divides by it
    return struct.pack(
        "<IHHQQQQQBB6x", _TIME_CONV, 0, _CLOCK_BYTES, clock.shift, mult, clock.zero,
        clock.cycles, clock.mask, clock.known, clock.is_short,
    )  # fmt: skip


def _info(event: Event) -> bytes:
    per_cpu_maps = 1
    return struct.pack(
        "<IHHIIQQ", _AUXTRACE_INFO, 0, _INFO_BYTES, _INFO_ARM_SPE, 0, event.type, per_cpu_maps
    )


def _text(words: str) -> bytes:
    raw = words.encode() + b"\0"
    raw += bytes(-len(raw) % 8)
    return struct.pack("<I", len(raw)) + raw


def _features(machine: Machine, midr: tuple[int, int] | None) -> dict[int, bytes]:
    found = {_OSRELEASE: _text(machine.kernel or ""), _ARCH: _text(machine.arch)}
    if midr is not None:
        found[_CPUID] = _text(f"{midr[0] << 24 | 0xF << 16 | midr[1] << 4:#018x}")
    return found


# ---- what was there before the session ----


def _beginning(data: SpeData) -> Iterator[bytes]:
    """The kernel, the threads and their files, as perf writes them first."""
    yield from _kernel(data.machine)
    raw = data.raw if data.raw.sums == ffi.NULL else data.raw.sums
    for pid, tid, comm in sorted({(raw.pid[i], raw.tid[i], raw.comm[i]) for i in range(raw.len)}):
        if tid > 0 and comm:
            name = _padded(_string(raw, comm)[:15])
            yield _record(_COMM, 0, struct.pack("<ii", pid, tid) + name, pid, tid)
    for i in range(raw.n_mappings):
        yield _mapping(raw, raw.mappings[i])


def _string(raw: Any, number: int) -> str:
    return bytes(ffi.string(raw.strings + raw.string_offset[number])).decode(
        "utf-8", "surrogateescape"
    )


def _mapping(raw: Any, mapping: Any) -> bytes:
    place = struct.pack(
        "<iiQQQ", mapping.pid, mapping.pid, mapping.start, mapping.end - mapping.start,
        mapping.offset,
    )  # fmt: skip
    file = struct.pack("<IIQQ", mapping.device_major, mapping.device_minor, mapping.inode, 0)
    rights = struct.pack("<II", _PROT_READ_EXEC, _MAP_PRIVATE)
    path = _padded(_string(raw, mapping.path))
    return _record(_MMAP2, _USER, place + file + rights + path, mapping.pid, mapping.pid)


def _kernel(machine: Machine) -> Iterator[bytes]:
    """Where the kernel's text is, by its symbols; nothing where they are hidden."""
    places = {}
    for line in (machine.read("proc/kallsyms") or "").splitlines():
        address, _, name = line.partition(" ")
        if name[2:] in ("_text", "_end"):
            places[name[2:]] = int(address, 16)
    first, end = places.get("_text", 0), places.get("_end", 0)
    if 0 < first < end:
        body = struct.pack("<iiQQQ", -1, 0, first, end - first, first)
        yield _record(_MMAP, _KERNEL, body + _padded("[kernel.kallsyms]_text"))


# ---- raw bytes ----


def write_raw(spooled: str, out: BinaryIO) -> None:
    """Writes the AUX bytes of a perf.data, one CPU's after another's. Raises OSError."""
    from kperf.perfdata.file import PerfDataFile
    from kperf.spe.perfdata import chunks_by_cpu

    with PerfDataFile(spooled) as file:
        for chunk in chunks_by_cpu(file):
            out.write(chunk.content)
