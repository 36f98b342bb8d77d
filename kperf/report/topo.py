"""The map of a machine: sockets, NUMA nodes, clusters and CPUs. Sysfs in, rows out."""

from __future__ import annotations

from typing import NamedTuple

from kperf.frequency import Frequency, frequencies
from kperf.machine import Machine
from kperf.topo import CpuPlace, Topology


class SocketRow(NamedTuple):
    """A socket, with the nodes that its CPUs are in."""

    id: int
    numa: tuple[int, ...]


class NodeRow(NamedTuple):
    """A NUMA node. One without CPUs has memory alone. `distances` goes in the order of nodes."""

    id: int
    cpus: tuple[int, ...]
    memory_bytes: int | None
    distances: tuple[int, ...]


class ClusterRow(NamedTuple):
    """CPUs that share a part of the cache, or its tags."""

    id: int
    cpus: tuple[int, ...]


class CpuRow(NamedTuple):
    """A logical CPU; one that is offline has no place that the kernel would tell."""

    place: CpuPlace
    online: bool
    frequency: Frequency


class KindRow(NamedTuple):
    """CPUs of one kind, by the name of their PMU: big.LITTLE and hybrid machines have several."""

    name: str
    cpus: tuple[int, ...]


class MachineMap(NamedTuple):
    """All of it; `threads` is how many CPUs share a core at most."""

    sockets: list[SocketRow]
    numa: list[NodeRow]
    clusters: list[ClusterRow]
    cpus: list[CpuRow]
    kinds: list[KindRow]
    threads: int


def _sockets(places: list[CpuPlace]) -> list[SocketRow]:
    nodes: dict[int, set[int]] = {}
    for place in places:
        if place.socket is not None:
            of_socket = nodes.setdefault(place.socket, set())
            if place.numa is not None:
                of_socket.add(place.numa)
    return [SocketRow(socket, tuple(sorted(nodes[socket]))) for socket in sorted(nodes)]


def _cpus(machine: Machine, places: list[CpuPlace]) -> list[CpuRow]:
    found = {place.cpu: place for place in places}
    speeds = frequencies(machine, found)
    return [
        CpuRow(
            place=found.get(cpu) or CpuPlace(cpu, None, None, None, None),
            online=cpu in found,
            frequency=speeds.get(cpu, Frequency()),
        )
        for cpu in sorted({*machine.present_cpus, *found})
    ]


def machine_map(machine: Machine) -> MachineMap:
    """Where everything sits, and how fast it runs."""
    topology = Topology(machine)
    places = topology.places()
    return MachineMap(
        sockets=_sockets(places),
        numa=[
            NodeRow(
                node,
                machine.node_cpus(node),
                machine.node_memory(node),
                machine.node_distances(node),
            )
            for node in machine.nodes()
        ],
        clusters=[ClusterRow(cluster, cpus) for cluster, cpus in topology.clusters().items()],
        cpus=_cpus(machine, places),
        kinds=[
            KindRow(pmu.name, pmu.cpus if pmu.cpus is not None else machine.online_cpus)
            for pmu in machine.core_pmus
        ],
        threads=max(len(machine.core_siblings(place.cpu)) for place in places),
    )
