"""The events of a machine, by kind, as `kperf list` and `event_list` show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kperf.errors import KperfError
from kperf.events import generic, resolve
from kperf.machine import Machine, Pmu


class ListedEvent(NamedTuple):
    """One event. `encoding` is another name for it, in numbers, that is accepted as well."""

    name: str
    kind: str  # "core", "uncore", "trace" or "software"
    pmu: str = ""
    description: str = ""
    encoding: str = ""
    unit: str = ""


def _is_there(name: str, machine: Machine) -> bool:
    """Whether a generic event opens. A copied tree cannot tell: there all count as present."""
    if not machine.core_pmus:
        return False
    if not machine.is_live:
        return True
    from kperf._native import probe

    refused = {_ENOENT, _EINVAL, _EOPNOTSUPP, _ENODEV}
    return all(probe(event) not in refused for event in resolve.resolve(name, machine))


_ENOENT, _EINVAL, _EOPNOTSUPP, _ENODEV = 2, 22, 95, 19


def _generic_core(machine: Machine) -> Iterator[ListedEvent]:
    for name, event in generic.HARDWARE.items():
        if _is_there(name, machine):
            yield ListedEvent(
                name, "core", "", event.description, f"type=0,config={event.config:#x}"
            )
    for name, config in generic.cache_names().items():
        if _is_there(name, machine):
            words = name.replace("-", " ")
            yield ListedEvent(name, "core", "", words, f"type=3,config={config:#x}")


def _pmu_listed(pmu: Pmu, kind: str, *, bare: bool) -> Iterator[ListedEvent]:
    for name in pmu.event_names:
        shown = name if bare else f"{pmu.name}/{name}/"
        terms = pmu.event_terms(name) or ""
        yield ListedEvent(shown, kind, pmu.name, "", f"{pmu.name}/{terms}/", pmu.event_unit(name))


def _arm_listed(pmu: Pmu, machine: Machine, *, bare: bool) -> Iterator[ListedEvent]:
    from kperf.events.arm import core_events

    core = core_events(*machine.midr) if machine.midr else None
    own = set(pmu.event_names)
    for event in core.events if core and "event" in pmu.formats else ():
        if event.name not in own:
            shown = event.name if bare else f"{pmu.name}/{event.name}/"
            encoding = f"{pmu.name}/event={event.code:#x}/"
            yield ListedEvent(shown, "core", pmu.name, event.description, encoding)


def _described(events: Iterator[ListedEvent], machine: Machine) -> Iterator[ListedEvent]:
    """Adds the tables' descriptions to names that the kernel lists without any."""
    if machine.midr is None:
        yield from events
        return
    from kperf.events.arm import ARCHITECTURAL

    for event in events:
        known = ARCHITECTURAL.get(event.name.strip("/").rpartition("/")[2])
        yield event._replace(description=known[1]) if known else event


def core_events(machine: Machine) -> Iterator[ListedEvent]:
    """Generic events that open here, then those of the core PMUs and of the tables."""
    yield from _generic_core(machine)
    bare = len(machine.core_pmus) == 1
    for pmu in machine.core_pmus:
        yield from _described(_pmu_listed(pmu, "core", bare=bare), machine)
        yield from _arm_listed(pmu, machine, bare=bare)


def software_events(_machine: Machine) -> Iterator[ListedEvent]:
    for name, event in generic.SOFTWARE.items():
        encoding = f"type=1,config={event.config:#x}"
        yield ListedEvent(name, "software", "", event.description, encoding, event.unit)


def uncore_events(machine: Machine) -> Iterator[ListedEvent]:
    """The named events of every PMU that is no core's."""
    for pmu in map(machine.pmu, machine.pmu_names):
        if not pmu.is_core:
            yield from _pmu_listed(pmu, "uncore", bare=False)


def trace_events(machine: Machine) -> Iterator[ListedEvent]:
    """The tracepoints. The function tracer's own records (ftrace:) are none that perf can open."""
    for system in machine.trace_systems():
        if system == "ftrace":
            continue
        for name in machine.trace_names(system):
            yield ListedEvent(f"{system}:{name}", "trace")


def with_details(event: ListedEvent, machine: Machine) -> ListedEvent:
    """Adds what takes a read of its own: a tracepoint's number."""
    if event.kind != "trace":
        return event
    number = machine.trace_id(*event.name.split(":"))
    return event._replace(encoding=f"type=2,config={number:#x}") if number is not None else event


KINDS = {
    "core": core_events,
    "uncore": uncore_events,
    "trace": trace_events,
    "software": software_events,
}


def all_names(machine: Machine) -> Iterator[str]:
    """Every name there is to choose from, for finding the one that was meant."""
    yield from generic.HARDWARE
    yield from generic.cache_names()
    for kind in ("core", "software", "uncore", "trace"):
        try:
            yield from (event.name for event in KINDS[kind](machine))
        except KperfError:  # tracefs closed to this user: the other names still help
            continue
