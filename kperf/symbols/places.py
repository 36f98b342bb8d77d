"""Where addresses are in the source, and how that is written for a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A function at a line of a file; "" and 0 where they are not known."""

    function: str  # as the linker has it
    file: str
    line: int


# The functions of one address from the innermost out; all but the last one were inlined into the
# next. Empty: no source is known of it.
Row = tuple[Place, ...]


def pack(rows: Iterable[Row]) -> dict[str, Any]:
    """Rows as a JSON object: every text and every place stands there once."""
    texts: dict[str, int] = {}
    places: dict[Place, int] = {}
    packed = [[places.setdefault(place, len(places)) for place in row] for row in rows]
    return {
        "places": [
            (
                texts.setdefault(place.function, len(texts)),
                texts.setdefault(place.file, len(texts)),
                place.line,
            )
            for place in places
        ],
        "texts": list(texts),
        "rows": packed,
    }


def unpack(packed: Any) -> list[Row]:
    """The rows again; ValueError where that is none of ours."""
    try:
        texts = [str(text) for text in packed["texts"]]
        places = [Place(texts[f], texts[file], int(line)) for f, file, line in packed["places"]]
        return [tuple([places[number] for number in row]) for row in packed["rows"]]
    except (KeyError, IndexError, TypeError) as cause:
        raise ValueError(f"rows of source lines are damaged ({cause})") from cause
