"""How the fields of tracepoints are read, as a perf.data file tells it.

The layout is that of trace-cmd's files of version 0.6: descriptions of the ring's pages and of
records, then the format of each tracepoint by subsystem; the kernel's symbols, its printk formats
and the names of threads, which may follow, are left empty.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable

from kperf.machine import Machine

_MAGIC = b"\x17\x08\x44tracing0.6\0"


def _file(text: str | None) -> bytes:
    data = (text or "").encode()
    return struct.pack("=Q", len(data)) + data


def _systems(machine: Machine, tracepoints: Iterable[str]) -> bytes:
    formats: dict[str, list[bytes]] = {}
    for tracepoint in sorted(set(tracepoints)):
        system, _, name = tracepoint.partition(":")
        text = machine.trace_format(system, name)
        if text is not None:  # else a probe that is gone: perf tells of it
            formats.setdefault(system, []).append(_file(text))
    parts = [struct.pack("=I", len(formats))]
    for system, files in formats.items():
        parts += [system.encode() + b"\0", struct.pack("=I", len(files)), *files]
    return b"".join(parts)


def tracing_data(machine: Machine, tracepoints: Iterable[str]) -> bytes:
    """The description of these tracepoints, named system:name."""
    is_big = sys.byteorder == "big"
    return b"".join(
        (
            _MAGIC,
            struct.pack("=BBI", is_big, struct.calcsize("@l"), os.sysconf("SC_PAGE_SIZE")),
            b"header_page\0" + _file(machine.trace_header("header_page")),
            b"header_event\0" + _file(machine.trace_header("header_event")),
            struct.pack("=I", 0),  # formats of the function tracer's own records
            _systems(machine, tracepoints),
            struct.pack("=IIQ", 0, 0, 0),
        )
    )
