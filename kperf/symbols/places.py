"""Where addresses are in the source, and how that is written for a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A function at a line of a file; "" and 0 where they are not known."""

    function: str  # as the linker has it
    file: str
    line: int


_place = partial(tuple.__new__, Place)  # as Place._make does, without a call of Python code

# The functions of one address from the innermost out; all but the last one were inlined into the
# next. Empty: no source is known of it.
Row = tuple[Place, ...]


def pack(rows: Iterable[Row]) -> dict[str, Any]:
    """Rows as a JSON object: every text and every place stands there once.

    Places are three columns, and a row of one place, as most are, is its bare number: a JSON reader
    makes a number sooner than a list.
    """
    texts: dict[str, int] = {}
    places: dict[Place, int] = {}
    numbers = [[places.setdefault(place, len(places)) for place in row] for row in rows]
    return {
        "functions": [texts.setdefault(place.function, len(texts)) for place in places],
        "files": [texts.setdefault(place.file, len(texts)) for place in places],
        "lines": [place.line for place in places],
        "texts": list(texts),
        "rows": [row[0] if len(row) == 1 else row for row in numbers],
    }


def unpack(packed: Any) -> list[Row]:
    """The rows again; ValueError where that is none of ours."""
    try:
        text = list(map(str, packed["texts"])).__getitem__
        columns = map(text, packed["functions"]), map(text, packed["files"])
        places = list(map(_place, zip(*columns, map(int, packed["lines"]))))
        alone = list(zip(places))
        return [
            alone[row] if row.__class__ is int else tuple([places[number] for number in row])
            for row in packed["rows"]
        ]
    except (KeyError, IndexError, TypeError) as cause:
        raise ValueError(f"rows of source lines are damaged ({cause})") from cause
