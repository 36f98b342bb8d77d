"""JSON for profiler.firefox.com: its processed format, each event and thread a track.

Times are milliseconds since the first sample. Stacks, frames and functions stand in tables that all
threads share, a table being an object of columns of equal length.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from kperf._version import __version__
from kperf.export.build_ids import BuildIds
from kperf.export.profile import Profile
from kperf.export.threads import ThreadSamples, samples_by_thread
from kperf.export.words import function_name
from kperf.symbols.symbol import Symbol

_VERSION, _PROCESSED_VERSION = 24, 62
_USER, _KERNEL = 0, 1  # categories
_LIBRARY = 1  # a type of resource
_A_WRITE = 8192


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class _Numbered(dict[Any, int]):
    """Things by the order in which they came."""

    def __missing__(self, key: Any) -> int:
        number = self[key] = len(self)
        return number


# ---- what all threads share ----


class _Tables:
    """Functions and frames: one frame a number in `profile.symbols`, but for that of none."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.strings = _Numbered()
        self._libraries = _Numbered()
        self._sources = _Numbered()
        self._functions = _Numbered()  # name, library (-1: none), source
        symbols, kernel = profile.symbols[1:], profile.kernel_frames()[1:]
        self._kernel = kernel
        self._lines = [symbol.lineNum or None for symbol in symbols]
        self._function_of = [
            self._functions[self._function(symbol, is_kernel)]
            for symbol, is_kernel in zip(symbols, kernel)
        ]

    def _function(self, symbol: Symbol, is_kernel: bool) -> tuple[int, int, int | None]:
        return (
            self.strings[function_name(symbol, is_kernel)],
            self._libraries[symbol.module] if symbol.module else -1,
            self._sources[symbol.fileName] if symbol.fileName else None,
        )

    def _frame_table(self) -> dict[str, Any]:
        n = len(self._function_of)
        depths = [0] * n
        for functions in self._profile.inlined.values():
            for depth, number in enumerate(reversed(functions)):
                depths[number - 1] = depth
        return {
            "length": n,
            "address": [-1] * n,
            "category": [_KERNEL if is_kernel else _USER for is_kernel in self._kernel],
            "subcategory": [0] * n,
            "func": self._function_of,
            "inlineDepth": depths,
            "innerWindowID": [0] * n,
            "nativeSymbol": [None] * n,
            "line": self._lines,
            "column": [None] * n,
        }

    def _function_table(self) -> dict[str, Any]:
        n = len(self._functions)
        names, libraries, sources = zip(*self._functions) if n else ((), (), ())
        return {
            "length": n,
            "name": names,
            "isJS": [False] * n,
            "relevantForJS": [False] * n,
            "resource": libraries,
            "source": sources,
            "lineNumber": [None] * n,
            "columnNumber": [None] * n,
        }

    def _stack_table(self) -> dict[str, Any]:
        nodes = self._profile.function_nodes()
        parents, functions = nodes.parents[1:], nodes.functions[1:]
        return {
            "length": len(parents),
            "prefix": [parent - 1 if parent else None for parent in parents],
            "frame": [function - 1 for function in functions],
        }

    def _resource_table(self) -> dict[str, Any]:
        n = len(self._libraries)
        return {
            "length": n,
            "lib": list(range(n)),
            "name": [self.strings[os.path.basename(module)] for module in self._libraries],
            "host": [None] * n,
            "type": [_LIBRARY] * n,
        }

    def _source_table(self) -> dict[str, Any]:
        n = len(self._sources)
        return {
            "length": n,
            "id": [None] * n,
            "filename": [self.strings[source] for source in self._sources],
            "startLine": [1] * n,
            "startColumn": [1] * n,
            "sourceMapURL": [None] * n,
        }

    def libraries(self) -> list[dict[str, Any]]:
        """The modules, with the build-ids that are known."""
        files = BuildIds(self._profile).of_files()
        known = {file.path.decode("utf-8", "replace"): file.build_id for file in files}
        return [_library(module, known.get(module, b"")) for module in self._libraries]

    def shared(self) -> dict[str, Any]:
        tables = {
            "frameTable": self._frame_table(),
            "funcTable": self._function_table(),
            "stackTable": self._stack_table(),
            "resourceTable": self._resource_table(),
            "nativeSymbols": _columns("address", "functionSize", "libIndex", "name"),
            "sources": self._source_table(),
        }
        return {**tables, "stringArray": list(self.strings)}


def _columns(*names: str) -> dict[str, Any]:
    """A table without rows."""
    return {"length": 0, **{name: [] for name in names}}


def _library(module: str, build_id: bytes) -> dict[str, Any]:
    name = os.path.basename(module)
    guid = build_id[:16].ljust(16, b"\0")
    # A GUID: its first three numbers are little-endian in a build-id; behind it stands the age, 0.
    ordered = guid[3::-1] + guid[5:3:-1] + guid[7:5:-1] + guid[8:]
    return {
        "name": name,
        "path": module,
        "debugName": name,
        "debugPath": module,
        "breakpadId": f"{ordered.hex().upper()}0" if build_id else "",
        "codeId": build_id.hex() or None,
        "arch": None,
    }


# ---- threads ----


def _list(values: Iterable[object]) -> Iterator[str]:
    """A JSON list of what is JSON as text already, a piece at a time."""
    batch: list[str] = []
    opening = "["
    for value in values:
        batch.append(str(value))
        if len(batch) == _A_WRITE:
            yield opening + ",".join(batch)
            opening = ","
            batch.clear()
    if batch:
        yield opening + ",".join(batch)
    elif opening == "[":
        yield opening
    yield "]"


def _deltas(times: Sequence[int], begin: int) -> Iterator[float]:
    before = begin
    for moment in times:
        yield (moment - before) / 1e6
        before = moment


def _thread_texts(
    profile: Profile, thread: ThreadSamples, nodes: Sequence[int], begin: int, process: str
) -> Iterator[str]:
    name = thread.comm or "[unknown]"
    if len(profile.sampled) > 1:
        name = f"{name} ({profile.events[thread.event].name})"
    head = {
        "name": name,
        "isMainThread": thread.pid == thread.tid,
        "pid": str(thread.pid),
        "tid": str(thread.tid),
        "processName": process,
        "processType": "default",
        "processStartupTime": 0.0,
        "processShutdownTime": None,
        "registerTime": (thread.times[0] - begin) / 1e6,
        "unregisterTime": None,
        "pausedRanges": [],
        "showMarkersInTimeline": False,
        "markers": _columns("category", "data", "endTime", "name", "phase", "startTime"),
    }
    n = len(thread.times)
    yield _dumps(head)[:-1] + f',"samples":{{"length":{n},"weightType":"samples","stack":'
    yield from _list(nodes[stack] - 1 if stack else "null" for stack in thread.stacks)
    yield ',"timeDeltas":'
    yield from _list(_deltas(thread.times, begin))
    yield ',"weight":null}}'


# ---- the file ----


def _interval(profile: Profile) -> float:
    """Milliseconds between two samples, as they were asked for."""
    for number in profile.sampled:
        event = profile.events[number].event
        if event is not None and event.by_frequency and event.period:
            return 1000 / event.period
    return 1.0


def _meta(profile: Profile, begin: int) -> dict[str, Any]:
    started = time.time_ns() - (time.monotonic_ns() - begin) if begin else time.time_ns()
    colors = (("User", "yellow"), ("Kernel", "orange"))
    return {
        "version": _VERSION,
        "preprocessedProfileVersion": _PROCESSED_VERSION,
        "product": " ".join(profile.command) or "kperf",
        "importedFrom": f"kperf {__version__}",
        "interval": _interval(profile),
        "startTime": started / 1e6,
        "processType": 0,
        "debug": False,
        "symbolicated": True,
        "usesOnlyOneStackType": True,
        "sourceCodeIsNotOnSearchfox": True,
        "oscpu": f"Linux {profile.machine.kernel or ''} {profile.machine.arch}",
        "categories": [
            {"name": name, "color": color, "subcategories": ["Other"]} for name, color in colors
        ],
        "markerSchema": [],
        "pausedRanges": [],
        "extensions": _columns("baseURL", "id", "name"),
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
    }


def _texts(profile: Profile) -> Iterator[str]:
    threads = samples_by_thread(profile)
    begin = min((thread.times[0] for thread in threads), default=0)
    tables = _Tables(profile)
    shared = tables.shared()
    parts = {
        "meta": _meta(profile, begin),
        "libs": tables.libraries(),
        "shared": shared,
        "pages": [],
        "counters": [],
        "profilerOverhead": [],
    }
    yield _dumps(parts)[:-1] + ',"threads":['
    nodes = profile.function_nodes().inner
    processes = {thread.pid: thread.comm for thread in reversed(threads)}  # the first one counts
    for index, thread in enumerate(threads):
        yield "," if index else ""
        yield from _thread_texts(profile, thread, nodes, begin, processes[thread.pid])
    yield "]}\n"


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes all samples with their times and stacks."""
    for text in _texts(profile):
        out.write(text.encode())
