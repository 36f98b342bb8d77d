"""Sorted symbols in the core, and their lookup by address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf.symbols.image import BadFile

_NONE = int(lib.KP_NO_SYMBOL)


class Entry(NamedTuple):
    """One symbol as its table has it."""

    start: int
    end: int
    name: bytes


_entry = partial(tuple.__new__, Entry)  # as Entry._make does, without a call of Python code


def _check(code: int) -> None:
    if code != 0:
        message = ffi.string(lib.kp_last_error().message).decode()
        raise BadFile(message, "raise the memory limit of kperf, or strip the file")


class SymbolIndex:
    """The symbols of one file or text. Entries are made once, when they are first found."""

    def __init__(self, raw: Any) -> None:
        self._raw = ffi.gc(raw, lib.kp_symindex_destroy)
        self._entries: dict[int, Entry | None] = {_NONE: None}

    def __len__(self) -> int:
        return int(self._raw.len)

    @property
    def last_start(self) -> int:
        """The highest address that has a symbol; 0 where there is none."""
        return int(self._raw.start[self._raw.len - 1]) if self._raw.len else 0

    def lookup(self, addresses: Sequence[int]) -> list[Entry | None]:
        """The symbol that each address lies in."""
        n = len(addresses)
        wanted = ffi.new("uint64_t[]", [address & 0xFFFFFFFFFFFFFFFF for address in addresses])
        found = ffi.new("uint32_t[]", n)
        lib.kp_symindex_lookup(self._raw, wanted, n, found)
        numbers = ffi.unpack(found, n)
        self._make(list(set(numbers).difference(self._entries)))
        return list(map(self._entries.__getitem__, numbers))

    def _make(self, numbers: Sequence[int]) -> None:
        raw = self._raw
        name, names = raw.name, raw.names
        texts = map(ffi.string, [names + name[i] for i in numbers])
        starts, ends = ([column[i] for i in numbers] for column in (raw.start, raw.end))
        self._entries.update(zip(numbers, map(_entry, zip(starts, ends, texts))))


class Section(NamedTuple):
    """Where a section of an ELF file lies in memory."""

    start: int
    end: int
    executable: bool


class IndexBuilder:
    """Gathers symbols of several tables, or of one text."""

    def __init__(self) -> None:
        out = ffi.new("struct kp_symbuild **")
        _check(lib.kp_symbuild_create(out))
        self._raw = ffi.gc(out[0], lib.kp_symbuild_destroy)

    def add_elf(
        self, is_64: bool, symbols: bytes, names: bytes, sections: Sequence[Section], shift: int
    ) -> None:
        """Adds a symbol table; `shift` is added to every address."""
        array = ffi.new("struct kp_section[]", [(*section, 0) for section in sections])
        _check(
            lib.kp_symbuild_add_elf(
                self._raw,
                is_64,
                ffi.from_buffer("uint8_t[]", symbols),
                len(symbols),
                ffi.from_buffer("char[]", names),
                len(names),
                array,
                len(sections),
                shift & 0xFFFFFFFFFFFFFFFF,
            )
        )

    def add_kallsyms(self, text: bytes) -> None:
        _check(lib.kp_symbuild_add_kallsyms(self._raw, ffi.from_buffer("char[]", text), len(text)))

    def add_perf_map(self, text: bytes) -> None:
        _check(lib.kp_symbuild_add_perf_map(self._raw, ffi.from_buffer("char[]", text), len(text)))

    def finish(self) -> SymbolIndex:
        out = ffi.new("struct kp_symindex **")
        _check(lib.kp_symbuild_finish(self._raw, out))
        return SymbolIndex(out[0])
