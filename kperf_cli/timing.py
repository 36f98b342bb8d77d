"""When results are due: at the end of each interval, late or not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click

from kperf_cli.target import TIME, Waiter


class Timing(NamedTuple):
    """How long a command measures, and how often it shows results. Times in ns; None: no end."""

    duration: int | None
    interval: int | None = None
    interval_count: int | None = None

    def deadline(self, begin: int) -> int | None:
        return None if self.duration is None else begin + self.duration


_MS, _S = 1_000_000, 1_000_000_000


def make_timing(given: Mapping[str, Any]) -> Timing:
    """What -d, -I and --interval-count were given."""
    if given["interval_count"] is not None and given["interval"] is None:
        raise click.UsageError("--interval-count counts intervals: add -I MS")
    return Timing(
        None if given["duration"] is None else round(given["duration"] * _S),
        None if given["interval"] is None else given["interval"] * _MS,
        given["interval_count"],
    )


class Interval(NamedTuple):
    """One interval that has just ended. Times in ns of CLOCK_MONOTONIC."""

    number: int
    begin: int
    duration: int


def intervals(timing: Timing, waiter: Waiter, begin: int) -> Iterator[Interval]:
    """Gives each interval as it ends, until the time, the targets or the user end them."""
    length = timing.interval or 1
    deadline = timing.deadline(begin)
    last, number, reason = begin, 0, TIME
    while reason == TIME and number != timing.interval_count and last != deadline:
        tick = begin + ((last - begin) // length + 1) * length  # late: the next one, not all
        reason = waiter.wait(tick if deadline is None else min(tick, deadline))
        now = time.monotonic_ns()
        yield Interval(number, last, now - last)
        last = deadline if deadline is not None and now >= deadline else now
        number += 1


def wall_clock(monotonic_ns: int) -> float:
    """When that was, in seconds since the epoch."""
    return time.time() - (time.monotonic_ns() - monotonic_ns) / 1e9
