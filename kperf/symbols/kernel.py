"""The kernel's symbols and its modules', from /proc/kallsyms."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from kperf.symbols.image import BadFile
from kperf.symbols.index import Entry, IndexBuilder, SymbolIndex


class KernelSymbols:
    """All of /proc/kallsyms as it stood when it was read."""

    def __init__(self, index: SymbolIndex, modules: bytes) -> None:
        self._index = index
        self.modules = modules  # /proc/modules of that time
        self.read_at = time.monotonic()

    @property
    def is_hidden(self) -> bool:
        """Whether the kernel shows zeros in place of addresses, or nothing at all."""
        return self._index.last_start == 0

    def lookup(self, addresses: Sequence[int]) -> list[Entry | None]:
        """The symbol of each address; a module's name stands behind a tab."""
        return self._index.lookup(addresses)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _load(root: str, modules: bytes) -> KernelSymbols:
    builder = IndexBuilder()
    builder.add_kallsyms(_read(f"{root}/proc/kallsyms"))
    return KernelSymbols(builder.finish(), modules)


# Reading takes the kernel about 100 ms, so one reading serves all resolvers of a process until a
# module comes or goes.
_lock = threading.Lock()
_loaded: dict[str, KernelSymbols] = {}


def kernel_symbols(root: str, not_before: float = 0.0) -> KernelSymbols:
    """The kernel's symbols, read when they are first needed, or again if that was too early."""
    modules = _read(f"{root}/proc/modules")
    with _lock:
        kept = _loaded.get(root)
        is_old = kept is None or kept.is_hidden or kept.read_at < not_before
        if kept is None or is_old or kept.modules != modules:
            kept = _loaded[root] = _load(root, modules)
        return kept


def split_module(name: bytes) -> tuple[bytes, str]:
    """A symbol's own name and its module, such as [ext4]; "" for the kernel itself."""
    own, _, module = name.partition(b"\t")
    return own, module.decode("utf-8", "backslashreplace")


def hidden_note(kptr_restrict: int | None) -> BadFile:
    """Why there are no kernel symbols, and how to get them."""
    return BadFile(
        f"kernel symbols are hidden (kernel.kptr_restrict is {kptr_restrict})",
        "run as root with kernel.kptr_restrict at 0 or 1, or have root run: "
        "sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1",
    )
