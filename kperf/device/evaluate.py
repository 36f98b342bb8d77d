"""From counts to values: the one place that does the arithmetic of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from kperf.data import PmuData
from kperf.device.metric import (
    BDF,
    BYTES,
    CHANNEL,
    CLUSTER,
    CORE,
    COUNT,
    CYCLES,
    NUMA,
    SOCKET,
    SUMS,
    Metric,
    Recipe,
)
from kperf.device.pci import Device
from kperf.device.plan import Part, Plan, Wanted
from kperf.errors import Error, error
from kperf.formula import Formula
from kperf.topo import CpuPlace, Topology


class Place(NamedTuple):
    """What a value is of; None for what does not apply. `cpu` is the logical CPU of a core."""

    socket: int | None = None
    numa: int | None = None
    cluster: int | None = None
    core: int | None = None
    cpu: int | None = None
    channel: int | None = None
    bdf: str | None = None


# The parts of a place that name a value of each scope.
_NAMED_BY: dict[str, tuple[str, ...]] = {
    CHANNEL: ("socket", "numa", "channel"),
    CORE: ("socket", "numa", "cluster", "core", "cpu"),
    CLUSTER: ("socket", "cluster"),
    NUMA: ("socket", "numa"),
    SOCKET: ("socket",),
    BDF: ("bdf",),
}


class _Reading(NamedTuple):
    """What one PMU counted on one CPU for a metric; no counts where it never had its turn."""

    part: Part
    place: Place
    counts: dict[str, float] | None
    enabled_ns: int
    running: float | None  # the share of that time, of the counter that had the least


class Value(NamedTuple):
    """A metric's value in one place. None: nothing was counted, or the divisor was 0."""

    metric: Metric
    scope: str
    place: Place
    value: float | None
    enabled_ns: int  # in which it was to be counted: the mean of its counters
    running: float | None  # the smallest share of that time; 0: never, None: there was no time
    uncounted: int  # of its counters, those that never got a turn
    device: str = ""  # the names of a PCIe device


def check_sum(metric: Metric, scope: str, by: Mapping[str, str]) -> None:
    """Raises where a metric's values cannot be added up as `by` says of their scope."""
    if (wanted := by.get(scope) or scope) not in SUMS[scope]:
        raise error(
            Error.INVALID_ARGUMENT,
            f"{metric.name} is measured by {scope}, and cannot be shown by {wanted}",
            hint=f"show it by {' or '.join(SUMS[scope])}",
        )


# ---- where a counter stands ----


class _Places:
    """Places of PMUs: of the CPUs that their driver names, never of numbers in their names."""

    def __init__(self, plan: Plan, topology: Topology) -> None:
        self._topology = topology
        self._channels = self._number_channels(plan.parts)

    def _beside(self, part: Part, cpu: int) -> CpuPlace:
        """One PMU for several CPUs of a cpumask (Intel) stands beside each of them."""
        pmu = part.source.pmu
        beside = pmu.associated_cpus if len(pmu.cpumask or ()) == 1 else None
        places = [self._topology.place(near) for near in beside or (cpu,)]
        return next((place for place in places if place.numa is not None), places[0])

    def _number_channels(self, parts: Sequence[Part]) -> dict[tuple[str, int], int]:
        """A channel's number: the one in its PMU's name, or its turn on its node where names have
        more than one."""
        cells: dict[tuple[int | None, int | None], set[tuple[tuple[int, ...], str, int]]] = {}
        for part in parts:
            source = part.source
            for cpu in (source.pmu.cpumask or ()) if source.channel else ():
                place = self._beside(part, cpu)
                cell = (source.channel, source.pmu.name, cpu)
                cells.setdefault((place.socket, place.numa), set()).add(cell)
        return {
            (name, cpu): channel[0] if len(channel) == 1 else turn
            for found in cells.values()
            for turn, (channel, name, cpu) in enumerate(sorted(found))
        }

    def of(self, part: Part, cpu: int) -> Place:
        if part.device is not None:
            return self._of_device(part.device)
        beside = self._beside(part, cpu)
        channel = self._channels.get((part.source.pmu.name, cpu))
        return Place(beside.socket, beside.numa, beside.cluster, beside.core, cpu, channel)

    def _of_device(self, device: Device) -> Place:
        cpus = self._topology.node_cpus(device.numa) if device.numa is not None else ()
        socket = self._topology.place(cpus[0]).socket if cpus else None
        return Place(socket=socket, numa=device.numa, bdf=str(device.address))


# ---- counts ----


class _Cell(NamedTuple):
    """One counter's part of a read."""

    counted: int
    enabled_ns: int
    running_ns: int

    @property
    def share(self) -> float:
        return self.running_ns / self.enabled_ns


def _cells(data: PmuData) -> dict[int, dict[int, _Cell]]:
    """The counters of a read by event and CPU."""
    columns = data.columns()
    cells: dict[int, dict[int, _Cell]] = {}
    if not columns:
        return cells
    for event, cpu, count, enabled, running in zip(
        columns["event"],
        columns["cpu"],
        columns["count"],
        columns["enabled"],
        columns["running"],
    ):
        cells.setdefault(event, {})[cpu] = _Cell(count, enabled, running)
    return cells


def _read(part: Part, cpu: int, place: Place, cells: dict[int, dict[int, _Cell]]) -> _Reading:
    """A part's counters on one CPU: all of them, or it has no counts."""
    found = {name: cells[event][cpu] for name, event in part.events.items()}
    sizes = part.source.sizes
    counted = all(cell.running_ns > 0 for cell in found.values())
    return _Reading(
        part,
        place,
        {name: cell.counted * sizes[name] for name, cell in found.items()} if counted else None,
        enabled_ns=max(cell.enabled_ns for cell in found.values()),
        running=min((cell.share for cell in found.values() if cell.enabled_ns), default=None),
    )


def _readings(plan: Plan, data: PmuData, topology: Topology) -> list[_Reading]:
    places = _Places(plan, topology)
    cells = _cells(data)
    return [
        _read(part, cpu, places.of(part, cpu), cells)
        for part in plan.parts
        for cpu in sorted(cells.get(next(iter(part.events.values())), ()))
    ]


# ---- values ----


def _added(readings: Sequence[_Reading]) -> dict[str, float]:
    total: dict[str, float] = {}
    for reading in readings:
        for name, count in (reading.counts or {}).items():
            total[name] = total.get(name, 0) + count
    return total


def _apply(recipe: Recipe, counts: dict[str, float]) -> float | None:
    if not recipe.formula:
        return next(iter(counts.values()))
    return _formula(recipe.formula).value(counts)


_formula = cache(Formula)


def _combine(metric: Metric, readings: Sequence[_Reading]) -> float | None:
    """Values are added up; of means, what they are the quotient of."""
    counted = [reading for reading in readings if reading.counts]
    if not counted:
        return None
    recipe = counted[0].part.recipe
    if metric.is_mean:
        return _apply(recipe, _added(counted))
    values = [_apply(recipe, reading.counts or {}) for reading in counted]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


_WHOLE = (BYTES, COUNT, CYCLES)


def _plain(value: float | None, metric: Metric) -> float | None:
    """A count as an integer where it is one."""
    if value is None or metric.is_mean or metric.unit not in _WHOLE:
        return value
    return int(value) if float(value).is_integer() else value


def _value(scope: str, place: Place, readings: Sequence[_Reading]) -> Value:
    part = readings[0].part
    counted = [reading for reading in readings if reading.counts]
    shares = [reading.running for reading in counted or readings if reading.running is not None]
    return Value(
        part.wanted.metric,
        scope,
        place,
        _plain(_combine(part.wanted.metric, readings), part.wanted.metric),
        enabled_ns=sum(reading.enabled_ns for reading in readings) // len(readings),
        running=min(shares, default=None),
        uncounted=len(readings) - len(counted),
        device=", ".join(part.device.names) if part.device else "",
    )


def _narrowed(place: Place, scope: str) -> Place:
    return Place(**{name: getattr(place, name) for name in _NAMED_BY[scope]})


def _order(found: tuple[Place, list[_Reading]]) -> tuple[tuple[bool, int | str], ...]:
    return tuple((part is None, part if part is not None else 0) for part in found[0])


def _together(wanted: Wanted, scope: str) -> Wanted:
    """What a metric is shown as: by node or socket, its PCIe devices are added up."""
    return wanted if scope == BDF else wanted._replace(bdf="")


def evaluate(
    plan: Plan,
    data: PmuData,
    topology: Topology,
    wanted: Sequence[Wanted],
    by: Mapping[str, str],
) -> list[Value]:
    """The values of some of a plan's metrics, in their order and that of places.

    `by`: the scope that values of a scope are added up to, where it is another.
    """
    scopes = {part.wanted: by.get(part.scope) or part.scope for part in plan.parts}
    gathered: dict[Wanted, dict[Place, list[_Reading]]] = {}
    for reading in _readings(plan, data, topology):
        own = reading.part.wanted
        place = _narrowed(reading.place, scopes[own])
        places = gathered.setdefault(_together(own, scopes[own]), {})
        places.setdefault(place, []).append(reading)
    return [
        _value(scopes[readings[0].part.wanted], place, readings)
        for shown in dict.fromkeys(_together(own, scopes[own]) for own in wanted)
        for place, readings in sorted(gathered.get(shown, {}).items(), key=_order)
    ]
