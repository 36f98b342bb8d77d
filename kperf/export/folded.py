r"""Folded stacks, as flame graph tools read them: one line a stack, outermost frame first.

    comm;outer;...;inner count

`count` is how many samples have this stack. With several events, each stack begins with its event's
name. A kernel frame ends in `_[k]`, an inlined function in `_[i]`, which flame graph tools colour.
A frame without a name is [module]. In names a semicolon becomes a colon, and control characters are
written \xNN; blanks stay. Lines are in order of their text. UTF-8.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from kperf.export.profile import Profile
from kperf.export.words import encode, function_name, hexadecimal

if TYPE_CHECKING:
    from kperf.symbols.symbol import Symbol

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _clean(text: str) -> str:
    return _CONTROLS.sub(hexadecimal, text.replace(";", ":")).strip()


def _name(symbol: Symbol, is_kernel: bool) -> str:
    mark = "_[k]" if is_kernel else "_[i]" if symbol.inlined else ""
    return _clean(function_name(symbol, is_kernel)) + mark


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes the stacks of all samples."""
    names = list(map(_name, profile.symbols, profile.kernel_frames()))
    events = [_clean(event.name) for event in profile.events]
    several = len(profile.sampled) > 1
    sums: dict[str, int] = {}
    for row in profile.sums_by_stack():
        parts = [events[row.event]] if several else []
        parts.append(_clean(profile.comm(row.comm)) or "[unknown]")
        parts += [names[frame] for frame in reversed(profile.functions(row.stack))]
        line = ";".join(parts)
        sums[line] = sums.get(line, 0) + row.samples
    for line in sorted(sums):
        out.write(encode(f"{line} {sums[line]}\n"))
