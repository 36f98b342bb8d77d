"""The code that the kernel lends to every process, read from our own memory."""

from __future__ import annotations

import os

from kperf.symbols.elf import ElfFile
from kperf.symbols.files import OpenFile
from kperf.symbols.image import BadFile, BytesImage
from kperf.symbols.module import Module

VDSO = "[vdso]"
_MAX_BYTES = 1 << 20


def own_vdso() -> bytes:
    """Our own vdso's image, which is that of all processes of our kind; empty: none."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            line = next((line for line in maps if line.rstrip().endswith(VDSO)), "")
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, min(end - start, _MAX_BYTES), start)
        finally:
            os.close(fd)
    except (OSError, IndexError, ValueError):
        return b""


def vdso_module(size: int) -> Module:
    """The symbols of a vdso of `size` bytes; BadFile where ours is another one."""
    image = own_vdso()
    if len(image) != size:
        raise BadFile(
            "it is not that of kperf's own process (a 32-bit program, or another kernel)",
            "record with a kperf of the program's own kind",
        )
    return Module(OpenFile(ElfFile(BytesImage(image)), VDSO, ()), lines=False)
