"""What `kperf trace --events` writes while the calls happen, piece by piece, in each form.

Put together, the pieces are what `calls_view` of all calls would have written at the end: one
document on one line, or CSV's header and rows. None of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import kperf
from kperf.report.calls import Call
from kperf_cli.render import CSV, JSON, TEXT, csv_rows
from kperf_cli.trace_view import (
    Span,
    calls_document,
    list_header,
    list_lines,
    quality_line,
)


class Listing(Protocol):
    """The pieces of a result whose rows come one by one."""

    def opening(self, span: Span) -> str:
        """What stands before the rows."""

    def rows(self, found: Sequence[Call], span: Span) -> str:
        """Some rows, in the order of their return."""

    def ending(self, quality: kperf.Quality, span: Span) -> str:
        """What stands behind the rows, when all is known."""


class _Lines:
    """Lines for people."""

    def opening(self, span: Span) -> str:
        return list_header(span)

    def rows(self, found: Sequence[Call], span: Span) -> str:
        return list_lines(found, span)

    def ending(self, quality: kperf.Quality, span: Span) -> str:
        return f"\n{quality_line(quality)}\n"


class _Document:
    """One object: what is known at the start, the rows, what is known at the end."""

    _AT_THE_END = ("duration_ns", "quality", "exit_status")

    def __init__(self) -> None:
        self._has_rows = False

    def opening(self, span: Span) -> str:
        known = self._without_rows(kperf.Quality(), span)
        at_once = [key for key in known if key not in self._AT_THE_END]
        return f'{_json(known, at_once)[:-1]}, "rows": ['

    def rows(self, found: Sequence[Call], span: Span) -> str:
        rows = [call._asdict() for call in found]
        if not rows:
            return ""
        comma, self._has_rows = ", " if self._has_rows else "", True
        return f"{comma}{_json_rows(rows)}"

    def ending(self, quality: kperf.Quality, span: Span) -> str:
        known = self._without_rows(quality, span)
        return f"], {_json(known, self._AT_THE_END)[1:]}\n"

    @staticmethod
    def _without_rows(quality: kperf.Quality, span: Span) -> dict[str, Any]:
        document = calls_document([], quality, span)
        del document["rows"]
        return document


class _Records:
    """CSV."""

    def opening(self, span: Span) -> str:
        return csv_rows([Call._fields])

    def rows(self, found: Sequence[Call], span: Span) -> str:
        return csv_rows(found)

    def ending(self, quality: kperf.Quality, span: Span) -> str:
        return ""


def _json(known: dict[str, Any], keys: Sequence[str]) -> str:
    import json

    return json.dumps({key: known[key] for key in keys}, allow_nan=False)


def _json_rows(rows: Sequence[dict[str, Any]]) -> str:
    import json

    return json.dumps(rows, allow_nan=False)[1:-1]


_LISTINGS: dict[str, type[Listing]] = {TEXT: _Lines, JSON: _Document, CSV: _Records}


def make_listing(form: str) -> Listing:
    return _LISTINGS[form]()
