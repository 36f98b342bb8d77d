"""What a read of devices gives: raw counts that know their metrics, and rows of metrics."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

from kperf.attrs import PmuDeviceMetric, PmuMetricMode
from kperf.data import PmuData, Quality
from kperf.device.evaluate import Value, evaluate
from kperf.device.metric import BDF, CHANNEL, CLUSTER, CORE, NUMA, SOCKET
from kperf.device.plan import Plan, Wanted
from kperf.errors import Error, error

_MODES = {
    CHANNEL: PmuMetricMode.CHANNEL,
    CORE: PmuMetricMode.CORE,
    CLUSTER: PmuMetricMode.CLUSTER,
    NUMA: PmuMetricMode.NUMA,
    SOCKET: PmuMetricMode.SOCKET,
    BDF: PmuMetricMode.BDF,
}


_OWN: Mapping[str, str] = {}  # each metric by its own scope


class DeviceCounts(PmuData):
    """The raw counts of a `Device`; `kperf.get_device_metric` makes metrics of them."""

    def __init__(self, *arguments: Any, plan: Plan) -> None:
        super().__init__(*arguments)
        self._plan = plan

    def evaluate(self, wanted: Sequence[Wanted], by: Mapping[str, str] = _OWN) -> list[Value]:
        """The values of some of the metrics that were opened. Raises for one that was not."""
        if self.is_freed:
            raise error(
                Error.DATA_FREED,
                "this data was freed",
                hint="make its metrics before PmuData.free()",
            )
        opened = {part.wanted for part in self._plan.parts}
        for one in wanted:
            if one not in opened:
                of = f" of {one.bdf}" if one.bdf else ""
                raise error(
                    Error.INVALID_METRIC,
                    f"{one.metric.name}{of} was not opened",
                    hint="name it in kperf.device_open as well",
                )
        return evaluate(self._plan, self, self._columns.topology, wanted, by)


class DdrDataStructure(NamedTuple):
    """Where a memory channel is. -1: the machine does not tell."""

    channelId: int = -1
    ddrNumaId: int = -1
    socketId: int = -1


def _number(value: int | None) -> int:
    return -1 if value is None else value


class ImplPmuDeviceData:
    """One value of a metric since the last read.

    `count` is in `unit`, and 0 where nothing was counted (`countPercent` is -1 then) or where there
    was nothing to take a mean of. `mode` says which of the places the row is of; the others are -1
    or "".
    """

    __slots__ = ("_data", "_index")

    def __init__(self, data: PmuDeviceData, index: int) -> None:
        self._data = data
        self._index = index

    @property
    def _value(self) -> Value:
        return self._data.value(self._index)

    @property
    def metric(self) -> PmuDeviceMetric:
        return PmuDeviceMetric(self._value.metric.id)

    @property
    def count(self) -> float:
        return self._value.value or 0

    @property
    def unit(self) -> str:
        return self._value.metric.unit

    @property
    def mode(self) -> PmuMetricMode:
        return _MODES[self._value.scope]

    @property
    def countPercent(self) -> float:
        """The share of the enabled time in which it was counted; -1 if it never was."""
        return (self._value.running or 0) or -1.0

    @property
    def timeEnabled(self) -> int:
        """ns since the last read in which it was to be counted."""
        return self._value.enabled_ns

    @property
    def coreId(self) -> int:
        """The logical CPU."""
        return _number(self._value.place.cpu)

    @property
    def clusterId(self) -> int:
        return _number(self._value.place.cluster)

    @property
    def numaId(self) -> int:
        return _number(self._value.place.numa) if self.mode != PmuMetricMode.BDF else -1

    @property
    def socketId(self) -> int:
        return _number(self._value.place.socket) if self.mode != PmuMetricMode.BDF else -1

    @property
    def bdf(self) -> str:
        return self._value.place.bdf or ""

    @property
    def ddrDataStructure(self) -> DdrDataStructure:
        place = self._value.place
        if self.mode != PmuMetricMode.CHANNEL:
            return DdrDataStructure()
        return DdrDataStructure(_number(place.channel), _number(place.numa), _number(place.socket))

    @property
    def DdrDataStructure(self) -> DdrDataStructure:
        """The contract's other spelling."""
        return self.ddrDataStructure

    @property
    def channelId(self) -> int:
        return self.ddrDataStructure.channelId

    @property
    def ddrNumaId(self) -> int:
        return self.ddrDataStructure.ddrNumaId

    def __repr__(self) -> str:
        if self._data.is_freed:
            return "<kperf row, freed>"
        place = {k: v for k, v in self._value.place._asdict().items() if v is not None}
        where = ", ".join(f"{name} {value}" for name, value in place.items())
        return f"<kperf {self._value.metric.name}: {self.count} {self.unit}, {where}>"


class PmuDeviceData:
    """Rows of metrics. Indexes, iterates and has a length; `free()` gives the memory back."""

    def __init__(self, values: Sequence[Value] = (), quality: Quality | None = None) -> None:
        self.quality = quality or Quality()
        self._values = list(values)
        self.is_freed = False

    @property
    def len(self) -> int:
        return len(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def value(self, index: int) -> Value:
        """What a row shows. Raises `KperfError` after free()."""
        if self.is_freed:
            raise error(
                Error.DATA_FREED,
                "this row's data was freed",
                hint="read rows before PmuDeviceData.free(), or keep the values and not the row",
            )
        return self._values[index]

    @property
    def iter(self) -> Iterator[ImplPmuDeviceData]:
        """The rows, from the first one on."""
        return (ImplPmuDeviceData(self, index) for index in range(len(self._values)))

    def __iter__(self) -> Iterator[ImplPmuDeviceData]:
        return self.iter

    def __getitem__(self, index: SupportsIndex) -> ImplPmuDeviceData:
        number, length = operator.index(index), len(self._values)
        if not -length <= number < length:
            raise IndexError(f"row {number} of {length}")
        return ImplPmuDeviceData(self, number % length)

    def columns(self) -> dict[str, list[Any]]:
        """The rows by column: metric, count, unit, running and the parts of places."""
        rows = self._values
        places = {
            name: [getattr(value.place, name) for value in rows]
            for name in ("socket", "numa", "cluster", "core", "cpu", "channel", "bdf")
        }
        return {
            "metric": [value.metric.name for value in rows],
            "count": [value.value for value in rows],
            "unit": [value.metric.unit for value in rows],
            "running": [value.running for value in rows],
            **places,
        }

    def free(self) -> None:
        """Gives the memory back. Rows taken before raise from then on."""
        self._values = []
        self.is_freed = True
