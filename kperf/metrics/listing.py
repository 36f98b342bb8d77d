"""Core metrics as `kperf list` shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kperf.events.listing import ListedEvent
from kperf.machine import Machine
from kperf.metrics.metric import CoreRecipe, metrics, recipe_for, sets


def _spelled(recipe: CoreRecipe) -> str:
    """The formula with the events it stands for."""
    return re.sub(r"[A-Za-z_]\w*", lambda name: recipe.events[name[0]], recipe.formula.text)


def listed_metrics(machine: Machine) -> Iterator[ListedEvent]:
    """The metrics that `kperf stat -M` takes on this machine's cores, then the sets of them."""
    here = set()
    for metric in metrics().values():
        recipe = recipe_for(metric, machine)
        if recipe is not None:
            here.add(metric.name)
            unit = "share" if metric.is_share else ""
            words = metric.description
            yield ListedEvent(metric.name, "metrics", "", words, _spelled(recipe), unit)
    for name, members in sets().items():
        if here.issuperset(members):
            yield ListedEvent(name, "metrics", "", f"all of: {', '.join(members)}")


def with_source(metric: ListedEvent, machine: Machine) -> ListedEvent:
    """Adds where a metric's formula is from to its description."""
    known = metrics().get(metric.name)
    recipe = recipe_for(known, machine) if known is not None else None
    if recipe is None:
        return metric
    return metric._replace(description=f"{metric.description} (source: {recipe.source})")
