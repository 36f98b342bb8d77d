"""Where a CPU sits: core, cluster, NUMA node, socket."""

from __future__ import annotations

from typing import NamedTuple

from kperf._cached import cached_property
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
