"""The time in which a recording is on: from the start of its target to the end."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

from kperf_cli.target import Ended, Launched, Target, Waiter


class _Collection(Protocol):
    def enable(self) -> None: ...

    def disable(self) -> None: ...


class Window(NamedTuple):
    """When it began (seconds since the epoch), how long it was on, how a command ended."""

    start: float
    duration_ns: int
    ended: Ended | None


def collect(
    collection: _Collection,
    target: Target,
    launched: Launched | None,
    waiter: Waiter,
    *,
    duration: int | None,
    delay: int,
) -> Window:
    """Collects until the target's end, the end of the duration, or a signal. Times in ns.

    A held command that is what is collected from switches the collection on by its exec, unless
    there is a delay.
    """
    start, begin = time.time(), time.monotonic_ns()
    if not delay and not target.counts_command:
        collection.enable()
    if launched is not None:
        launched.start()
    if delay:
        waiter.wait(begin + delay)
        begin = time.monotonic_ns()
        collection.enable()
    waiter.wait(None if duration is None else begin + duration)
    collection.disable()
    took = time.monotonic_ns() - begin
    return Window(start, took, launched.end() if launched is not None else None)
