"""Addresses to symbols: of files, JIT code, the vdso and the kernel, each read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from kperf.machine import Machine
from kperf.symbols.files import Mapping, open_mapped
from kperf.symbols.image import BadFile
from kperf.symbols.index import Entry
from kperf.symbols.kernel import KernelSymbols, hidden_note, kernel_symbols, split_module
from kperf.symbols.module import Module
from kperf.symbols.perfmap import PerfMaps
from kperf.symbols.symbol import HIDDEN_KERNEL, KERNEL_MODULE, UNKNOWN, Symbol
from kperf.symbols.vdso import VDSO, vdso_module

if TYPE_CHECKING:
    from kperf.symbols.lines import LineReader
    from kperf.symbols.places import Place, Row

__all__ = ["Mapping", "Resolver", "Symbol"]


class _Places:
    """Addresses, and where each is looked up."""

    def __init__(self, addresses: Sequence[int], callers: Sequence[bool] = ()) -> None:
        self.addresses = addresses
        self.sites = [a - c for a, c in zip(addresses, callers)] if callers else addresses

    def less(self, bias: int) -> _Places:
        """The same in a file that is mapped `bias` higher."""
        moved = _Places([address - bias for address in self.addresses])
        if self.sites is not self.addresses:
            moved.sites = [site - bias for site in self.sites]
        return moved

    def entries(self, lookup: Callable[[Sequence[int]], list[Entry | None]]) -> list[Entry | None]:
        """The symbol of each.

        A signal handler returns to code that called nothing: where nothing is before an address,
        the address itself counts.
        """
        found = lookup(self.sites)
        missing = [i for i, entry in enumerate(found) if entry is None]
        if missing and self.sites is not self.addresses:
            for i, entry in zip(missing, lookup([self.addresses[i] for i in missing])):
                found[i] = entry
        return found


class Resolver:
    """Names addresses. It never raises for what is wrong with a file: `notes` tells of it.

    notes       one sentence for each thing that could not be used: its cause and its fix
    unresolved  addresses that got no name

    With `lines` the symbols tell files and lines, with `inlined` also what was inlined there.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        lines: bool,
        inlined: bool = False,
        no_kernel: BadFile | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.unresolved = 0
        self._machine = machine
        self._root = machine.root.rstrip("/")
        self._modules: dict[object, Module | None] = {}
        self._perf_maps = PerfMaps(self._root)
        self._lines = _line_reader(inlined) if lines else None
        self._inlined = inlined
        self._kernel: KernelSymbols | None = None
        self._no_kernel = no_kernel  # why its addresses are not to be looked up
        self._made_at = monotonic()
        self._noted: set[tuple[str, str]] = set()

    def symbols(
        self,
        mapping: Mapping | None,
        addresses: Sequence[int],
        *,
        kernel: bool = False,
        callers: Sequence[bool] = (),
    ) -> list[Symbol]:
        """One symbol for each address, in the same order.

        `mapping` is where all of them lie; None where nothing is known to be mapped. `callers`
        tells of each whether a call returns there: it is looked up at the call, which lies before
        it, maybe in another function or line. Empty: none of them.
        """
        if not addresses:
            return []
        places = _Places(addresses, callers)
        if kernel:
            found = self._kernel_symbols(places)
        elif mapping is None:
            found = [Symbol(address, UNKNOWN, offset=address) for address in addresses]
        else:
            found = self._mapped_symbols(mapping, places)
        self.unresolved += sum([not symbol.resolved for symbol in found])
        return found

    def close(self) -> None:
        """Ends the process that reads source lines, where one was needed. Use goes on to work."""
        if self._lines is not None:
            self._lines.close()

    # ---- notes ----

    def _note(self, name: str, cause: BadFile) -> None:
        if (name, cause.cause) not in self._noted:
            self._noted.add((name, cause.cause))
            subject = f"{name}: " if name else ""
            self.notes.append(
                f"{subject}{cause.cause}; {cause.fix}" if cause.fix else f"{subject}{cause.cause}"
            )

    # ---- the kernel ----

    def _kernel_symbols(self, places: _Places) -> list[Symbol]:
        addresses = places.addresses
        if self._no_kernel is not None:
            self._note("", self._no_kernel)
            return [Symbol(address, KERNEL_MODULE, HIDDEN_KERNEL) for address in addresses]
        if self._kernel is None:
            try:
                self._kernel = kernel_symbols(self._root)
            except (BadFile, MemoryError) as cause:
                self._note("/proc/kallsyms", _as_bad(cause))
                return [Symbol(address, KERNEL_MODULE, HIDDEN_KERNEL) for address in addresses]
        if self._kernel.is_hidden:
            self._note("", hidden_note(self._machine.read_int("proc/sys/kernel/kptr_restrict")))
            return [Symbol(address, KERNEL_MODULE, HIDDEN_KERNEL) for address in addresses]
        found = places.entries(self._kernel.lookup)
        if None in found and self._kernel.read_at < self._made_at:
            # code that came since, such as a BPF program, which no list of modules tells of
            self._kernel = kernel_symbols(self._root, self._made_at)
            found = places.entries(self._kernel.lookup)
        return list(map(_kernel_symbol, addresses, found))

    # ---- mappings ----

    def _mapped_symbols(self, mapping: Mapping, places: _Places) -> list[Symbol]:
        try:
            module = self._module(mapping)
            if module is not None:
                return self._module_symbols(module, mapping, places)
        except (BadFile, OSError, MemoryError) as cause:
            self._note(mapping.shown_path, _as_bad(cause))
        return self._jit_symbols(mapping, places)

    def _module(self, mapping: Mapping) -> Module | None:
        """The module that is mapped; None where it is no file, or one that was refused before."""
        if mapping.path == VDSO:
            size = mapping.end - mapping.start
            return self._load(mapping, (VDSO, size), partial(vdso_module, size))
        if not mapping.is_file:
            return None
        key = mapping.identity
        if self._modules.get(key) is not None:
            return self._modules[key]
        # another process may reach a file that is closed to this one: a refusal is this one's own
        return self._load(mapping, (mapping.pid, *key), partial(self._open, mapping, key))

    def _open(self, mapping: Mapping, key: object) -> Module:
        module = Module(open_mapped(mapping, self._root), lines=self._lines is not None)
        self._modules[key] = module
        return module

    def _load(self, mapping: Mapping, key: object, load: Callable[[], Module]) -> Module | None:
        if key not in self._modules:
            self._modules[key] = None
            module = self._modules[key] = load()
            for note in module.notes:
                self._note(mapping.shown_path, note)
        return self._modules[key]

    def _module_symbols(self, module: Module, mapping: Mapping, places: _Places) -> list[Symbol]:
        name = mapping.shown_path
        bias = module.bias(mapping)
        if bias is None:
            raise BadFile(
                "it is not mapped as its headers say",
                "install the file again, and start the program again",
            )
        own = places.less(bias)
        found = own.entries(module.lookup)
        symbols = _symbols(places.addresses, found, mapping, bias, bias)
        if module.is_stripped and None in found:
            self._note(
                name,
                BadFile(
                    "it has no symbol table, so its own functions have no names",
                    "install its debug package, or use a build that is not stripped",
                ),
            )
        self._add_lines(module, name, symbols, own.sites)
        return symbols

    def _add_lines(
        self, module: Module, name: str, symbols: list[Symbol], own: Sequence[int]
    ) -> None:
        if self._lines is None or module.line_source is None:
            return
        try:
            rows = self._lines.lookup(module.line_source, own)
        except (BadFile, OSError, MemoryError) as cause:
            module.line_source = None
            self._note(name, _as_bad(cause))
            return
        for symbol, row in zip(symbols, rows):
            if row:
                symbol.fileName, symbol.lineNum = row[0].file, row[0].line
        if self._inlined:
            _expand(symbols, rows)
        if self._lines.lacks_inlined(module.line_source):
            self._note(name, _SPLIT)

    def _jit_symbols(self, mapping: Mapping, places: _Places) -> list[Symbol]:
        """Symbols of code that no file holds, or none that can be read."""
        found: list[Entry | None] = [None] * len(places.addresses)
        try:
            index = self._perf_maps.index(mapping.pid)
            if index is not None:
                found = places.entries(index.lookup)
        except (BadFile, OSError, MemoryError) as cause:
            self._note(f"/tmp/perf-{mapping.pid}.map", _as_bad(cause))
        first = mapping.start - mapping.offset
        return _symbols(places.addresses, found, mapping, 0, first)


_SPLIT = BadFile(
    "its debug information was split off (-gsplit-dwarf), so inlined functions are not shown",
    "build it without -gsplit-dwarf",
)


def _line_reader(inlined: bool) -> LineReader:
    from kperf.symbols.lines import LineReader

    return LineReader(inlined=inlined)


def _as_bad(cause: BadFile | OSError | MemoryError) -> BadFile:
    if isinstance(cause, BadFile):
        return cause
    if isinstance(cause, MemoryError):
        return BadFile("there is no memory left for its symbols", "give kperf more memory")
    return BadFile(f"it cannot be read ({cause.strerror or cause})", "look at its file system")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _symbols(
    addresses: Sequence[int],
    found: Sequence[Entry | None],
    mapping: Mapping,
    bias: int,
    first: int,
) -> list[Symbol]:
    """Symbols of what was found at addresses of a mapping; `first` is where unknown ones begin."""
    from kperf.symbols.demangle import demangle

    module, symbols = mapping.shown_path, []
    for address, entry in zip(addresses, found):
        if entry is None:
            unknown = (UNKNOWN, "", address - first, mapping.start, mapping.end)
            symbols.append(Symbol(address, module, *unknown))
            continue
        low, high, name = entry
        raw, start = _text(name), low + bias
        symbols.append(
            Symbol(address, module, demangle(raw), raw, address - start, start, high + bias)
        )
    return symbols


def _expand(symbols: Sequence[Symbol], rows: Sequence[Row]) -> None:
    """Has symbols tell the functions that were inlined where they are."""
    from kperf.symbols.demangle import demangle

    for symbol, row in zip(symbols, rows):
        if len(row) < 2 or not symbol.resolved:
            continue
        calls = [_copy(symbol, place) for place in row]
        for call, place in zip(calls[:-1], row):
            call.symbolName, call.mangleName = demangle(place.function), place.function
            call.inlined = True
        symbol.expanded = tuple(calls)


def _copy(symbol: Symbol, place: Place) -> Symbol:
    """The same symbol at another line."""
    copy = Symbol(
        symbol.addr,
        symbol.module,
        symbol.symbolName,
        symbol.mangleName,
        symbol.offset,
        symbol.codeMapAddr,
        symbol.codeMapEndAddr,
    )
    copy.fileName, copy.lineNum = place.file, place.line
    return copy


def _kernel_symbol(address: int, entry: Entry | None) -> Symbol:
    if entry is None:
        return Symbol(address, KERNEL_MODULE, offset=address)
    name, module = split_module(entry.name)
    text = _text(name)
    return Symbol(
        address,
        module or KERNEL_MODULE,
        text,
        text,
        address - entry.start,
        entry.start,
        entry.end,
    )
