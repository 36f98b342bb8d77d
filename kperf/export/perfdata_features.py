"""The features of a perf.data file: where and how it was recorded, and the build-ids of files."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Sequence

from kperf._version import __version__
from kperf.export.perfdata_records import Attribute, Records, padded
from kperf.export.profile import Profile
from kperf.export.tracing_data import tracing_data

# Their bits, in the kernel's tools/perf/util/header.h.
_TRACING_DATA, _BUILD_ID, _HOSTNAME, _OSRELEASE, _VERSION, _ARCH, _NRCPUS = range(1, 8)
_CPUDESC, _CPUID, _TOTAL_MEM, _CMDLINE, _EVENT_DESC = range(8, 13)
_SAMPLE_TIME, _CLOCKID, _CLOCK_DATA = 21, 23, 29

_NAME_ALIGN = 64
_KERNEL, _USER, _WITH_SIZE = 1, 2, 1 << 15
_CLOCK_MONOTONIC = 1

_BUILD_ID_FIELDS = struct.Struct("=IHHi20sB3x")  # header, pid, build-id and its size


def _string(text: str) -> bytes:
    data = padded(text.encode("utf-8", "surrogateescape"), _NAME_ALIGN)
    return struct.pack("=I", len(data)) + data


def _strings(texts: Sequence[str]) -> bytes:
    return struct.pack("=I", len(texts)) + b"".join(map(_string, texts))


def _event_desc(attrs: Sequence[Attribute]) -> bytes:
    size = len(attrs[0].encoded) if attrs else 0
    parts = [struct.pack("=II", len(attrs), size)]
    for attr in attrs:
        parts += [attr.encoded, struct.pack("=I", 1), _string(attr.name)]
        parts.append(struct.pack("=Q", attr.id))
    return b"".join(parts)


def _build_ids(records_of: Records) -> bytes:
    """One a file that samples lie in."""
    records = []
    for is_kernel, path, build_id in records_of.build_ids.of_files():
        name = padded(path, _NAME_ALIGN)
        misc = (_KERNEL if is_kernel else _USER) | _WITH_SIZE
        size = _BUILD_ID_FIELDS.size + len(name)
        records.append(_BUILD_ID_FIELDS.pack(0, misc, size, -1, build_id, len(build_id)) + name)
    return b"".join(records)


def _tracing_data(profile: Profile, attrs: Sequence[Attribute]) -> bytes:
    tracepoints = [attr.tracepoint for attr in attrs if attr.tracepoint]
    return tracing_data(profile.machine, tracepoints) if tracepoints else b""


def _clock_data() -> bytes:
    """A moment on both clocks: `perf` shows the time of day by it."""
    now, monotonic = time.time_ns(), time.monotonic_ns()
    return struct.pack("=IIQQ", 1, _CLOCK_MONOTONIC, now, monotonic)


def features(profile: Profile, attrs: Sequence[Attribute], records: Records) -> dict[int, bytes]:
    """The contents of each feature by its bit; none that is not known."""
    machine = profile.machine
    online = len(machine.online_cpus)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    found = {
        _TRACING_DATA: _tracing_data(profile, attrs),
        _BUILD_ID: _build_ids(records),
        _HOSTNAME: _string(os.uname().nodename),
        _OSRELEASE: _string(machine.kernel or ""),
        _VERSION: _string(f"kperf {__version__}"),
        _ARCH: _string(machine.arch),
        _NRCPUS: struct.pack("=II", online, max(online, len(machine.present_cpus))),
        _CPUDESC: _string(machine.cpu_model or ""),
        _CPUID: _string(machine.cpu_id or ""),
        _TOTAL_MEM: struct.pack("=Q", pages),
        _CMDLINE: _strings(sys.argv),
        _EVENT_DESC: _event_desc(attrs),
        _SAMPLE_TIME: struct.pack("=QQ", records.first_time, records.last_time),
        _CLOCKID: struct.pack("=Q", 1),
        _CLOCK_DATA: _clock_data(),
    }
    return {bit: body for bit, body in found.items() if body.strip(b"\0")}
