"""From the metrics that are wanted to the counters that are opened, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kperf.device.find import Found, Source, find
from kperf.device.metric import Metric, Recipe
from kperf.device.pci import Device, Pci, named, port_bit
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup
from kperf.machine import Machine


class Wanted(NamedTuple):
    """A metric to measure; `bdf` is empty where it is not of a PCIe device."""

    metric: Metric
    bdf: str = ""


class Part(NamedTuple):
    """What one PMU adds to a metric: the index of each term's event, and what a count of it is."""

    wanted: Wanted
    recipe: Recipe
    source: Source
    device: Device | None
    events: dict[str, int]

    @property
    def scope(self) -> str:
        return self.recipe.scope_for(self.wanted.metric)


class Plan(NamedTuple):
    """The groups to open, and how metrics follow from them."""

    groups: list[EventGroup]
    parts: list[Part]
    notes: list[str]


def _missing(found: Found) -> KperfError:
    if found.skipped:
        return error(Error.INVALID_EVENT, f"{found.metric.name} cannot be measured: {found.reason}")
    return error(
        Error.NOT_SUPPORTED_BY_CPU,
        f"{found.metric.name} cannot be measured here: {found.reason}",
        hint="see 'kperf device --list' for what can",
    )


def _check_named(wanted: Wanted, machine: Machine, pci: Pci) -> None:
    metric = wanted.metric
    if wanted.bdf:
        named(wanted.bdf)  # whatever the machine has: a typing error comes first
    if metric.bdf and not wanted.bdf:
        anywhere = find(metric, machine)
        if not anywhere.sources:
            raise _missing(anywhere)
        raise error(
            Error.INVALID_BDF,
            f"{metric.name} is measured for one device, and none was named (--bdf, in Python: bdf)",
            hint=pci.choice(metric.bdf),
        )
    if wanted.bdf and not metric.bdf:
        raise error(
            Error.INVALID_BDF,
            f"{metric.name} is not measured by device, and {wanted.bdf} was named",
            hint="leave the BDF out",
        )


def _find_for_device(wanted: Wanted, machine: Machine, pci: Pci) -> tuple[Found, Device]:
    metric = wanted.metric
    anywhere = find(metric, machine)
    if not anywhere.sources:
        raise _missing(anywhere)
    device, pmus = pci.find(wanted.bdf, metric.bdf)
    port = device.root_port or device.address
    values = {"bdf": device.address.number, "port": port_bit(port)}
    return find(metric, machine, values, only=pmus), device


class _Groups:
    """Events by what they count: one that several metrics ask for is opened once.

    What must be counted together shares a group with whatever shares an event with it.
    """

    def __init__(self) -> None:
        self._members: list[list[Event]] = []
        self._home: dict[Event, int] = {}

    @staticmethod
    def _key(event: Event) -> Event:
        return event._replace(name="", unit="", scale=1.0)

    def add(self, events: Sequence[Event], *, together: bool) -> None:
        for needed in [events] if together else [[event] for event in events]:
            self._add(needed)

    def _add(self, events: Sequence[Event]) -> None:
        homes = sorted({self._home[k] for k in map(self._key, events) if k in self._home})
        home = homes[0] if homes else len(self._members)
        if not homes:
            self._members.append([])
        for other in homes[1:]:
            self._members[home] += self._members[other]
            self._members[other] = []
        new = [event for event in events if self._key(event) not in self._home]
        self._members[home] += new
        for event in self._members[home]:
            self._home[self._key(event)] = home

    def result(self) -> tuple[list[EventGroup], Callable[[Event], int]]:
        """The groups, and what finds the index of an event among all of theirs."""
        members = [found for found in self._members if found]
        groups = [
            EventGroup(tuple(found), number if len(found) > 1 else -1)
            for number, found in enumerate(members)
        ]
        flat = (event for found in members for event in found)
        indexes = {self._key(event): index for index, event in enumerate(flat)}
        return groups, lambda event: indexes[self._key(event)]


def _find(wanted: Wanted, machine: Machine, pci: Pci) -> tuple[Found, Device | None]:
    """What gives a metric here, and the device it is of. Raises `KperfError`."""
    _check_named(wanted, machine, pci)
    if wanted.bdf:
        return _find_for_device(wanted, machine, pci)
    return find(wanted.metric, machine), None


def make_plan(asked: Sequence[Wanted], machine: Machine) -> Plan:
    """Raises `KperfError` for a metric that the machine lacks, and for a BDF that will not do."""
    if not asked:
        raise error(
            Error.INVALID_METRIC,
            "no metric was named",
            hint="name at least one, such as ddr-read-bw: see 'kperf device --list'",
        )
    pci = Pci(machine)
    groups = _Groups()
    notes: list[str] = []
    placed: list[tuple[Wanted, Recipe, Source, Device | None]] = []
    for wanted in dict.fromkeys(asked):
        found, device = _find(wanted, machine, pci)
        if not found.sources or found.recipe is None:
            raise _missing(found)
        notes += [f"left out: {broken}" for broken in found.skipped]
        for source in found.sources:
            groups.add(list(source.events.values()), together=found.recipe.together)
            placed.append((wanted, found.recipe, source, device))
    made, index_of = groups.result()
    parts = [
        Part(
            wanted,
            recipe,
            source,
            device,
            {name: index_of(event) for name, event in source.events.items()},
        )
        for wanted, recipe, source, device in placed
    ]
    return Plan(made, parts, list(dict.fromkeys(notes)))
