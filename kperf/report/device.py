"""Metrics as people read them: rates, totals, shares of the highest value seen, a short history."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from kperf.device.evaluate import Place, Value
from kperf.device.metric import BYTES, BYTES_PER_NS, COUNT, JOULES, METRICS

# A metric's unit, as a rate: what a second of it is called, and what one is in that unit. Those
# that are missing (cycles, ns, ratios) are no matter of time.
_PER_SECOND = {BYTES: "B/s", COUNT: "/s", JOULES: "W"}
_ALREADY_RATES = {BYTES_PER_NS: ("B/s", 1e9)}
_REMEMBERED = 20


class DeviceRow(NamedTuple):
    """A metric in one place. `value` is in `unit`; `amount` is what it follows from, in
    `amount_unit`, and None where the value does not follow from a count."""

    metric: str
    place: Place
    device: str
    value: float | None
    unit: str
    amount: float | None
    amount_unit: str
    running: float | None
    uncounted: int
    share: float | None = None  # of the highest value of this metric that was seen so far
    history: tuple[float | None, ...] = ()  # the last shares, the newest at the end


class Total(NamedTuple):
    """A metric's rows added up."""

    metric: str
    value: float
    unit: str
    amount: float | None
    amount_unit: str


def _rate(value: Value) -> tuple[float | None, str]:
    """A value in the unit that it is shown in."""
    unit = value.metric.unit
    if unit in _ALREADY_RATES:
        name, factor = _ALREADY_RATES[unit]
        return (None if value.value is None else value.value * factor), name
    if unit not in _PER_SECOND:
        return value.value, unit
    if value.value is None or not value.enabled_ns:
        return None, _PER_SECOND[unit]
    return value.value * 1e9 / value.enabled_ns, _PER_SECOND[unit]


def _row(value: Value) -> DeviceRow:
    shown, unit = _rate(value)
    adds_up = value.metric.unit in _PER_SECOND
    return DeviceRow(
        value.metric.name,
        value.place,
        value.device,
        shown,
        unit,
        value.value if adds_up else None,
        value.metric.unit if adds_up else "",
        value.running,
        value.uncounted,
    )


class DeviceReport:
    """The rows of one read after the other, with what was seen before."""

    def __init__(self) -> None:
        self._highest: dict[str, float] = {}
        self._histories: dict[tuple[str, Place], deque[float | None]] = {}

    def rows(self, values: Sequence[Value]) -> list[DeviceRow]:
        """The rows of a read, in its order."""
        rows = list(map(_row, values))
        for row in rows:
            if row.value is not None:
                self._highest[row.metric] = max(self._highest.get(row.metric, 0), row.value)
        return [self._compared(row) for row in rows]

    def _compared(self, row: DeviceRow) -> DeviceRow:
        history = self._histories.setdefault((row.metric, row.place), deque(maxlen=_REMEMBERED))
        history.append(row.value)
        highest = self._highest.get(row.metric, 0)
        shares = tuple(None if v is None or not highest else v / highest for v in history)
        return row._replace(share=shares[-1], history=shares)


def totals(rows: Sequence[DeviceRow]) -> list[Total]:
    """Those metrics that add up, where they have several rows."""
    means = {metric.name for metric in METRICS.values() if metric.is_mean}
    found = []
    for name in dict.fromkeys(row.metric for row in rows):
        own = [row for row in rows if row.metric == name and row.value is not None]
        if len(own) < 2 or name in means:
            continue
        counts = [row.amount for row in own if row.amount is not None]
        found.append(
            Total(
                name,
                sum(row.value or 0 for row in own),
                own[0].unit,
                sum(counts) if counts else None,
                own[0].amount_unit,
            )
        )
    return found


def multiplexed(rows: Sequence[DeviceRow]) -> list[DeviceRow]:
    """The rows whose counters took turns with others."""
    return [row for row in rows if row.running is not None and 0 < row.running < 0.995]


def device_notes(rows: Sequence[DeviceRow]) -> list[str]:
    """What the values do not hold, in words."""
    notes = []
    silent = [row.metric for row in rows if row.value is None and not row.running]
    idle = [row.metric for row in rows if row.value is None and row.running]
    if silent:
        notes.append(f"not counted: {', '.join(dict.fromkeys(silent))}")
    if idle:
        notes.append(f"nothing happened to take a mean of: {', '.join(dict.fromkeys(idle))}")
    partly = [row for row in rows if row.uncounted and row.value is not None]
    for name in dict.fromkeys(row.metric for row in partly):
        lost = sum(row.uncounted for row in partly if row.metric == name)
        notes.append(
            f"{name}: {lost} of its counters never got a turn, and are missing in its sums"
        )
    shared = multiplexed(rows)
    if shared:
        lowest = min(row.running or 0.0 for row in shared)
        notes.append(f"{len(shared)} scaled up from a part of the time (at least {lowest:.0%})")
    return notes


def is_lossy(rows: Sequence[DeviceRow]) -> bool:
    """Whether a counter never got its turn."""
    return any(row.uncounted for row in rows)
