"""JSON for speedscope.app: one profile an event and thread, its stacks in order of time.

The format is that of https://www.speedscope.app/file-format-schema.json. Weights are nanoseconds
for clocks, and numbers of events for everything else. Samples of the same stack that follow one
another are one, as they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from kperf._version import __version__
from kperf.export.profile import Profile
from kperf.export.threads import ThreadSamples, samples_by_thread
from kperf.export.words import function_name

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_A_WRITE = 4096


class _Frames:
    """The functions of a profile, each once, and stacks of them as JSON."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        known: dict[tuple[str, str], int] = {}
        self._numbers = [
            known.setdefault(
                (function_name(symbol, is_kernel), symbol.fileName or symbol.module), len(known)
            )
            for symbol, is_kernel in zip(profile.symbols, profile.kernel_frames())
        ]
        self.shared = [{"name": name, "file": file} for name, file in known]
        self._texts: dict[int, str] = {}

    def text(self, stack: int) -> str:
        """Outermost first."""
        found = self._texts.get(stack)
        if found is None:
            functions = reversed(self._profile.functions(stack))
            numbers = [self._numbers[function] for function in functions]
            found = self._texts[stack] = json.dumps(numbers, separators=(",", ":"))
        return found


def _runs(thread: ThreadSamples) -> Iterator[tuple[int, int]]:
    """Stacks and their weights."""
    before, weight = thread.stacks[0], 0
    for stack, period in zip(thread.stacks, thread.periods):
        if stack != before:
            yield before, weight
            before, weight = stack, 0
        weight += period
    yield before, weight


def _lists(frames: _Frames, thread: ThreadSamples) -> Iterator[str]:
    """The arrays of samples and of weights, a piece at a time."""
    weights: list[str] = []
    batch: list[str] = []
    opening = '"samples":['
    for stack, weight in _runs(thread):
        batch.append(frames.text(stack))
        weights.append(str(weight))
        if len(batch) == _A_WRITE:
            yield opening + ",".join(batch)
            opening = ","
            batch.clear()
    yield (opening if batch or opening != "," else "") + ",".join(batch) + "],"
    yield f'"weights":[{",".join(weights)}]'


def _profile_texts(profile: Profile, frames: _Frames, thread: ThreadSamples) -> Iterator[str]:
    event = profile.events[thread.event]
    head: dict[str, Any] = {
        "type": "sampled",
        "name": f"{thread.comm or '[unknown]'} {thread.pid}/{thread.tid} {event.name}",
        "unit": "nanoseconds" if event.unit == "ns" else "none",
        "startValue": 0,
        "endValue": sum(thread.periods),
    }
    yield json.dumps(head)[:-1] + ","
    yield from _lists(frames, thread)
    yield "}"


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes the stacks of all samples."""
    frames = _Frames(profile)
    head = {
        "$schema": _SCHEMA,
        "exporter": f"kperf {__version__}",
        "name": " ".join(profile.command) or "kperf",
        "activeProfileIndex": 0,
        "shared": {"frames": frames.shared},
    }
    out.write(json.dumps(head)[:-1].encode() + b',"profiles":[')
    separator = b""
    for thread in samples_by_thread(profile):
        out.write(separator)
        separator = b","
        for text in _profile_texts(profile, frames, thread):
            out.write(text.encode())
    out.write(b"]}\n")
