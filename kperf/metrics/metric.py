"""The form of a core metric, and the groups of events that metrics are counted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import NamedTuple

from kperf._cached import cached_property
from kperf.errors import Error, error
from kperf.formula import Formula
from kperf.machine import Machine

Part = tuple[int, int]  # of an Arm core: implementer and part


class CoreRecipe:
    """How some cores give a metric: a formula of events.

    `events` spells those whose names a formula cannot hold; `parts` are the Arm cores it is for,
    none: every CPU. Recipes of one `family` are counted in one group, as they need the same events.
    """

    def __init__(
        self,
        formula: str,
        source: str,
        *,
        events: Mapping[str, str] | None = None,
        parts: Sequence[Part] = (),
        family: str = "",
    ) -> None:
        self.formula = Formula(formula)
        self.source = source
        self.parts = frozenset(parts)
        self.family = family
        self._spelled = events or {}

    @cached_property
    def events(self) -> dict[str, str]:
        """Each name of the formula, and the event it stands for."""
        return {name: self._spelled.get(name, name) for name in self.formula.names}


class CoreMetric(NamedTuple):
    """One metric. `is_share`: a part of something, 0 to 1, which people read in percent."""

    name: str
    description: str
    recipes: tuple[CoreRecipe, ...]
    is_share: bool = True


class Chosen(NamedTuple):
    """A metric with the recipe for this machine's cores."""

    metric: CoreMetric
    recipe: CoreRecipe


@cache
def metrics() -> dict[str, CoreMetric]:
    """Every metric by name."""
    tables = (import_module(f"kperf.metrics.{table}") for table in ("anywhere", "topdown"))
    return {metric.name: metric for table in tables for metric in table.METRICS}


@cache
def sets() -> dict[str, tuple[str, ...]]:
    """Names that stand for several metrics."""
    found: dict[str, tuple[str, ...]] = import_module("kperf.metrics.topdown").SETS
    return found


def recipe_for(metric: CoreMetric, machine: Machine) -> CoreRecipe | None:
    """The recipe for the cores of a machine; None where their makers have published none."""
    own = [recipe for recipe in metric.recipes if machine.midr in recipe.parts]
    general = [recipe for recipe in metric.recipes if not recipe.parts]
    return next(iter([*own, *general]), None)


def _unknown(name: str) -> Exception:
    from kperf.events.nearest import meant

    known = [*metrics(), *sets()]
    return error(
        Error.INVALID_METRIC,
        f"unknown metric '{name}'",
        hint=meant(name, known, otherwise="see 'kperf list metrics' for those there are"),
    )


def choose(names: Sequence[str], machine: Machine) -> list[Chosen]:
    """The metrics and sets of these names, each once. Raises `KperfError` for one that this machine
    does not have."""
    chosen: dict[str, Chosen] = {}
    for name in names:
        members = sets().get(name, (name,))
        for member in members:
            if member not in metrics():
                raise _unknown(name)
            metric = metrics()[member]
            recipe = recipe_for(metric, machine)
            if recipe is None:
                raise error(
                    Error.NOT_SUPPORTED_BY_CPU,
                    f"{name} is not known for this CPU ({machine.cpu_model or machine.arch})",
                    hint="see 'kperf list metrics' for what is",
                )
            chosen[member] = Chosen(metric, recipe)
    return list(chosen.values())


def event_groups(chosen: Sequence[Chosen]) -> list[str]:
    """The groups of events to count, as an event list has them: a metric's events run together.

    A metric whose events another one's group has already adds none of its own.
    """
    families: dict[object, dict[str, None]] = {}
    for number, (_, recipe) in enumerate(chosen):
        group = families.setdefault(recipe.family or number, {})
        group.update(dict.fromkeys(recipe.events.values()))
    groups: list[list[str]] = []
    for events in sorted(map(list, families.values()), key=len, reverse=True):
        if not any(set(events) <= set(group) for group in groups):
            groups.append(events)
    return [f"{{{','.join(group)}}}" for group in groups]
