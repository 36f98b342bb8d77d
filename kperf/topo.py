"""Where a CPU sits: core, cluster, NUMA node, socket; and which CPUs sit there."""

from __future__ import annotations

from typing import NamedTuple

from kperf._cached import cached_property
from kperf.errors import Error, error
from kperf.machine import Machine


class CpuTopology(NamedTuple):
    """A row's place. -1 where a row has no CPU, or the kernel does not know."""

    coreId: int = -1  # the logical CPU
    numaId: int = -1
    socketId: int = -1


class CpuPlace(NamedTuple):
    """One CPU's place in the kernel's numbers; None where the kernel does not know."""

    cpu: int
    core: int | None
    cluster: int | None
    numa: int | None
    socket: int | None


_NOWHERE = CpuTopology()


class Topology:
    """The places of a machine's CPUs, read CPU by CPU as they are asked for."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._places: dict[int, CpuPlace] = {}
        self._topologies: dict[int, CpuTopology] = {}

    @cached_property
    def _numa_of(self) -> dict[int, int]:
        machine = self._machine
        return {cpu: node for node in machine.nodes() for cpu in machine.node_cpus(node)}

    def place(self, cpu: int) -> CpuPlace:
        """Where a logical CPU sits."""
        if cpu not in self._places:
            read = self._machine.cpu_topology
            self._places[cpu] = CpuPlace(
                cpu=cpu,
                core=read(cpu, "core_id"),
                cluster=read(cpu, "cluster_id"),
                numa=self._numa_of.get(cpu),
                socket=read(cpu, "physical_package_id"),
            )
        return self._places[cpu]

    def cpu_topology(self, cpu: int) -> CpuTopology:
        """The contract's view of a place; all -1 for cpu -1."""
        if cpu < 0:
            return _NOWHERE
        if cpu not in self._topologies:
            place = self.place(cpu)
            numa = -1 if place.numa is None else place.numa
            socket = -1 if place.socket is None else place.socket
            self._topologies[cpu] = CpuTopology(coreId=cpu, numaId=numa, socketId=socket)
        return self._topologies[cpu]

    def places(self) -> list[CpuPlace]:
        """The places of all CPUs that are online."""
        return [self.place(cpu) for cpu in self._machine.online_cpus]

    def clusters(self) -> dict[int, tuple[int, ...]]:
        """The CPUs of each cluster in order of first CPU; empty where the kernel knows of none."""
        found: dict[int, list[int]] = {}
        for place in self.places():
            if place.cluster is not None:
                found.setdefault(place.cluster, []).append(place.cpu)
        return {cluster: tuple(cpus) for cluster, cpus in found.items()}

    def cluster_cpus(self, cluster: int) -> tuple[int, ...]:
        """The CPUs of a cluster: by the kernel's id, else by its index in order of first CPU."""
        clusters = self.clusters()
        if cluster in clusters:
            return clusters[cluster]
        if 0 <= cluster < len(clusters):
            return list(clusters.values())[cluster]
        hint = "this machine's kernel tells of no clusters"
        if clusters:
            known = ", ".join(map(str, clusters))
            hint = f"its clusters are {known} (or an index from 0 to {len(clusters) - 1})"
        raise error(Error.INVALID_CLUSTER, f"there is no cluster {cluster} here", hint=hint)

    def node_cpus(self, node: int) -> tuple[int, ...]:
        """The CPUs of a NUMA node; empty where it has memory alone."""
        nodes = self._machine.nodes()
        if node in nodes:
            return self._machine.node_cpus(node)
        hint = "this machine's kernel tells of no NUMA nodes"
        if nodes:
            hint = f"its nodes are {', '.join(map(str, nodes))}"
        raise error(Error.INVALID_NUMA_NODE, f"there is no NUMA node {node} here", hint=hint)

    def core_cpus(self, cpu: int) -> tuple[int, ...]:
        """The CPUs that share a core with this one, itself among them."""
        if cpu not in self._machine.online_cpus:
            raise error(
                Error.INVALID_CPU_LIST,
                f"CPU {cpu} is not online",
                hint="choose one of those that 'kperf topo' shows",
            )
        return self._machine.core_siblings(cpu)
