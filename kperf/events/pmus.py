"""The events of PMUs: `pmu/terms/`, generic events on one kind of core, names from events/."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kperf.errors import Error, error
from kperf.events import generic, terms
from kperf.events.event import CORE, DEVICE, SOFTWARE, Event
from kperf.events.globs import is_glob, matching
from kperf.events.nearest import meant
from kperf.machine import Machine, Pmu


def _cpus(pmu: Pmu) -> tuple[int, ...] | None:
    """Where a PMU's events can be opened."""
    cpus = pmu.cpus if pmu.is_core else pmu.cpumask
    if cpus == ():
        raise error(
            Error.NOT_SUPPORTED_BY_CPU,
            f"the PMU {pmu.name} counts on no CPU that is online: its "
            f"{'cpus' if pmu.is_core else 'cpumask'} names none",
            hint="bring its CPUs up, or leave its events out",
        )
    return cpus


def pmu_event(pmu: Pmu, text: str, name: str) -> Event:
    """One PMU's event, by what stands between the slashes."""
    encoding = terms.encode(pmu, text)
    return Event(
        encoding.name or name,
        CORE if pmu.is_core else DEVICE if pmu.is_device else SOFTWARE,
        pmu.type,
        config=encoding.config,
        config1=encoding.config1,
        config2=encoding.config2,
        config3=encoding.config3,
        pmu=pmu.name,
        cpus=_cpus(pmu),
        unit=encoding.unit,
        scale=encoding.scale,
        host_by_default=pmu.is_core,
    )


# ---- several kinds of cores ----


def _own_encoding(pmu: Pmu, base: Event) -> Event | None:
    """A generic or raw event on one of several core PMUs; None where that has no such event."""
    placed = base._replace(pmu=pmu.name, cpus=_cpus(pmu), host_by_default=True)
    if base.type == generic.TYPE_RAW:
        return placed._replace(type=pmu.type)
    if pmu.midr is None:
        # The upper half of config chooses the PMU of a generic event (Intel hybrid).
        return placed._replace(config=base.config | pmu.type << 32)
    names = generic.arm_names(base.type, base.config)
    found = next((name for name in names if name in pmu.event_names), None)
    return pmu_event(pmu, found, base.name) if found is not None else None


def on_each(name: str, base: Event, machine: Machine) -> list[Event]:
    """A generic or raw event on each of several kinds of cores."""
    own = [(pmu, _own_encoding(pmu, base)) for pmu in machine.core_pmus]
    return [event._replace(name=f"{pmu.name}/{name}/") for pmu, event in own if event is not None]


# ---- which PMUs a name stands for ----


def by_numbers(name: str) -> list[int | str]:
    """Sorts imc_2 before imc_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _instances(pattern: str, names: Iterable[str]) -> list[str]:
    """NAME_0, NAME_1 or NAME0, and the pages that name SMMUs; the prefix uncore_ may be left out.

    perf takes every PMU whose name begins so; this takes numbers alone, so that uncore_imc does not
    add uncore_imc_free_running to itself.
    """
    number = r"(?:_|(?<!\d))\d+"  # not the 0 of imc_10 for imc_1
    instance = re.compile(rf"(uncore_)?{re.escape(pattern)}({number})*(_[0-9a-f]{{3,}})?")
    return [name for name in names if instance.fullmatch(name)]


def _matching_pmus(pattern: str, machine: Machine) -> list[str]:
    """The PMU of that name; else all that the pattern matches; else all of its instances."""
    if pattern in machine.pmu_names:
        return [pattern]
    find = matching if is_glob(pattern) else _instances
    return sorted(find(pattern, machine.pmu_names), key=by_numbers)


def pmu_events(pattern: str, inner: str, machine: Machine) -> list[Event]:
    """What stands between the slashes, on each PMU that stands before them."""
    names = _matching_pmus(pattern, machine)
    if not names:
        raise error(
            Error.INVALID_EVENT,
            f"there is no PMU '{pattern}' here (in the event {pattern}/{inner}/)",
            hint=meant(pattern, machine.pmu_names, otherwise="see 'kperf list' for what there is"),
        )
    events = []
    for name in names:
        pmu = machine.pmu(name)
        shown = f"{name if len(names) > 1 else pattern}/{inner}/"
        events.append(_generic_on(pmu, inner, shown) or pmu_event(pmu, inner, shown))
    return events


def _generic_on(pmu: Pmu, name: str, shown: str) -> Event | None:
    """A generic or raw event of a core PMU, as in cpu_core/cycles/."""
    if not pmu.is_core or terms.own_name(pmu, name) is not None:
        return None
    base = generic.event_of(name)
    if base is None or base.kind != CORE:
        return None
    if len(pmu.machine.core_pmus) < 2:
        return base._replace(name=shown, pmu=pmu.name, cpus=_cpus(pmu), host_by_default=True)
    event = _own_encoding(pmu, base)
    return event._replace(name=shown) if event is not None else None


def core_named(name: str, machine: Machine) -> list[Event]:
    """A bare name from a core PMU's events/ or from the tables; nothing if it is none."""
    pmus = [pmu for pmu in machine.core_pmus if terms.knows(pmu, name)]
    many = len(machine.core_pmus) > 1
    return [pmu_event(pmu, name, f"{pmu.name}/{name}/" if many else name) for pmu in pmus]
