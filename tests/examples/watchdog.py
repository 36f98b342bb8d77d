"""A service that samples itself, and says what it was busy with when a job took too long.

    python watchdog.py [LIMIT_MS]

The events stay open for the service's whole life; a job costs it one read. Without a PMU the clock
stands in for cycles.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import kperf


def open_sampling() -> kperf.Sampling:
    """Samples of this process, 1,000 a second of its own time."""
    wanted = {"pids": [os.getpid()], "frequency": 1000, "call_stack": True}
    try:
        return kperf.Sampling("cycles", **wanted)
    except kperf.NotSupportedError:
        return kperf.Sampling("cpu-clock", **wanted)


class Watchdog:
    """Times jobs; of one that was too slow it tells the functions that took the time."""

    def __init__(self, sampling: kperf.Sampling, limit_s: float, tell: Callable[[str], None]):
        self._sampling = sampling
        self._limit_s = limit_s
        self._tell = tell

    @contextmanager
    def job(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        self._sampling.enable()
        try:
            yield
        finally:
            self._sampling.disable()
            data = (
                self._sampling.read()
            )  # also where nobody looks at it: the next job's begins anew
            took = time.monotonic() - begin
            if took > self._limit_s:
                self._tell(f"{name} took {took * 1000:.0f} ms: {self._hot(data)}")
            data.free()

    @staticmethod
    def _hot(data: kperf.PmuData) -> str:
        names = Counter(row.names[0] for row in data if row.names)
        total = sum(names.values()) or 1
        hot = [f"{name} {count / total:.0%}" for name, count in names.most_common(3)]
        lost = f" ({data.quality.lost} samples lost)" if data.quality.lost else ""
        return ", ".join(hot or ["it slept"]) + lost


def main() -> None:
    limit_ms = float(sys.argv[1]) if len(sys.argv) > 1 else 100.0
    try:
        sampling = open_sampling()
    except kperf.KperfError as refused:  # a sentence with the cause and the fix
        sys.exit(f"watchdog.py: {refused}")
    with sampling:
        watchdog = Watchdog(sampling, limit_ms / 1000, print)
        with watchdog.job("a short job"):
            sum(range(1000))
        with watchdog.job("a long job"):
            sum(i * i for i in range(5_000_000))
        with watchdog.job("a nap"):
            time.sleep(2 * limit_ms / 1000)


if __name__ == "__main__":
    main()
