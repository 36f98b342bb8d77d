"""The little of DWARF that line programs need besides: their files, and where compilers ran.

Versions 2 to 5, little-endian, 32 and 64-bit. ValueError for what makes no sense.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Union

_Value = Union[int, bytes]
_Form = tuple[int, int, int]  # an attribute or content type, its form, an implicit constant

_CONTENT_PATH, _CONTENT_DIRECTORY = 1, 2  # DW_LNCT_*
_STATEMENTS, _DIRECTORY = 0x10, 0x1B  # DW_AT_stmt_list, DW_AT_comp_dir
_SPLIT_NAMES = (0x76, 0x2130)  # DW_AT_dwo_name, DW_AT_GNU_dwo_name

_MOST_FORMS = 256  # of an entry
_MOST_FILES = 1 << 20

_IMPLICIT, _INDIRECT = 0x21, 0x16  # DW_FORM_*

# Bytes of a number, and of the number of a block's bytes, by form.
_FIXED = {
    **dict.fromkeys((0x0B, 0x0C, 0x11, 0x25, 0x29), 1),
    **dict.fromkeys((0x05, 0x12, 0x26, 0x2A), 2),
    **dict.fromkeys((0x27, 0x2B), 3),
    **dict.fromkeys((0x06, 0x13, 0x28, 0x2C), 4),
    **dict.fromkeys((0x07, 0x14, 0x20), 8),
    0x19: 0,  # a flag that is there
    0x1E: 16,
}
_BLOCK = {0x0A: 1, 0x03: 2, 0x04: 4, 0x09: 0, 0x18: 0}


class Cursor:
    """Reads on from a place in a section. What is beyond the end raises ValueError."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else min(end, len(data))
        self.wide = 4  # bytes of an offset
        self.address_size = 8

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        start = self.at
        if size < 0 or start + size > self.end:
            raise ValueError("a unit of debug information ends too early")
        self.at += size
        return self.data[start : self.at]

    def leb(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 70:
                raise ValueError("a number of debug information has no end")

    def text(self) -> bytes:
        end = self.data.find(b"\0", self.at, self.end)
        if end < 0:
            raise ValueError("a text of debug information has no end")
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def unit(self) -> Cursor:
        """The unit that begins here; behind it, this goes on."""
        size, wide = self.number(4), 4
        if size == 0xFFFFFFFF:
            size, wide = self.number(8), 8
        start = self.at
        self.take(size)
        inner = Cursor(self.data, start, self.at)
        inner.wide = wide
        return inner

    def block(self, size: int) -> bytes:
        """Bytes with their number before them, which has `size` bytes; 0: as a LEB128."""
        return self.take(self.number(size) if size else self.leb())

    def value(self, form: int, texts: Mapping[int, bytes], implicit: int = 0) -> _Value:
        """A value of some form; `texts` are the sections that forms of texts point into."""
        if form == _INDIRECT:
            form = self.leb()
        if form == _IMPLICIT:
            return implicit
        if form in texts:
            at = self.number(self.wide)
            section = texts[form]
            return section[at : section.find(b"\0", at)] if at < len(section) else b""
        read = _READERS.get(form)
        if read is None:
            raise ValueError(f"debug information has a form {form:#x} that is not known")
        return read(self)


# How a value of each DW_FORM_* is read.
_READERS: dict[int, Callable[[Cursor], _Value]] = {
    0x01: lambda cursor: cursor.number(cursor.address_size),
    0x08: Cursor.text,
    **dict.fromkeys((0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02), Cursor.leb),
    # offsets into other sections
    **dict.fromkeys(
        (0x0E, 0x10, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21), lambda cursor: cursor.number(cursor.wide)
    ),
    **{form: partial(Cursor.number, size=size) for form, size in _FIXED.items()},
    **{form: partial(Cursor.block, size=size) for form, size in _BLOCK.items()},
}


class FileTable:
    """The files of a line program.

    section, program  .debug_line, and where in it the program begins
    texts             the sections that forms of texts point into
    directory         tells where the compiler ran: programs before version 5 do not
    """

    def __init__(
        self,
        section: bytes,
        program: int,
        texts: Mapping[int, bytes],
        directory: Callable[[], bytes],
    ) -> None:
        unit = Cursor(section, program).unit()
        version = unit.number(2)
        if version >= 5:
            unit.number(2)
        unit.number(unit.wide)
        unit.take(5 if version >= 4 else 4)
        unit.take(max(unit.number(1) - 1, 0))
        tables = _tables(unit, texts) if version >= 5 else _old_tables(unit, directory())
        self._directories, self._files = tables

    def path(self, number: int) -> str:
        """The path of a file; "" where the table has no such file."""
        if number not in self._files:
            return ""
        name, folder = self._files[number]
        parents = self._directories[:1] + self._directories[folder : folder + 1]
        path = os.path.join(b"", *parents, name)
        return os.fsdecode(os.path.normpath(path)) if path else ""


_Tables = tuple[list[bytes], dict[int, tuple[bytes, int]]]


def _old_tables(unit: Cursor, directory: bytes) -> _Tables:
    directories = [directory, *iter(unit.text, b"")]
    files: dict[int, tuple[bytes, int]] = {}
    while True:
        name = unit.text()
        if not name:
            return directories, files
        files[len(files) + 1] = name, unit.leb()
        unit.leb()  # its time
        unit.leb()  # its size


def _tables(unit: Cursor, texts: Mapping[int, bytes]) -> _Tables:
    directories = [entry.get(_CONTENT_PATH, b"") for entry in _entries(unit, texts)]
    files = {}
    for number, entry in enumerate(_entries(unit, texts)):
        name, folder = entry.get(_CONTENT_PATH, b""), entry.get(_CONTENT_DIRECTORY, 0)
        files[number] = (name if isinstance(name, bytes) else b""), int(folder)
    return [path if isinstance(path, bytes) else b"" for path in directories], files


def _entries(unit: Cursor, texts: Mapping[int, bytes]) -> Iterator[dict[int, _Value]]:
    forms = [(unit.leb(), unit.leb()) for _ in range(unit.number(1))]
    number = unit.leb()
    if number > _MOST_FILES or (number and not forms):
        raise ValueError(f"a line program has {number} files")
    for _ in range(number):
        yield {content: unit.value(form, texts) for content, form in forms}


# ---- what compilers say of a unit ----


def directories_of_programs(
    info: bytes, abbreviations: bytes, texts: Mapping[int, bytes]
) -> dict[int, bytes]:
    """The directory of each line program's compilation, by the program's offset."""
    found = {}
    for attributes in _units(info, abbreviations, texts):
        program, directory = attributes.get(_STATEMENTS), attributes.get(_DIRECTORY)
        if isinstance(program, int) and isinstance(directory, bytes):
            found[program] = directory
    return found


def is_split(info: bytes, abbreviations: bytes, texts: Mapping[int, bytes]) -> bool:
    """Whether functions are described in other files (-gsplit-dwarf)."""
    units = _units(info, abbreviations, texts)
    return any(name in attributes for attributes in units for name in _SPLIT_NAMES)


def _units(
    info: bytes, abbreviations: bytes, texts: Mapping[int, bytes]
) -> Iterator[dict[int, _Value]]:
    """The attributes of each unit; of those that can be read."""
    units = Cursor(info)
    while units.at < units.end:
        try:
            unit = units.unit()
        except ValueError:
            return
        with suppress(ValueError):
            yield dict(_first_entry(unit, abbreviations, texts))


def _first_entry(
    unit: Cursor, abbreviations: bytes, texts: Mapping[int, bytes]
) -> Iterator[tuple[int, _Value]]:
    """The attributes of a unit's first entry, which describes all of it."""
    version = unit.number(2)
    if version >= 5:
        kind = unit.number(1)
        unit.address_size = unit.number(1)
        at = unit.number(unit.wide)
        unit.take(8 if kind in (4, 5) else 0)  # of skeletons: an identifier
    else:
        at = unit.number(unit.wide)
        unit.address_size = unit.number(1)
    for attribute, form, implicit in _abbreviation(Cursor(abbreviations, at), unit.leb()):
        yield attribute, unit.value(form, texts, implicit)


def _abbreviation(table: Cursor, code: int) -> list[_Form]:
    """The attributes and forms of an entry; the first one of a unit stands at the front."""
    for _ in range(_MOST_FORMS):
        own = table.leb()
        if own == 0:
            break
        table.leb()  # its tag
        table.number(1)  # whether it has children
        forms = list(_forms(table))
        if own == code:
            return forms
    raise ValueError(f"debug information has no abbreviation {code}")


def _forms(table: Cursor) -> Iterator[_Form]:
    for _ in range(_MOST_FORMS):
        attribute, form = table.leb(), table.leb()
        implicit = table.leb() if form == _IMPLICIT else 0
        if attribute == 0 and form == 0:
            return
        yield attribute, form, implicit
    raise ValueError("an abbreviation of debug information has no end")
