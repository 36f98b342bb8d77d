"""System calls by name and number, for this architecture and for its 32-bit programs."""

from __future__ import annotations

from kperf.syscalls.names import Selection, SyscallNames

__all__ = ["Selection", "SyscallNames"]
