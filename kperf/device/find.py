"""Which counters give a metric on a machine, and if none do, why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import NamedTuple

from kperf.arguments import of_type
from kperf.device.metric import ANY, BYTES, CORES, JOULES, METRICS, Metric, Recipe, Term
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event
from kperf.events.pmus import by_numbers, pmu_event
from kperf.events.terms import own_name
from kperf.machine import Machine, Pmu

_VENDORS = ("hisilicon", "intel", "amd", "x86", "arm")
_SECOND_GENERATION = 0x30  # of `identifier`, and of every later one

# Kunpeng's generations by the part of its cores: MIDR_EL1.
_GENERATIONS = {(0x48, 0xD01): 1, (0x48, 0xD02): 2, (0x48, 0xD06): 2}

# AMD's data fabric, by family and model: Zen and Zen 2, then the servers and desktops of Zen 3.
_X86_GENERATIONS: tuple[tuple[str, int, range, int], ...] = (
    ("AuthenticAMD", 0x17, range(0x100), 1),
    ("AuthenticAMD", 0x19, range(0x10), 1),
    ("AuthenticAMD", 0x19, range(0x20, 0x60), 1),
)

# What a .unit means in a metric's unit.
_UNITS: dict[tuple[str, str], float] = {
    ("MiB", BYTES): 1 << 20,
    ("KiB", BYTES): 1 << 10,
    ("GiB", BYTES): 1 << 30,
    ("MB", BYTES): 1e6,
    ("Bytes", BYTES): 1.0,
    ("B", BYTES): 1.0,
    ("Joules", JOULES): 1.0,
}


@cache
def recipes(metric: int) -> tuple[Recipe, ...]:
    """Every vendor's recipes for a metric, in the order they are tried."""
    tables = (import_module(f"kperf.device.{vendor}").RECIPES for vendor in _VENDORS)
    return tuple(recipe for table in tables for recipe in table if recipe.metric == metric)


def metric_of(name: int | str) -> Metric:
    """A metric by number, or by name: ddr-read-bw, DDR_READ_BW or PMU_DDR_READ_BW."""
    if isinstance(name, int):
        if name in METRICS:
            return METRICS[name]
        raise error(
            Error.INVALID_METRIC,
            f"{name} is no metric",
            hint="use a member of kperf.PmuDeviceMetric",
        )
    of_type("a metric", name, str)
    known = {metric.name: metric for metric in METRICS.values()}
    plain = name.strip().lower().replace("_", "-")
    found = known.get(plain[len("pmu-") :] if plain.startswith("pmu-") else plain)
    if found is not None:
        return found
    from kperf.events.nearest import meant

    raise error(
        Error.INVALID_METRIC,
        f"unknown metric '{name}'",
        hint=meant(name, known, otherwise="see 'kperf device --list' for those there are"),
    )


# ---- one PMU ----


def generation_of(pmu: Pmu) -> int | None:
    """The generation of a maker's blocks: as the block says itself, else as its cores are."""
    identifier = pmu.number("identifier")
    if identifier:
        return 2 if identifier >= _SECOND_GENERATION else 1
    machine = pmu.machine
    if machine.midr is not None:
        return _GENERATIONS.get(machine.midr)
    known = (
        generation
        for maker, family, models, generation in _X86_GENERATIONS
        if (machine.cpu_maker, machine.x86_family) == (maker, family)
        and machine.x86_model in models
    )
    return next(known, None)


class _LacksError(Exception):
    """A PMU has no such event, as far as anybody can tell."""


def _event(pmu: Pmu, term: Term, parameters: str) -> Event:
    """A term's event on a PMU. Raises _LacksError, and KperfError for what cannot be read."""
    name = own_name(pmu, term.name)
    if name is not None:
        text = name
    else:
        text = f"{'event' if 'event' in pmu.formats else 'config'}={_code(pmu, term)}"
    text = ",".join(filter(None, (text, parameters)))
    return pmu_event(pmu, text, f"{pmu.name}/{text}/")


def _code(pmu: Pmu, term: Term) -> str:
    if ANY in term.codes:
        return term.codes[ANY]
    if not term.codes:
        raise _LacksError(f"{pmu.name} has no event {term.name}")
    generation = generation_of(pmu)
    if generation is None:
        raise _LacksError(
            f"{pmu.name} has no event {term.name}, and its generation is unknown (identifier "
            f"{pmu.number('identifier')})"
        )
    if generation not in term.codes:
        raise _LacksError(f"{pmu.name} is of generation {generation}, which has no such event")
    return term.codes[generation]


def size_of(event: Event, term: Term, unit: str) -> float:
    """What one count of an event is in a metric's unit. The machine's word wins."""
    if not event.unit:
        return event.scale if event.is_scaled else term.size
    factor = _UNITS.get((event.unit, unit))
    if factor is None:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name}: its .unit says '{event.unit}', which cannot be turned into {unit}",
            hint="count the event with 'kperf stat'",
        )
    return event.scale * factor


# ---- a machine ----


class Source(NamedTuple):
    """One PMU that gives a metric: its events and what one count of each is, by term."""

    pmu: Pmu
    channel: tuple[int, ...]
    events: dict[str, Event]
    sizes: dict[str, float]


class Found(NamedTuple):
    """What a machine has for a metric. Without sources, `reason` says why; `skipped` names what
    could not be read."""

    metric: Metric
    recipe: Recipe | None
    sources: list[Source]
    reason: str = ""
    skipped: tuple[str, ...] = ()


@cache
def _pattern(pmus: tuple[str, ...]) -> re.Pattern[str]:
    marks = {"#": r"\d+", "%": r"(\d+)", "@": "[0-9a-f]+"}
    texts = ("".join(marks.get(c, re.escape(c)) for c in name) for name in pmus)
    return re.compile("|".join(texts))


def shown_pattern(recipe: Recipe) -> str:
    """The names of a recipe's PMUs as one would write them."""
    if recipe.pmus == CORES:
        return "a PMU of the CPU cores"
    return re.sub("[#%@]", "*", recipe.pmus[0])


def _pmus(recipe: Recipe, machine: Machine) -> list[tuple[Pmu, tuple[int, ...]]]:
    """A recipe's PMUs in order, with the numbers that name a channel."""
    if recipe.pmus == CORES:
        return [(pmu, ()) for pmu in machine.core_pmus]
    pattern = _pattern(recipe.pmus)
    found = ((name, pattern.fullmatch(name)) for name in machine.pmu_names)
    named = [
        (name, tuple(int(number) for number in match.groups() if number is not None))
        for name, match in found
        if match is not None
    ]
    return [(machine.pmu(name), numbers) for name, numbers in sorted(named, key=_by_name)]


def _by_name(named: tuple[str, tuple[int, ...]]) -> list[int | str]:
    return by_numbers(named[0])


def _source(
    pmu: Pmu, channel: tuple[int, ...], recipe: Recipe, unit: str, parameters: str
) -> Source:
    terms = recipe.terms
    if recipe.pmus == CORES and pmu.machine.cpu_maker not in recipe.makers:
        terms = tuple(term._replace(codes={}) for term in terms)  # a core of another maker's
    events = {term.name: _event(pmu, term, parameters) for term in terms}
    sizes = {term.name: size_of(events[term.name], term, unit) for term in recipe.terms}
    return Source(pmu, channel, events, sizes)


def _try(
    recipe: Recipe, machine: Machine, values: Mapping[str, int], only: Iterable[str] | None
) -> Found:
    """A recipe on every PMU that it fits."""
    metric = METRICS[recipe.metric]
    parameters = recipe.parameters.format_map({name: hex(n) for name, n in values.items()})
    sources, lacking, broken = [], [], []
    for pmu, channel in _pmus(recipe, machine):
        if only is not None and pmu.name not in only:
            continue
        try:
            sources.append(_source(pmu, channel, recipe, metric.unit, parameters))
        except _LacksError as lack:
            lacking.append(str(lack))
        except KperfError as failure:
            broken.append(failure.message)
    reason = "" if sources else (broken or lacking or [""])[0]
    return Found(metric, recipe, sources, reason, tuple(broken))


def _no_pmu(metric: Metric, machine: Machine) -> str:
    """Why no PMU was found at all."""
    known = recipes(metric.id)
    own = [recipe for recipe in known if machine.cpu_maker in recipe.makers]
    if not own:
        kinds = ", ".join(dict.fromkeys(map(shown_pattern, known)))
        return f"not on this kind of machine: it takes {kinds}"
    recipe = own[0]
    if recipe.pmus == CORES:
        return "this machine shows no hardware PMU, as many virtual machines"
    return (
        f"there is no PMU {shown_pattern(recipe)}: its driver is not loaded (modprobe "
        f"{recipe.driver}), or the firmware does not describe it, as in many virtual machines"
    )


_ANYWHERE = {"bdf": 0, "port": 1}  # to see whether a metric is there, whatever the device


def find(
    metric: Metric,
    machine: Machine,
    values: Mapping[str, int] = _ANYWHERE,
    only: Iterable[str] | None = None,
) -> Found:
    """The first recipe that this machine has PMUs for, on those PMUs (`only`: on these of them).

    `values` fill the recipe's parameters.
    """
    tried = [_try(recipe, machine, values, only) for recipe in recipes(metric.id)]
    for found in tried:
        if found.sources:
            return found
    told = [found for found in tried if found.reason and _is_meant(found.recipe, machine)]
    return told[0] if told else Found(metric, None, [], _no_pmu(metric, machine))


def _is_meant(recipe: Recipe | None, machine: Machine) -> bool:
    """Whether a recipe's lack is worth telling: every machine has cores, of one maker."""
    return recipe is not None and (recipe.pmus != CORES or machine.cpu_maker in recipe.makers)
