"""Measuring devices as a context manager that raises `KperfError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Union

from kperf._native import EventStatus, Failure, NativeSession
from kperf.arguments import of_type
from kperf.attrs import PmuDeviceAttr
from kperf.collection import Collection, Wanted
from kperf.data import Quality
from kperf.device.data import DeviceCounts, PmuDeviceData
from kperf.device.evaluate import Value, check_sum
from kperf.device.find import metric_of
from kperf.device.metric import SUMS
from kperf.device.pci import parse_bdf
from kperf.device.plan import Wanted as WantedMetric
from kperf.device.plan import make_plan
from kperf.errors import Error, KperfError, error
from kperf.events.event import EventGroup

Asked = Union[str, int, PmuDeviceAttr]


def _plain(bdf: str) -> str:
    """One spelling a device; what is no BDF stays as it is, for the error."""
    address = parse_bdf(bdf) if bdf else None
    return str(address) if address is not None else bdf


def ask(metrics: Asked | Sequence[Asked], bdfs: Sequence[str] = ()) -> list[WantedMetric]:
    """Metrics by name (lists between commas), number or attribute, each of them once.

    Those that are measured by device are asked for on each of `bdfs`.
    """
    given = [metrics] if isinstance(metrics, (str, int, PmuDeviceAttr)) else metrics
    asked: list[WantedMetric] = []
    for one in given:
        if isinstance(one, PmuDeviceAttr):
            asked.append(WantedMetric(metric_of(one.metric), _plain(one.bdf)))
            continue
        names = one.split(",") if isinstance(one, str) else [one]
        for metric in (metric_of(name) for name in names if name != ""):
            of = bdfs if metric.bdf and bdfs else [""]
            asked += [WantedMetric(metric, _plain(bdf)) for bdf in of]
    return list(dict.fromkeys(asked))


class Device(Collection):
    """Measures metrics of devices. Opened by the constructor, disabled until `enable()`.

    metrics: names as `kperf device` takes them ('ddr-read-bw,l3-miss', or several), members of
    `PmuDeviceMetric`, or `PmuDeviceAttr`. Those that are measured for a PCIe device are measured on
    each of `bdfs`. `by` adds values up: to 'numa' or 'socket', those of cores to 'cluster'; a
    mapping says so for each scope, as {'channel': 'numa'}.

    `read_metrics()` gives what was measured since the last read; `read()` the raw counts beneath.
    Usable from any thread, by the process that opened it. Raises `KperfError`.
    """

    def __init__(
        self,
        metrics: Asked | Sequence[Asked],
        *,
        bdfs: Sequence[str] = (),
        by: str | Mapping[str, str] = "",
    ) -> None:
        of_type("by", by, str, Mapping)
        self._asked = ask(metrics, bdfs)
        self._by = dict.fromkeys(SUMS, by) if isinstance(by, str) else by
        super().__init__(Wanted(events=()))

    def _resolve(self, _wanted: Wanted) -> list[EventGroup]:
        self._plan = make_plan(self._asked, self.machine)
        for part in self._plan.parts:
            check_sum(part.wanted.metric, part.scope, self._by)
        return self._plan.groups

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSession:
        return NativeSession(explain)

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        """A PMU that went between looking and opening says so."""
        for event, status in zip(self.events, statuses):
            if not status.supported and not status.is_hidden:
                pmu = self.machine.pmu(event.pmu)
                if event.pmu and not pmu.is_there:
                    raise error(
                        Error.NOT_SUPPORTED_BY_CPU,
                        f"the PMU {pmu.name} is gone: it was there a moment ago, and its driver "
                        "was unloaded since",
                        hint="load the driver again",
                    )
        self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        return self._plan.notes

    def read(self) -> DeviceCounts:
        """The raw counts since the last read (the first: since the opening)."""
        counts = self._session.read()
        return DeviceCounts(
            counts,
            self._infos,
            self.topology,
            time.monotonic_ns(),
            Quality(self.notes),
            plan=self._plan,
        )

    def read_values(self) -> list[Value]:
        """The values since the last read, one by one as they were asked for."""
        return self.read().evaluate(self._asked, self._by)

    def read_metrics(self) -> PmuDeviceData:
        """What was measured since the last read, as the contract's rows."""
        return PmuDeviceData(self.read_values(), Quality(self.notes))
