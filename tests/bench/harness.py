"""Runs commands in turn (A B A B ...), so that a machine whose speed drifts is fair to both."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One quantity of several contenders, in seconds, a list of runs each."""

    title: str
    runs: dict[str, list[float]]


def wall_time(argv: Sequence[str]) -> float:
    """One run of a command, its output thrown away. Raises if it fails."""
    begin = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def in_turn(title: str, contenders: dict[str, Callable[[], float]], runs: int) -> Figure:
    """Measures each contender `runs` times, after one run that does not count."""
    for measure in contenders.values():
        measure()
    figure = Figure(title, {name: [] for name in contenders})
    for _ in range(runs):
        for name, measure in contenders.items():
            figure.runs[name].append(measure())
    return figure


def show(figure: Figure) -> None:
    """Medians, and the median of the pairwise ratios to the first contender."""
    print(f"\n{figure.title}")
    first = next(iter(figure.runs))
    for name, times in figure.runs.items():
        median = statistics.median(times)
        ratios = [own / other for own, other in zip(figure.runs[first], times)]
        ratio = "" if name == first else f"   {first} takes {statistics.median(ratios):.2f} of it"
        print(
            f"  {name:<34} {median * 1e3:9.2f} ms  "
            f"({min(times) * 1e3:.2f} to {max(times) * 1e3:.2f}){ratio}"
        )
