"""Where names of functions and lines come from."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kperf.doctor.finding import LIMITED, OK, Finding
from kperf.machine import Machine

_KALLSYMS = "proc/kallsyms"
_DEBUG_FILES = "usr/lib/debug/.build-id"


def _first_address(machine: Machine) -> int | None:
    """The address of the kernel's first symbol; None where they cannot be read."""
    try:
        with open(machine.root + _KALLSYMS, encoding="ascii", errors="replace") as file:
            return max(int(line.split(maxsplit=1)[0], 16) for _, line in zip(range(64), file))
    except (OSError, ValueError):
        return None


def check_kernel_symbols(machine: Machine) -> Iterator[Finding]:
    address = _first_address(machine)
    if address:
        yield Finding("kernel-symbols", OK, "the kernel's functions have names")
        return
    restrict = machine.read("proc/sys/kernel/kptr_restrict")
    why = (
        "cannot be read" if address is None else f"are hidden (kernel.kptr_restrict is {restrict})"
    )
    yield Finding(
        "kernel-symbols",
        LIMITED,
        f"the addresses in /{_KALLSYMS} {why}: the kernel's functions are one [kernel]",
        "run as root, or: sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1",
    )


def check_source_lines(machine: Machine) -> Iterator[Finding]:
    from kperf.symbols.cache import cache_dir

    if os.path.isdir(machine.root + _DEBUG_FILES):
        yield Finding("source-lines", OK, f"debug files of packages are in /{_DEBUG_FILES}")
    else:
        yield Finding(
            "source-lines",
            LIMITED,
            "no debug files of packages are installed: lines are known of programs built with -g",
            "install the debug packages (-dbgsym, -debuginfo) of what you profile",
        )
    folder = cache_dir()
    if folder and not _can_keep(folder):
        yield Finding(
            "source-lines",
            LIMITED,
            f"{folder} cannot be written: source lines are looked up anew each time",
            "set XDG_CACHE_HOME to a folder that you may write to",
        )


def _can_keep(folder: str) -> bool:
    """Whether a file could be put there, or its folder be made."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK | os.X_OK)
