"""The symbols of one ELF file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from kperf.symbols.debugfile import find_debug_file
from kperf.symbols.elf import ElfFile, vaddr_bias
from kperf.symbols.files import Mapping, OpenFile
from kperf.symbols.image import BadFile, FileImage
from kperf.symbols.index import Entry, IndexBuilder, SymbolIndex
from kperf.symbols.plt import PltNames


class LineSource:
    """Where the source lines of a module are to be read."""

    def __init__(self, elf: ElfFile, path: str, module: ElfFile) -> None:
        self.path = path
        self.build_id = module.build_id
        self.debug_info_size = elf.debug_info_size
        self.load_address = elf.load_address
        # what prelinking, which moves a module and not its debug file, took from its addresses
        self.shift = elf.load_address - module.load_address


class Module:
    """One ELF file, with its separate debug file: addresses in it to symbols.

    `notes` tells what could not be used, each with its cause and its fix.
    """

    def __init__(self, file: OpenFile, *, lines: bool) -> None:
        self.notes: list[BadFile] = []
        self._elf = file.elf
        self._file = file
        self._wants_lines = lines
        debug = self._debug_file()
        self.is_stripped = not (file.elf.has_symbols or (debug and debug.has_symbols))
        self._index = self._build_index(debug)
        self.line_source = self._line_source(debug) if lines else None
        self._plt = self._read_plt()
        for elf in (file.elf, debug):
            if elf is not None:
                elf.image.close()  # a recording may touch more files than may be open

    def _debug_file(self) -> ElfFile | None:
        elf = self._elf
        needs_lines = self._wants_lines and not self._attempt_size(elf)
        if elf.has_symbols and not needs_lines:
            return None
        return find_debug_file(elf, self._file.path, self._file.roots)

    def _attempt_size(self, elf: ElfFile) -> int:
        try:
            return elf.debug_info_size
        except BadFile as cause:
            self.notes.append(cause)
            return 0

    def _build_index(self, debug: ElfFile | None) -> SymbolIndex:
        builder = IndexBuilder()
        self._add(builder, self._elf)
        if debug is not None:
            self._add(builder, debug, self._elf.load_address - debug.load_address)
        elif not self._elf.has_symbols:
            self._add_embedded(builder)
        return builder.finish()

    def _add(self, builder: IndexBuilder, elf: ElfFile, shift: int = 0) -> None:
        """A table that cannot be read does not cost the other ones."""
        try:
            elf.add_symbols(builder, shift)
        except BadFile as cause:
            self.notes.append(cause)

    def _add_embedded(self, builder: IndexBuilder) -> None:
        try:
            embedded = self._elf.mini_debug_info()
        except BadFile as cause:
            self.notes.append(cause)
            return
        if embedded is not None:
            self.is_stripped = not embedded.has_symbols
            self._add(builder, embedded)

    def _line_source(self, debug: ElfFile | None) -> LineSource | None:
        for elf in (self._elf, debug):
            if elf is not None and isinstance(elf.image, FileImage) and self._attempt_size(elf):
                return LineSource(elf, elf.image.path, self._elf)
        return None

    def _read_plt(self) -> PltNames | None:
        try:
            return PltNames(self._elf)
        except (OSError, BadFile) as cause:
            self.notes.append(cause if isinstance(cause, BadFile) else BadFile(str(cause), ""))
            return None

    # ---- lookup ----

    @cached_property
    def build_id(self) -> bytes:
        return self._elf.build_id

    def bias(self, mapping: Mapping) -> int | None:
        """What is to be taken from the addresses of a mapping to get this file's own."""
        return vaddr_bias(self._elf, mapping.start, mapping.end, mapping.offset)

    def lookup(self, addresses: Sequence[int]) -> list[Entry | None]:
        """The symbol of each of the file's own addresses."""
        found = self._index.lookup(addresses)
        if self._plt is not None and None in found:
            for i, entry in enumerate(found):
                if entry is None:
                    found[i] = self._plt.lookup(addresses[i])
        return found
