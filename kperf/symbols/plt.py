"""The procedure linkage table: stubs through which calls into other libraries go.

Symbol tables do not name them. A stub is known by the slot of the global offset table that it
jumps through: a relocation names the function whose address that slot gets.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections.abc import Callable, Iterator
from functools import cached_property

from kperf.symbols.elf import ElfFile, Section
from kperf.symbols.index import Entry

_MAX_BYTES = 1 << 26
_SECTIONS = (b".plt", b".plt.sec", b".plt.got", b".iplt")

# ff 25 rel32: jmp *rel32(%rip)
_X86_JUMP = re.compile(rb"\xff\x25(....)", re.DOTALL)


def _x86_slots(section: Section, data: bytes) -> Iterator[tuple[int, int, int]]:
    entry = 8 if section.entry_size == 8 else 16
    for jump in _X86_JUMP.finditer(data):
        start = section.address + (jump.start() & -entry)
        slot = section.address + jump.end() + struct.unpack("<i", jump.group(1))[0]
        yield start, start + entry, slot


def _arm64_slots(section: Section, data: bytes) -> Iterator[tuple[int, int, int]]:
    """adrp x16, page; ldr x17, [x16, #offset]; add x16, x16, #offset; br x17"""
    words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) & ~3])
    for i in range(len(words) - 1):
        adrp, load = words[i], words[i + 1]
        if adrp & 0x9F00001F != 0x90000010 or load & 0xFFC003FF != 0xF9400211:
            continue
        at = section.address + 4 * i
        pages = (adrp >> 5 & 0x7FFFF) << 2 | adrp >> 29 & 3
        pages -= (pages & 1 << 20) << 1
        slot = (at & ~0xFFF) + (pages << 12) + (load >> 10 & 0xFFF) * 8
        start = at - 4 if i and words[i - 1] == 0xD503245F else at  # bti c
        yield start, at + 16, slot


_SLOTS: dict[str, Callable[[Section, bytes], Iterator[tuple[int, int, int]]]] = {
    "EM_X86_64": _x86_slots,
    "EM_AARCH64": _arm64_slots,
}


class PltNames:
    """The stubs of one file. Its bytes are read at once, and looked through at the first lookup."""

    def __init__(self, elf: ElfFile) -> None:
        self._stubs: list[tuple[Section, bytes]] = []
        self._relocations: list[tuple[bool, bytes]] = []  # whether of the table's own slots
        self._symbols = self._names = b""
        self._slots_of = _SLOTS.get(elf.machine)
        if self._slots_of is None or not elf.is_64:
            return
        for section in elf.sections:
            if section.name in _SECTIONS and section.type == "SHT_PROGBITS":
                self._stubs.append((section, elf.data(section, _MAX_BYTES)))
        if self._stubs:
            self._read_relocations(elf)

    def _read_relocations(self, elf: ElfFile) -> None:
        for section in elf.sections:
            if section.type == "SHT_RELA" and section.size <= _MAX_BYTES:
                is_own = section.name in (b".rela.plt", b".rela.iplt")
                self._relocations.append((is_own, elf.data(section)))
        table = next((s for s in elf.sections if s.type == "SHT_DYNSYM"), None)
        if table is not None and table.link < len(elf.sections):
            self._symbols, self._names = elf.data(table), elf.data(elf.sections[table.link])

    def lookup(self, address: int) -> Entry | None:
        """The stub that an address lies in."""
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._entries[at].end:
            return None
        return self._entries[at]

    @cached_property
    def _starts(self) -> list[int]:
        return [entry.start for entry in self._entries]

    @cached_property
    def _entries(self) -> list[Entry]:
        """All stubs in order of their address."""
        slots_of = self._slots_of
        if slots_of is None or not self._stubs:
            return []
        names = self._slot_names()
        return sorted(
            Entry(start, end, names[slot] + b"@plt")
            for section, data in self._stubs
            for start, end, slot in slots_of(section, data)
            if slot in names
        )

    def _slot_names(self) -> dict[int, bytes]:
        """What each slot of the global offset table gets."""
        found = {}
        for is_own, data in self._relocations:
            for slot, info, addend in struct.iter_unpack("<QQq", data[: len(data) // 24 * 24]):
                if info >> 32:
                    name = self._dynamic_name(info >> 32)
                    if name:
                        found[slot] = name
                elif is_own:
                    found[slot] = b"*ABS*+%#x" % addend  # chosen at run time, as binutils has it
        return found

    def _dynamic_name(self, number: int) -> bytes:
        at = number * 24
        if at + 24 > len(self._symbols):
            return b""
        start = struct.unpack_from("<I", self._symbols, at)[0]
        end = self._names.find(b"\0", start)
        return self._names[start:end] if end >= 0 else b""
