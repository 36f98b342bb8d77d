"""Every metric there is, whether a machine has it, and if not, why."""

from __future__ import annotations

import errno
from typing import NamedTuple

from kperf.device.find import Found, find, recipes
from kperf.device.metric import METRICS, Metric
from kperf.device.pci import Pci
from kperf.machine import Machine

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_ABSENT = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV})


class ListedMetric(NamedTuple):
    """One metric. `pmus` are those that count it here, `devices` the BDFs it may be asked for;
    `skipped` names what could not be read."""

    name: str
    available: bool
    reason: str
    unit: str
    scope: str
    description: str
    pmus: tuple[str, ...]
    devices: tuple[str, ...]
    formula: str
    encoding: str
    source: str
    confirmed: bool | None
    skipped: tuple[str, ...]


def _refused(found: Found, machine: Machine) -> str:
    """What the kernel has against it, on a live machine; "" if it opens."""
    if not machine.is_live:
        return ""
    from kperf._native import probe

    event = next(iter(found.sources[0].events.values()))
    refusal = probe(event)
    if refusal in _FORBIDDEN:
        return (
            "no permission: run as root, or with CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"
            f"; kernel.perf_event_paranoid is {machine.paranoid}"
        )
    if refusal in _ABSENT and not found.metric.bdf:
        return f"the kernel does not open {event.name}"
    return ""


def _sizes(found: Found) -> str:
    """The formula with what a count of each event is."""
    assert found.recipe is not None
    text = found.recipe.text
    sizes = [f"{name} x {size:g}" for name, size in found.sources[0].sizes.items() if size != 1]
    return f"{text} ({', '.join(sizes)})" if sizes else text


def _listed(metric: Metric, machine: Machine, pci: Pci) -> ListedMetric:
    found = find(metric, machine)
    recipe = found.recipe or recipes(metric.id)[0]
    devices = [str(d.address) for d in pci.covered(metric.bdf)] if metric.bdf else []
    reason = found.reason
    if found.sources:
        reason = _refused(found, machine)
        if not reason and metric.bdf and not devices:
            reason = f"no PCIe device is covered by {', '.join(s.pmu.name for s in found.sources)}"
    here = bool(found.sources)
    return ListedMetric(
        metric.name,
        here and not reason,
        reason,
        metric.unit,
        recipe.scope_for(metric),
        metric.description,
        tuple(source.pmu.name for source in found.sources),
        tuple(devices),
        _sizes(found) if here else "",
        ", ".join(event.name for event in found.sources[0].events.values()) if here else "",
        recipe.source if here else "",
        recipe.confirmed if here else None,
        found.skipped,
    )


def catalog(machine: Machine) -> list[ListedMetric]:
    """All metrics, in their order."""
    pci = Pci(machine)
    return [_listed(metric, machine, pci) for metric in METRICS.values()]
