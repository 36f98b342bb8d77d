"""What `kperf record` says of a recording's quality in one line."""

from __future__ import annotations

import kperf
from kperf_cli.record_view import quality_line


def of(*notes: str) -> str:
    return quality_line(kperf.Quality(notes, samples=10, lost=0))


def test_what_is_said_of_several_files_is_said_once() -> None:
    stripped = "it has no symbol table; install its debug package"
    notes = [f"/usr/bin/{name}: {stripped}" for name in "abcde"]
    assert of(*notes) == (
        f"quality: 10 samples; 0 lost; /usr/bin/a, /usr/bin/b, /usr/bin/c and 2 more: {stripped}"
    )
    assert of(notes[0], "kernel symbols are hidden", notes[1]) == (
        f"quality: 10 samples; 0 lost; /usr/bin/a, /usr/bin/b: {stripped}; "
        "kernel symbols are hidden"
    )


def test_other_notes_stand_as_they_are() -> None:
    assert of() == "quality: 10 samples; 0 lost"
    assert of("one", "two: three", "four") == "quality: 10 samples; 0 lost; one; two: three; four"
