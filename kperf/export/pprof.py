"""A protocol buffer for `pprof`: stacks with how often they were sampled, and their events.

The messages are those of https://github.com/google/pprof/blob/main/proto/profile.proto. A sample is
a stack of a thread's name: its values are the number of samples and, for each event, the periods
that they stand for. The file is compressed (gzip), as the format has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from kperf.export.build_ids import BuildIds
from kperf.export.profile import Profile
from kperf.symbols.symbol import Symbol

# ---- protocol buffers ----

_VARINT, _BYTES = 0, 2


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    """A number; 0 is what a reader takes a missing one for."""
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(data)) + data


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _bytes(field, b"".join(map(_varint, values)))


# ---- messages ----

_PROFILE_SAMPLE_TYPE, _PROFILE_SAMPLE, _PROFILE_MAPPING, _PROFILE_LOCATION = 1, 2, 3, 4
_PROFILE_FUNCTION, _PROFILE_STRING, _PROFILE_TIME, _PROFILE_DURATION = 5, 6, 9, 10
_PROFILE_PERIOD_TYPE, _PROFILE_PERIOD, _PROFILE_DEFAULT_TYPE = 11, 12, 14


class _Strings(dict[str, int]):
    """Strings by their number; that of the empty one is 0."""

    def __init__(self) -> None:
        super().__init__({"": 0})

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


class _Encoder:
    """Makes the messages of a profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._strings = _Strings()
        self._functions: dict[tuple[str, str, str], int] = {}
        self._mappings: dict[str, int] = {}
        self._lines: list[bytes] = [self._line(symbol) for symbol in profile.symbols]

    def messages(self) -> Iterable[bytes]:
        """All of them; the strings come last, as all others number them."""
        yield from self._sample_types()
        yield from self._samples()
        yield from self._locations()
        yield from self._mapping_messages()
        yield from self._function_messages()
        yield from self._when()
        for text in self._strings:
            yield _bytes(_PROFILE_STRING, text.encode("utf-8", "backslashreplace"))

    # ---- values ----

    def _value_type(self, name: str, unit: str) -> bytes:
        return _number(1, self._strings[name]) + _number(2, self._strings[unit])

    def _event_type(self, number: int) -> bytes:
        event = self._profile.events[number]
        unit = "nanoseconds" if event.unit == "ns" else "count"
        return self._value_type(event.name, unit)

    def _sample_types(self) -> Iterable[bytes]:
        yield _bytes(_PROFILE_SAMPLE_TYPE, self._value_type("samples", "count"))
        for number in self._profile.sampled:
            yield _bytes(_PROFILE_SAMPLE_TYPE, self._event_type(number))

    def _samples(self) -> Iterable[bytes]:
        sampled = {event: at for at, event in enumerate(self._profile.sampled, 1)}
        sums: dict[tuple[int, int], list[int]] = {}
        for row in self._profile.sums_by_stack():
            values = sums.setdefault((row.comm, row.stack), [0] * (len(sampled) + 1))
            values[0] += row.samples
            values[sampled[row.event]] += row.period
        for (comm, stack), values in sums.items():
            label = _number(1, self._strings["thread"]) + _number(
                2, self._strings[self._profile.comm(comm)]
            )
            frames = self._profile.frames(stack)
            yield _bytes(
                _PROFILE_SAMPLE, _packed(1, frames) + _packed(2, values) + _bytes(3, label)
            )

    # ---- places: a location a frame, its number being the frame's ----

    def _line(self, symbol: Symbol) -> bytes:
        key = (symbol.symbolName, symbol.mangleName, symbol.fileName)
        function = self._functions.setdefault(key, len(self._functions) + 1)
        return _number(1, function) + _number(2, symbol.lineNum)

    def _locations(self) -> Iterable[bytes]:
        inlined, addresses = self._profile.inlined, self._profile.addresses
        for frame in range(1, len(addresses)):
            symbol = self._profile.symbols[frame]
            mapping = self._mappings.setdefault(symbol.module, len(self._mappings) + 1)
            lines = [self._lines[number] for number in inlined.get(frame, (frame,))]
            yield _bytes(
                _PROFILE_LOCATION,
                _number(1, frame)
                + _number(2, mapping)
                + _number(3, addresses[frame])
                + b"".join(_bytes(4, line) for line in lines),
            )

    def _mapping_messages(self) -> Iterable[bytes]:
        """A mapping a module, wherever it lies in each process: no range of addresses is told."""
        files = BuildIds(self._profile).of_files()
        known = {file.path.decode("utf-8", "replace"): file.build_id.hex() for file in files}
        has_lines = any(symbol.lineNum for symbol in self._profile.symbols)
        for module, number in self._mappings.items():
            yield _bytes(
                _PROFILE_MAPPING,
                _number(1, number)
                + _number(5, self._strings[module])
                + _number(6, self._strings[known.get(module, "")])
                + _number(7, 1)
                + _number(8, has_lines)
                + _number(9, has_lines)
                + _number(10, bool(self._profile.inlined)),
            )

    def _function_messages(self) -> Iterable[bytes]:
        for (name, system_name, file), number in self._functions.items():
            yield _bytes(
                _PROFILE_FUNCTION,
                _number(1, number)
                + _number(2, self._strings[name])
                + _number(3, self._strings[system_name])
                + _number(4, self._strings[file]),
            )

    # ---- when ----

    def _when(self) -> Iterable[bytes]:
        times: Sequence[int] = self._profile.times
        if len(times):
            began = time.time_ns() - (time.monotonic_ns() - times[0])
            yield _number(_PROFILE_TIME, began) + _number(_PROFILE_DURATION, times[-1] - times[0])
        for number in self._profile.sampled[:1]:
            event = self._profile.events[number].event
            yield _bytes(_PROFILE_PERIOD_TYPE, self._event_type(number))
            yield _number(_PROFILE_DEFAULT_TYPE, self._strings[self._profile.events[number].name])
            if event is not None and not event.by_frequency:
                yield _number(_PROFILE_PERIOD, event.period)


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes the stacks of all samples."""
    for message in _Encoder(profile).messages():
        out.write(message)
