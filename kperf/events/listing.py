"""The events of a machine, by kind, as `kperf list` and `event_list` show them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from kperf.errors import KperfError
from kperf.events import generic
from kperf.events.names import resolve
from kperf.events.pmus import pmu_event
from kperf.machine import Machine, Pmu


class ListedEvent(NamedTuple):
    """One event. `encoding` is what it stands for, in the kernel's numbers or a PMU's terms."""

    name: str
    kind: str  # "core", "uncore", "trace", "software"; or what is no event: a key of OTHER_KINDS
    pmu: str = ""
    description: str = ""
    encoding: str = ""
    unit: str = ""


# What the kernel says of an event that it, or the PMU, does not have.
_MISSING = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV})


def _is_there(name: str, machine: Machine) -> bool:
    """Whether a generic event opens. A copied tree cannot tell: there all count as present."""
    if not machine.core_pmus:
        return False
    if not machine.is_live:
        return True
    from kperf._native import probe

    return all(probe(event) not in _MISSING for event in resolve(name, machine))


def _generic_listed(machine: Machine) -> Iterator[ListedEvent]:
    for name, event in generic.HARDWARE.items():
        if _is_there(name, machine):
            encoding = f"type={generic.TYPE_HARDWARE},config={event.config:#x}"
            yield ListedEvent(name, "core", "", event.description, encoding)
    for name, config in generic.cache_names().items():
        if _is_there(name, machine):
            encoding = f"type={generic.TYPE_HW_CACHE},config={config:#x}"
            yield ListedEvent(name, "core", "", name.replace("-", " "), encoding)


def _shown(pmu: Pmu, name: str, machine: Machine) -> str:
    """A core PMU's event by its bare name, where that means this event and no other."""
    is_bare = len(machine.core_pmus) == 1 and generic.event_of(name) is None
    return name if is_bare else f"{pmu.name}/{name}/"


def _pmu_listed(pmu: Pmu, kind: str, shown: Callable[[str], str]) -> Iterator[ListedEvent]:
    """The events/ of a PMU, but for those that wait for a value or cannot be read."""
    for name in pmu.event_names:
        try:
            event = pmu_event(pmu, name, name)
        except KperfError:
            continue
        encoding = f"{pmu.name}/{pmu.event_terms(name)}/"
        yield ListedEvent(shown(name), kind, pmu.name, "", encoding, event.unit)


def _arm_listed(pmu: Pmu, shown: Callable[[str], str]) -> Iterator[ListedEvent]:
    """The events of the tables that the kernel does not list."""
    if pmu.midr is None or "event" not in pmu.formats:
        return
    from kperf.events.arm import core_events as arm_core

    core = arm_core(*pmu.midr)
    own = set(pmu.event_names)
    for event in core.events if core else ():
        if event.name not in own:
            encoding = f"{pmu.name}/event={event.code:#x}/"
            yield ListedEvent(shown(event.name), "core", pmu.name, event.description, encoding)


def _described(events: Iterator[ListedEvent], pmu: Pmu) -> Iterator[ListedEvent]:
    """Adds the tables' descriptions to names that the kernel lists without any."""
    if pmu.midr is None:
        yield from events
        return
    from kperf.events.arm import ARCHITECTURAL

    for event in events:
        known = ARCHITECTURAL.get(event.name.strip("/").rpartition("/")[2])
        yield event._replace(description=known[1]) if known else event


def _core_pmu_events(machine: Machine) -> Iterator[ListedEvent]:
    for pmu in machine.core_pmus:
        shown = partial(_shown, pmu, machine=machine)
        yield from _described(_pmu_listed(pmu, "core", shown), pmu)
        yield from _arm_listed(pmu, shown)


def core_events(machine: Machine) -> Iterator[ListedEvent]:
    """Generic events that open here, then those of the core PMUs and of the tables."""
    yield from _generic_listed(machine)
    yield from _core_pmu_events(machine)


def software_events(_machine: Machine) -> Iterator[ListedEvent]:
    for name, event in generic.SOFTWARE.items():
        encoding = f"type={generic.TYPE_SOFTWARE},config={event.config:#x}"
        yield ListedEvent(name, "software", "", event.description, encoding, event.unit)


def uncore_events(machine: Machine) -> Iterator[ListedEvent]:
    """The named events of every PMU that is no core's."""
    for pmu in map(machine.pmu, machine.pmu_names):
        if not pmu.is_core:
            yield from _pmu_listed(pmu, "uncore", f"{pmu.name}/{{}}/".format)


def trace_events(machine: Machine) -> Iterator[ListedEvent]:
    """The tracepoints. The function tracer's own records (ftrace:) are none that perf can open."""
    for system in machine.trace_systems():
        if system == "ftrace":
            continue
        for name in machine.trace_names(system):
            yield ListedEvent(f"{system}:{name}", "trace")


def with_details(event: ListedEvent, machine: Machine) -> ListedEvent:
    """Adds what takes a look of its own: a tracepoint's number, a metric's source."""
    if event.kind == "metrics":
        from kperf.metrics.listing import with_source

        return with_source(event, machine)
    if event.kind != "trace":
        return event
    number = machine.trace_id(*event.name.split(":"))
    if number is None:
        return event
    return event._replace(encoding=f"type={generic.TYPE_TRACEPOINT},config={number:#x}")


KINDS = {
    "core": core_events,
    "uncore": uncore_events,
    "trace": trace_events,
    "software": software_events,
}


def _syscalls(machine: Machine) -> Iterator[ListedEvent]:
    from kperf.syscalls import SyscallNames

    names = SyscallNames(machine.arch)
    for name in names.names:
        yield ListedEvent(name, "syscalls", encoding=f"number={names.number(name)}")


def _metrics(machine: Machine) -> Iterator[ListedEvent]:
    from kperf.metrics.listing import listed_metrics

    return listed_metrics(machine)


def _devices(machine: Machine) -> Iterator[ListedEvent]:
    from kperf.device.listing import listed_devices

    return listed_devices(machine)


def _bdfs(machine: Machine) -> Iterator[ListedEvent]:
    from kperf.device.listing import listed_bdfs

    return listed_bdfs(machine)


# What is listed where it is asked for, and is no event.
OTHER_KINDS: dict[str, Callable[[Machine], Iterator[ListedEvent]]] = {
    "metrics": _metrics,
    "devices": _devices,
    "bdf": _bdfs,
    "syscalls": _syscalls,
}


def all_names(machine: Machine) -> Iterator[str]:
    """Every name there is to choose from, for finding the one that was meant."""
    yield from generic.HARDWARE
    yield from generic.cache_names()
    for listed in (_core_pmu_events, software_events, uncore_events, trace_events):
        try:
            yield from (event.name for event in listed(machine))
        except KperfError:  # tracefs closed to this user: the other names still help
            continue
