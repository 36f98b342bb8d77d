"""Where CPUs sit, on machines of many kinds and on this one."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from unit.trees import KUNPENG_SOCKETS, MachineOf, Tree

from kperf.machine import Machine
from kperf.topo import CpuPlace, CpuTopology, Topology


@pytest.mark.parametrize(
    ("tree_name", "cpu", "core", "cluster", "numa", "socket"),
    [
        ("kunpeng-96", 0, 10, 54, 0, 36),
        ("kunpeng-96", 3, 43, 54, 0, 36),
        ("kunpeng-96", 4, 54, 104, 0, 36),
        ("kunpeng-96", 23, 263, 304, 0, 36),
        ("kunpeng-96", 24, 274, 354, 1, 36),
        ("kunpeng-96", 47, 527, 604, 1, 36),
        ("kunpeng-96", 48, 538, 654, 2, 3180),
        ("kunpeng-96", 95, 1055, 1204, 3, 3180),
        ("kunpeng-128", 31, 351, 404, 0, 36),
        ("kunpeng-128", 63, 703, 804, 1, 36),
        ("kunpeng-128", 64, 714, 854, 2, 3180),
        ("kunpeng-128", 127, 1407, 1604, 3, 3180),
        ("xeon", 0, 0, 0, 0, 0),
        ("xeon", 16, 0, 32, 1, 1),
        ("xeon", 32, 0, 0, 0, 0),
        ("xeon", 62, 14, 46, 1, 1),
        ("hybrid", 1, 0, 0, 0, 0),
        ("hybrid", 15, 23, 24, 0, 0),
        ("big-little", 1, 1, 0, None, 0),
        ("big-little", 5, 1, 1, None, 0),
        ("guest", 1, 1, None, 0, 0),
    ],
)
def test_places(
    machine_of: MachineOf,
    tree_name: str,
    cpu: int,
    core: int | None,
    cluster: int | None,
    numa: int | None,
    socket: int | None,
) -> None:
    topology = Topology(machine_of(tree_name))
    assert topology.place(cpu) == CpuPlace(cpu, core, cluster, numa, socket)
    assert topology.cpu_topology(cpu) == CpuTopology(
        cpu, -1 if numa is None else numa, -1 if socket is None else socket
    )


@pytest.mark.parametrize("cpus", [96, 128])
def test_a_kunpeng_as_a_whole(machine_of: MachineOf, cpus: int) -> None:
    topology = Topology(machine_of(f"kunpeng-{cpus}"))
    places = [topology.place(cpu) for cpu in range(cpus)]
    assert [place.numa for place in places] == [cpu * 4 // cpus for cpu in range(cpus)]
    assert [place.socket for place in places] == [
        KUNPENG_SOCKETS[cpu * 2 // cpus] for cpu in range(cpus)
    ]
    clusters = [place.cluster for place in places]
    assert len(set(clusters)) == cpus // 4
    assert all(clusters.count(cluster) == 4 for cluster in clusters)


@pytest.mark.parametrize("cpu", [63, 64, 5000])
def test_a_cpu_that_is_offline_or_not_there(machine_of: MachineOf, cpu: int) -> None:
    topology = Topology(machine_of("xeon"))
    assert topology.place(cpu) == CpuPlace(cpu, None, None, None, None)
    assert topology.cpu_topology(cpu) == CpuTopology(cpu, -1, -1)


def test_a_count_over_all_cpus_has_no_place(machine_of: MachineOf) -> None:
    assert Topology(machine_of("xeon")).cpu_topology(-1) == CpuTopology(-1, -1, -1)


def test_a_place_is_read_once(tree: Tree) -> None:
    tree.cpus(range(1))
    tree.cpu(0, core=7, socket=1, cluster=2)
    tree.nodes({3: [0]})
    topology = Topology(tree.machine())
    first = topology.place(0)
    assert first == CpuPlace(0, 7, 2, 3, 1)
    tree.cpu(0, core=8, socket=8, cluster=8)
    assert topology.place(0) is first
    assert topology.cpu_topology(0) is topology.cpu_topology(0)


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu (util-linux) is the judge")
def test_this_machine_as_lscpu_sees_it() -> None:
    columns = ["lscpu", "--parse=CPU,NODE,SOCKET"]
    lines = subprocess.run(columns, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    topology = Topology(Machine())
    assert len(rows) == len(Machine().online_cpus)
    sockets: dict[str, int | None] = {}
    for cpu, node, socket in rows:
        place = topology.place(int(cpu))
        assert place.numa == (int(node) if node else None)
        # lscpu numbers the sockets itself: what must agree is which CPUs share one.
        assert sockets.setdefault(socket, place.socket) == place.socket
    assert len(set(sockets.values())) == len(sockets)
