"""Values of core metrics from counted groups: each stands behind the first event of its group."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kperf.metrics.metric import Chosen
from kperf.report.counts import CountRow
from kperf.report.derived import Derived

_OF_A_PMU = re.compile(r"[^/]*/([^/]*)/")


def _plain_name(name: str) -> str:
    """An event's name as a recipe has it: without its PMU and modifiers."""
    match = _OF_A_PMU.match(name)
    return match[1] if match else name.partition(":")[0]


def metric_values(rows: Sequence[CountRow], chosen: Sequence[Chosen]) -> list[list[Derived]]:
    """For each row, the metrics whose events are all in its group, of which it is the first."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, row in enumerate(rows):
        if row.group >= 0:
            key = (row.group, row.event.pmu, *row.place.items())
            groups.setdefault(key, []).append(index)
    values: list[list[Derived]] = [[] for _ in rows]
    for indexes in groups.values():
        values[indexes[0]] = _of_group([rows[index] for index in indexes], chosen)
    return values


def _of_group(rows: Sequence[CountRow], chosen: Sequence[Chosen]) -> list[Derived]:
    counts = {_plain_name(row.event.name): row.total for row in rows}
    values = []
    for metric, recipe in chosen:
        found = {name: counts.get(event) for name, event in recipe.events.items()}
        known = {name: count for name, count in found.items() if count is not None}
        value = recipe.formula.value(known) if len(known) == len(found) else None
        if value is not None:
            values.append(Derived(metric.name, value, metric.name, is_share=metric.is_share))
    return values
