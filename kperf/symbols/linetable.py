"""Source lines by a file's line programs alone, which is soon done.

They also cover code of which no function's debug information tells, so that `symbolic` has no line
of it: bodies that GCC found equal and made one of, assembly, debug information that was split off.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property

from kperf._core import ffi, lib
from kperf.symbols.dwarf import FileTable, directories_of_programs, is_split
from kperf.symbols.elf import COMPRESSED_SECTION, ElfFile
from kperf.symbols.image import FileImage

_TEXT_FORMS = {0x0E: b"str", 0x1F: b"line_str"}  # DW_FORM_strp, DW_FORM_line_strp
_ZLIB = 1  # ELFCOMPRESS_ZLIB
_MOST_BYTES = 1 << 29  # of a section, once decompressed


class LineTable:
    """The line programs of one ELF file. BadFile, OSError or ValueError where it is damaged."""

    def __init__(self, path: str) -> None:
        self._elf = ElfFile(FileImage(path))
        self._tables: dict[int, FileTable | None] = {}
        self._damage: ValueError | None = None

    def places(self, addresses: Sequence[int]) -> dict[int, tuple[str, int]]:
        """File and line of those of the file's own addresses that the programs tell of."""
        if not self._lines:
            raise ValueError("it has no line programs")
        ascending = sorted(addresses)
        wanted = ffi.new("uint64_t[]", ascending)
        found = ffi.new("struct kp_line[]", len(ascending))
        section = ffi.from_buffer("uint8_t[]", self._lines)
        lib.kp_lines_find(section, len(self._lines), wanted, len(ascending), found)
        places = {}
        for address, line in zip(ascending, found):
            file = "" if line.program == lib.KP_NO_PROGRAM else self._file(line.program, line.file)
            if file:
                places[address] = file, line.line
        if self._damage is not None and not places:
            raise self._damage
        return places

    @cached_property
    def is_split(self) -> bool:
        """Whether functions are described in other files (-gsplit-dwarf)."""
        # What stays here of units that were split off has its addresses in a section of their own.
        has_addresses = any(map(self._elf.section, (b".debug_addr", b".zdebug_addr")))
        return has_addresses and is_split(self._data(b"info"), self._data(b"abbrev"), self._texts)

    def _file(self, program: int, number: int) -> str:
        if program not in self._tables:
            try:
                self._tables[program] = FileTable(
                    self._lines, program, self._texts, lambda: self._directories.get(program, b"")
                )
            except ValueError as damage:  # costs the files of this program only
                self._tables[program], self._damage = None, damage
        table = self._tables[program]
        return table.path(number) if table is not None else ""

    @cached_property
    def _lines(self) -> bytes:
        return self._data(b"line")

    @cached_property
    def _texts(self) -> dict[int, bytes]:
        return {form: self._data(name) for form, name in _TEXT_FORMS.items()}

    @cached_property
    def _directories(self) -> dict[int, bytes]:
        return directories_of_programs(self._data(b"info"), self._data(b"abbrev"), self._texts)

    def _data(self, name: bytes) -> bytes:
        """The bytes of a section of debug information; none where there is no such section."""
        section = self._elf.section(b".debug_" + name)
        if section is not None:
            data = self._elf.data(section)
            if not section.flags & COMPRESSED_SECTION:
                return data
            return _decompressed(data, 24 if self._elf.is_64 else 12)
        section = self._elf.section(b".zdebug_" + name)
        return b"" if section is None else _inflated(self._elf.data(section)[12:])


def _decompressed(data: bytes, header_size: int) -> bytes:
    if int.from_bytes(data[:4], "little") != _ZLIB:
        raise ValueError("debug information is compressed in a way that is not known")
    return _inflated(data[header_size:])


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_BYTES)
    except zlib.error as cause:
        raise ValueError(f"compressed debug information is damaged ({cause})") from cause
