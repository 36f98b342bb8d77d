"""What a trace of system calls is asked for, checked: the same whatever mechanism does it."""

from __future__ import annotations

import os
from typing import NamedTuple

from kperf.collection import Wanted
from kperf.syscalls import Selection, SyscallNames

# Numbers that mean something to the pairing, by the core's name for them.
_SPECIAL = {
    "restart": ("restart_syscall", 64),
    "restart_32": ("restart_syscall", 32),
    "sigreturn": ("rt_sigreturn", 64),
    "sigreturn_32": ("sigreturn", 32),
    "rt_sigreturn_32": ("rt_sigreturn", 32),
}


class TraceWanted(NamedTuple):
    """Which calls, whose, and how they are kept. Sizes in bytes; 0: what suits the machine."""

    names: SyscallNames
    selection: Selection
    by: str
    keep_calls: bool
    buffer_bytes: int
    store_bytes: int
    whom: Wanted
    call_stack: bool

    @property
    def special(self) -> dict[str, int]:
        """The numbers that this architecture has of those that mean something to the pairing."""
        found = {field: self.names.number(*call) for field, call in _SPECIAL.items()}
        return {field: number for field, number in found.items() if number is not None}


def memory() -> int:
    """The machine's, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
