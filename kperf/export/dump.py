r"""The text dump: one sample a line, for scripts that split lines at white space.

    comm pid tid cpu period evt count addr symbolName offset module [fileName lineNum]

The last two stand there on demand. The further frames of a call stack follow outward, one a line
that begins with a tab:

    <tab>addr symbolName offset module [fileName lineNum]

Numbers are decimal, but addr and offset, which are hexadecimal with 0x. White space and control
characters within a field are written \xNN, a blank as \x20, so that every line has the same number
of fields; a field that is not known is a minus sign. UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from kperf.export.profile import Profile
from kperf.export.words import encode, hexadecimal

if TYPE_CHECKING:
    from kperf.symbols.symbol import Symbol

NONE = "-"

_LINES_A_WRITE = 4096
_MOST_STACKS = 1 << 16  # kept as text at a time

_SEPARATORS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def field(text: str) -> str:
    """A text as one field of a line."""
    return _SEPARATORS.sub(hexadecimal, text) or NONE


class _Stacks:
    """Stacks as text, each made once for all its samples."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._symbols = profile.symbols
        self._frame = self._frame_with_line if profile.lines else self._plain_frame
        self._texts: dict[int, str] = {}

    def text(self, stack: int) -> str:
        found = self._texts.get(stack)
        if found is None:
            if len(self._texts) >= _MOST_STACKS:
                self._texts.clear()
            symbols = map(self._symbols.__getitem__, self._profile.functions(stack))
            frames = list(map(self._frame, symbols))
            found = self._texts[stack] = "\n\t".join(frames) or self._no_frame()
        return found

    def _no_frame(self) -> str:
        return " ".join([NONE] * (6 if self._profile.lines else 4))

    @staticmethod
    def _plain_frame(symbol: Symbol) -> str:
        name, module = field(symbol.symbolName), field(symbol.module)
        return f"{symbol.addr:#x} {name} {symbol.offset:#x} {module}"

    def _frame_with_line(self, symbol: Symbol) -> str:
        return f"{self._plain_frame(symbol)} {field(symbol.fileName)} {symbol.lineNum}"


def _sample_lines(profile: Profile) -> Iterator[str]:
    stacks = _Stacks(profile)
    events = [field(event.name) for event in profile.events]
    comms: dict[int, str] = {}
    columns = profile.rows("comm", "pid", "tid", "cpu", "period", "event", "stack")
    for comm, pid, tid, cpu, period, event, stack in columns:
        if comm not in comms:
            comms[comm] = field(profile.comm(comm))
        where = stacks.text(stack)
        yield f"{comms[comm]} {pid} {tid} {cpu} {period} {events[event]} 1 {where}\n"


def _count_lines(profile: Profile) -> Iterator[str]:
    """Counts have no place in a program."""
    missing = " ".join([NONE] * (6 if profile.lines else 4))
    for row in profile.data:
        yield (
            f"{field(row.comm)} {row.pid} {row.tid} {row.cpu} {row.period} "
            f"{field(row.evt)} {row.count} {missing}\n"
        )


def _write_lines(lines: Iterable[str], out: BinaryIO) -> None:
    """Whole lines a write: whatever happens to us in between, no line is left in two."""
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _LINES_A_WRITE:
            out.write(encode("".join(batch)))
            batch.clear()
    out.write(encode("".join(batch)))


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes samples, or counts."""
    lines = _sample_lines if profile.has_samples else _count_lines
    _write_lines(lines(profile), out)
