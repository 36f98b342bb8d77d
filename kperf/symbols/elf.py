"""The structure of ELF files: headers, segments, sections, build-id, debug link."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from kperf.symbols.image import BadFile, BytesImage, Image
from kperf.symbols.index import IndexBuilder
from kperf.symbols.index import Section as Extent

_MAX_HEADERS = 0xFFFF
_MAX_TABLE = 1 << 30  # a symbol table or its names
_MAX_NOTES = 1 << 16
_MAX_MINI_DEBUG = 1 << 28

_EXECUTABLE_SECTION = 4  # SHF_EXECINSTR
COMPRESSED_SECTION = 0x800  # SHF_COMPRESSED
_EXECUTABLE_SEGMENT = 1  # PF_X
_BUILD_ID_NOTE = 3  # NT_GNU_BUILD_ID

_DAMAGED = "install the file again: its headers are damaged"


class Section(NamedTuple):
    """One section header."""

    name: bytes
    type: str
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


class Segment(NamedTuple):
    """One program header."""

    type: str
    offset: int
    address: int
    file_size: int
    executable: bool


def _structs(image: Image) -> Any:
    """pyelftools' declarations for the class of this file."""
    from elftools.elf.structs import ELFStructs

    ident = image.read(0, 16) if image.size >= 16 else b""
    if not ident.startswith(b"\x7fELF"):
        raise BadFile("it is no ELF file", "nothing is to be done: it holds no symbols")
    if ident[4] not in (1, 2) or ident[5] != 1:
        raise BadFile(
            "it is no little-endian ELF file", "analyse it on a machine of its own byte order"
        )
    structs = ELFStructs(little_endian=True, elfclass=32 * ident[4])
    structs.create_basic_structs()
    return structs


class ElfFile:
    """An ELF image. Headers are read at once, everything else when it is asked for.

    Whatever is wrong with it raises BadFile.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        try:
            self._read_headers()
        except BadFile:
            raise
        except Exception as cause:  # whatever pyelftools' parser meets in a damaged file
            raise BadFile(f"its headers are damaged ({cause})", _DAMAGED) from cause

    def _read_headers(self) -> None:
        structs = _structs(self.image)
        header = structs.Elf_Ehdr.parse(self.image.read(0, structs.Elf_Ehdr.sizeof()))
        structs.create_advanced_structs(header.e_type, header.e_machine, header.e_ident.EI_OSABI)
        self.is_64 = structs.elfclass == 64
        self.machine = str(header.e_machine)
        self.segments = tuple(
            Segment(
                str(h.p_type),
                h.p_offset,
                h.p_vaddr,
                h.p_filesz,
                bool(h.p_flags & _EXECUTABLE_SEGMENT),
            )
            for h in self._table(
                structs.Elf_Phdr, header.e_phoff, header.e_phnum, header.e_phentsize
            )
        )
        self.sections = tuple(self._read_sections(structs, header))

    def _table(self, kind: Any, offset: int, number: int, entry_size: int) -> Iterator[Any]:
        """The entries of a header table."""
        if number == 0 or offset == 0:
            return
        needed = kind.sizeof()
        if entry_size < needed or number > _MAX_HEADERS:
            raise BadFile("its headers are damaged", _DAMAGED)
        data = self.image.read(offset, number * entry_size)
        for at in range(0, len(data), entry_size):
            yield kind.parse(data[at : at + needed])

    def _read_sections(self, structs: Any, header: Any) -> Iterator[Section]:
        number, names_at = header.e_shnum, header.e_shstrndx
        if header.e_shoff == 0:
            return
        if number == 0 or names_at == 0xFFFF:  # the numbers are too large for the header
            first = next(self._table(structs.Elf_Shdr, header.e_shoff, 1, header.e_shentsize))
            number = number or first.sh_size
            names_at = first.sh_link if names_at == 0xFFFF else names_at
        raw = list(self._table(structs.Elf_Shdr, header.e_shoff, number, header.e_shentsize))
        names = b""
        if names_at < len(raw):
            strings = raw[names_at]
            names = self.image.read(strings.sh_offset, min(strings.sh_size, _MAX_TABLE))
        for h in raw:
            end = names.find(b"\0", h.sh_name, h.sh_name + 256)
            yield Section(
                names[h.sh_name : end] if end >= 0 else b"",
                str(h.sh_type),
                h.sh_flags,
                h.sh_addr,
                h.sh_offset,
                h.sh_size,
                h.sh_link,
                h.sh_entsize,
            )

    # ---- data ----

    def section(self, name: bytes) -> Section | None:
        """The first section of that name that has bytes in the file."""
        for section in self.sections:
            if section.name == name and section.type != "SHT_NOBITS":
                return section
        return None

    def data(self, section: Section, limit: int = _MAX_TABLE) -> bytes:
        """A section's bytes as they stand in the file."""
        if section.size > limit:
            raise BadFile(
                f"its section {section.name.decode('utf-8', 'replace')} has {section.size} bytes",
                "nothing is to be done: kperf does not read so much",
            )
        return self.image.read(section.offset, section.size)

    # ---- addresses ----

    @cached_property
    def loads(self) -> tuple[Segment, ...]:
        """The segments that are mapped."""
        return tuple(s for s in self.segments if s.type == "PT_LOAD" and s.file_size)

    @cached_property
    def load_address(self) -> int:
        """The lowest address that the file asks for."""
        return min((s.address for s in self.segments if s.type == "PT_LOAD"), default=0)

    # ---- identity ----

    @cached_property
    def build_id(self) -> bytes:
        """Empty where it has none."""
        places = [
            (s.offset, s.file_size)
            for s in self.segments
            if s.type == "PT_NOTE" and s.file_size <= _MAX_NOTES
        ]
        places += [
            (s.offset, s.size)
            for s in self.sections
            if s.type == "SHT_NOTE" and s.size <= _MAX_NOTES
        ]
        for offset, size in places:
            try:
                found = find_build_id(self.image.read(offset, size))
            except BadFile:  # separate debug files keep segments whose bytes they lack
                continue
            if found:
                return found
        return b""

    @cached_property
    def debug_link(self) -> tuple[bytes, int] | None:
        """Name and CRC of the separate debug file."""
        section = self.section(b".gnu_debuglink")
        if section is None or not 8 <= section.size <= 4096:
            return None
        data = self.data(section)
        return data.split(b"\0", 1)[0], struct.unpack("<I", data[-4:])[0]

    # ---- symbols ----

    @property
    def has_symbols(self) -> bool:
        """Whether it has the full table, not just the one for linking at run time."""
        return any(s.type == "SHT_SYMTAB" and s.size for s in self.sections)

    def add_symbols(self, builder: IndexBuilder, shift: int = 0) -> None:
        """Adds all its symbol tables."""
        extents = [
            Extent(s.address, s.address + s.size, bool(s.flags & _EXECUTABLE_SECTION))
            if s.address + s.size < 1 << 64
            else Extent(0, 0, False)
            for s in self.sections
        ]
        for table in self.sections:
            if table.type in ("SHT_SYMTAB", "SHT_DYNSYM") and table.link < len(self.sections):
                names = self.data(self.sections[table.link])
                builder.add_elf(self.is_64, self.data(table), names, extents, shift)

    def mini_debug_info(self) -> ElfFile | None:
        """The compressed file with a symbol table only that some distributions embed."""
        section = self.section(b".gnu_debugdata")
        if section is None:
            return None
        decompressor = lzma.LZMADecompressor(memlimit=_MAX_MINI_DEBUG)
        try:
            data = decompressor.decompress(self.data(section), max_length=_MAX_MINI_DEBUG)
        except (lzma.LZMAError, MemoryError, EOFError) as cause:
            raise BadFile(f"its .gnu_debugdata is damaged ({cause})", _DAMAGED) from cause
        return ElfFile(BytesImage(data))

    # ---- source lines ----

    @cached_property
    def debug_info_size(self) -> int:
        """Bytes of DWARF, as they are once decompressed; 0 where it has no source lines."""
        debug = [s for s in self.sections if s.name.startswith((b".debug_", b".zdebug_"))]
        if not any(s.name in (b".debug_info", b".zdebug_info") and s.size for s in debug):
            return 0
        return sum(self._full_size(s) for s in debug if s.type != "SHT_NOBITS")

    def _full_size(self, section: Section) -> int:
        if section.flags & COMPRESSED_SECTION and section.size >= 24:  # Elf64_Chdr, Elf32_Chdr
            at, kind = (8, "<Q") if self.is_64 else (4, "<I")
            size = struct.calcsize(kind)
            return int(struct.unpack(kind, self.image.read(section.offset + at, size))[0])
        if section.name.startswith(b".zdebug_") and section.size >= 12:  # "ZLIB" and the size
            return int.from_bytes(self.image.read(section.offset + 4, 8), "big")
        return section.size


def find_build_id(notes: bytes) -> bytes:
    """The build-id among the notes of a segment or section; empty where there is none."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name_at = at + 12
        data_at = name_at + (name_size + 3 & ~3)
        if kind == _BUILD_ID_NOTE and notes[name_at : name_at + name_size] == b"GNU\0":
            return notes[data_at : data_at + size] if size <= 64 else b""
        at = data_at + (size + 3 & ~3)
    return b""


def vaddr_bias(elf: ElfFile, start: int, end: int, offset: int) -> int | None:
    """What is to be taken from an address of a mapping to get the file's own address.

    `offset` is the mapping's place in the file. None where no segment of the file is there: then
    it is another file, or it is mapped as data.
    """
    best, most = None, 0
    for segment in elf.loads:
        first = segment.offset & ~0xFFF  # mappings begin at pages, segments anywhere
        overlap = min(offset + end - start, segment.offset + segment.file_size) - max(offset, first)
        if overlap > 0 and overlap * (1 << 40 if segment.executable else 1) > most:
            most = overlap * (1 << 40 if segment.executable else 1)
            best = segment
    if best is None:
        return None
    return (start - offset) - (best.address - best.offset)
