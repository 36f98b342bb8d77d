"""A line on a terminal that says how far a collection is, and is gone when it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import click

_CLEAR = "\r\x1b[K"


class Progress:
    """Shows the time and what `count` counts on standard error; on nothing but a terminal."""

    def __init__(self, count: Callable[[], int], what: str) -> None:
        self._count = count
        self._what = what
        self._begin = time.monotonic()
        self._is_shown = False

    def show(self) -> None:
        seconds = time.monotonic() - self._begin
        self._write(f"{_CLEAR}kperf: {seconds:.1f} s, {self._count():,} {self._what}")
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            self._write(_CLEAR)
            self._is_shown = False

    @staticmethod
    def _write(text: str) -> None:
        with suppress(OSError):  # a terminal that is gone is told of elsewhere
            click.echo(text, err=True, nl=False)


def may_show(*, quiet: bool, runs_command: bool) -> bool:
    """Whether there is a terminal to show it on, and a command does not write there as well."""
    try:
        is_terminal = sys.stderr.isatty()
        is_shared = runs_command and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed
        return False
    return is_terminal and not is_shared and not quiet
