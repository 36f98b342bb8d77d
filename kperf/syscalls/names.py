"""From names of system calls to numbers and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from kperf.errors import Error, error
from kperf.events.nearest import nearest
from kperf.syscalls.table import TABLE

# Whose calls the 32-bit programs of an architecture make.
_COMPAT = {"x86_64": "i386", "aarch64": "arm"}

# What some call a call: as the C library does, and as the kernel calls its function.
_ALIASES: dict[str, tuple[str, ...]] = {
    "_exit": ("exit",),
    "fadvise": ("fadvise64", "fadvise64_64"),
    "fstatat": ("newfstatat", "fstatat64"),
    "fstatat64": ("newfstatat",),
    "mmap64": ("mmap", "mmap2"),
    "newfstat": ("fstat",),
    "newlstat": ("lstat",),
    "newstat": ("stat",),
    "newuname": ("uname",),
    "posix_fadvise": ("fadvise64", "fadvise64_64"),
    "pread": ("pread64",),
    "pwrite": ("pwrite64",),
    "sendfile64": ("sendfile",),
    "sigaction": ("rt_sigaction",),
    "sigpending": ("rt_sigpending",),
    "sigprocmask": ("rt_sigprocmask",),
    "sigreturn": ("rt_sigreturn",),
    "sigsuspend": ("rt_sigsuspend",),
    "umount": ("umount2",),
    "waitpid": ("wait4",),
}

_NUMBERED = re.compile(r"(?:syscall|syscall32)_(\d{1,10})")
_MOST_NUMBER = (1 << 32) - 1


@cache
def _table(arch: str) -> dict[str, int]:
    """The numbers of an architecture's calls; empty for one that the table does not have."""
    lines = [line.split() for line in TABLE.splitlines()]
    if arch not in lines[0]:
        return {}
    column = lines[0].index(arch)
    return {line[0]: int(line[column]) for line in lines[1:] if line[column] != "-"}


class Selection(NamedTuple):
    """Numbers of the calls that were asked for, sorted; both empty: all calls."""

    numbers: tuple[int, ...]
    numbers_32: tuple[int, ...]  # of 32-bit programs


class SyscallNames:
    """The system calls of an architecture, such as "x86_64" or "aarch64"."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self._numbers = _table(arch)
        self._numbers_32 = _table(_COMPAT.get(arch, ""))
        self._names = {number: name for name, number in self._numbers.items()}
        self._names_32 = {number: name for name, number in self._numbers_32.items()}

    @property
    def names(self) -> list[str]:
        """All calls of this architecture, sorted."""
        return sorted(self._numbers)

    def number(self, name: str, bits: int = 64) -> int | None:
        return (self._numbers_32 if bits == 32 else self._numbers).get(name)

    def name(self, number: int, bits: int = 64) -> str:
        """The name of a call of a program of 64 or 32 bits; `syscall_N` where there is none."""
        if bits == 32:
            return self._names_32.get(number, f"syscall32_{number}")
        return self._names.get(number, f"syscall_{number}")

    def _find(self, name: str) -> tuple[int | None, int | None] | None:
        """A call's numbers for both kinds of programs; None where neither has it."""
        numbered = _NUMBERED.fullmatch(name)
        if numbered is not None:
            number = int(numbered[1])
            if number > _MOST_NUMBER:
                return None
            return (None, number) if name.startswith("syscall32") else (number, None)
        found = (self.number(name), self.number(name, 32))
        for alias in _ALIASES.get(name, ()):
            found = tuple(  # type: ignore[assignment]
                own if own is not None else self.number(alias, bits)
                for own, bits in zip(found, (64, 32))
            )
        return None if found == (None, None) else found

    def select(self, names: Sequence[str]) -> Selection:
        """The numbers of some calls; of all for an empty list. Raises INVALID_SYSCALL."""
        numbers: set[int] = set()
        numbers_32: set[int] = set()
        unknown = []
        for name in names:
            found = self._find(name)
            if found is None:
                unknown.append(name)
                continue
            numbers.update(number for number in found[:1] if number is not None)
            numbers_32.update(number for number in found[1:] if number is not None)
        if unknown:
            raise error(Error.INVALID_SYSCALL, self._complaint(unknown), hint=_HINT)
        return Selection(tuple(sorted(numbers)), tuple(sorted(numbers_32)))

    def _complaint(self, unknown: Iterable[str]) -> str:
        known = [*self._numbers, *(name for name in _ALIASES if self._find(name))]
        parts = []
        for name in dict.fromkeys(unknown):
            near = nearest(name, known)
            parts.append(f"'{name}' is no system call here" + (f" (near: {near})" if near else ""))
        return "; ".join(parts)


_HINT = "see 'kperf list syscalls', or name one by its number: syscall_N"
