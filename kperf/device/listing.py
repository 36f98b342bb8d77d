"""Devices that count, and PCIe devices that are counted, as `kperf list` shows them."""

from __future__ import annotations

from collections.abc import Iterator

from kperf.device.metric import PCIE, SMMU
from kperf.device.pci import Pci
from kperf.events.listing import ListedEvent
from kperf.events.pmus import by_numbers
from kperf.machine import Machine, Pmu, format_cpu_list
from kperf.topo import Topology


def _place(pmu: Pmu, topology: Topology) -> str:
    """Where a PMU stands: of its CPUs, those that are online."""
    cpus = pmu.associated_cpus or pmu.cpumask or ()
    places = [topology.place(cpu) for cpu in cpus]
    words = []
    for name, numbers in (
        ("NUMA node", {place.numa for place in places}),
        ("socket", {place.socket for place in places}),
    ):
        known = tuple(sorted(number for number in numbers if number is not None))
        if known:
            words.append(f"{name} {format_cpu_list(known)}")
    return ", ".join(words)


def listed_devices(machine: Machine) -> Iterator[ListedEvent]:
    """The PMUs of devices: where each stands, on which CPUs it is read, and its named events."""
    topology = Topology(machine)
    for name in sorted(machine.pmu_names, key=by_numbers):
        pmu = machine.pmu(name)
        if not pmu.is_device:
            continue
        events = len(pmu.event_names)
        cpus = format_cpu_list(pmu.cpumask or ()) or "none that is online"
        words = [_place(pmu, topology), f"{events} named event{'' if events == 1 else 's'}"]
        yield ListedEvent(
            name, "devices", name, "; ".join(filter(None, words)), f"read on CPU {cpus}"
        )


def listed_bdfs(machine: Machine) -> Iterator[ListedEvent]:
    """The PCIe devices that metrics can name: what each is called, and the PMUs that cover it."""
    pci = Pci(machine)
    for device in pci.all():
        pmus = [*pci.pmus_of(device, PCIE), *pci.pmus_of(device, SMMU)]
        if pmus:
            words = [*device.names]
            if device.numa is not None:
                words.append(f"NUMA node {device.numa}")
            yield ListedEvent(str(device.address), "bdf", " ".join(pmus), ", ".join(words))
