"""`kperf topo`: the map of this machine and of others, and core lists for scripts."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from support import online_cpus
from unit.trees import BUILDERS, KUNPENG_SOCKETS, Tree


@pytest.fixture(scope="module")
def kunpeng(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS["kunpeng-96"](tmp_path_factory.mktemp("kunpeng")).root


def shown(kperf: Run, *options: str) -> dict[str, Any]:
    done = kperf(*options, "topo", "--json")
    assert done.status == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def numbered(values: list[int | None]) -> list[int | None]:
    """Numbers in order of their first appearance, as lscpu gives sockets."""
    order = list(dict.fromkeys(values))
    return [None if value is None else order.index(value) for value in values]


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu is not installed")
def test_places_are_lscpu_s(kperf: Run) -> None:
    columns = ["lscpu", "-p=CPU,SOCKET,NODE"]
    judge = subprocess.run(columns, capture_output=True, text=True, check=True).stdout
    lines = [line.split(",") for line in judge.splitlines() if not line.startswith("#")]
    cpus, sockets, nodes = ([int(x) if x else None for x in column] for column in zip(*lines))
    ours = [row for row in shown(kperf)["cpus"] if row["online"]]
    assert [row["id"] for row in ours] == cpus
    assert [row["numa"] for row in ours] == nodes
    assert numbered([row["socket"] for row in ours]) == numbered(sockets)


def test_memory_and_distances_are_the_kernel_s(kperf: Run) -> None:
    for node in shown(kperf)["numa"]:
        path = Path(f"/sys/devices/system/node/node{node['id']}")
        total = path.joinpath("meminfo").read_text().split("MemTotal:")[1].split()[0]
        assert node["memory_bytes"] == int(total) * 1024
        assert node["distances"] == list(map(int, path.joinpath("distance").read_text().split()))


def test_a_kunpeng(kperf: Run, kunpeng: Path) -> None:
    document = shown(kperf, "--sysroot", str(kunpeng))
    assert "rows" not in document
    assert document["sockets"] == [
        {"id": KUNPENG_SOCKETS[0], "numa": [0, 1]},
        {"id": KUNPENG_SOCKETS[1], "numa": [2, 3]},
    ]
    assert [node["cpus"][0] for node in document["numa"]] == [0, 24, 48, 72]
    assert {"id": 654, "cpus": [48, 49, 50, 51]} in document["clusters"]
    assert len(document["clusters"]) == 24
    assert document["cpus"][50] == {
        "id": 50,
        "online": True,
        "core": 560,
        "cluster": 654,
        "numa": 2,
        "socket": KUNPENG_SOCKETS[1],
        "freq_hz": None,
        "min_hz": None,
        "max_hz": None,
    }


@pytest.mark.parametrize(
    ("option", "number", "cpus"),
    [
        ("--numa", "2", "48-71"),
        ("--cluster", "654", "48-51"),
        ("--cluster", "1", "4-7"),
        ("--cpu", "95", "95"),
    ],
)
def test_core_lists(kperf: Run, kunpeng: Path, option: str, number: str, cpus: str) -> None:
    done = kperf("--sysroot", str(kunpeng), "topo", option, number)
    assert (done.status, done.out, done.err) == (0, f"{cpus}\n", "")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--numa", "9"), "no NUMA node 9 here: its nodes are 0, 1, 2, 3"),
        (("--cluster", "9999"), "no cluster 9999 here: its clusters are 54, 104"),
        (("--cpu", "96"), "CPU 96 is not online"),
    ],
)
def test_what_is_not_there(kperf: Run, kunpeng: Path, option: tuple[str, str], words: str) -> None:
    done = kperf("--sysroot", str(kunpeng), "topo", *option)
    assert done.status == 1
    assert words in done.err


def test_two_lists_are_a_wrong_use(kperf: Run) -> None:
    done = kperf("topo", "--numa", "0", "--cpu", "0")
    assert done.status == 2
    assert "choose one" in done.err


def test_memory_alone_and_offline_cpus(kperf: Run, tmp_path: Path) -> None:
    grace = BUILDERS["grace"](tmp_path / "grace").root
    done = kperf("--sysroot", str(grace), "topo")
    assert done.status == 0
    assert "2 NUMA nodes" in done.out
    assert [line.split()[:3] for line in done.out.splitlines()[3:5]] == [
        ["0", "0", "0-71"],
        ["-", "1", "-"],
    ]
    xeon = shown(kperf, "--sysroot", str(BUILDERS["xeon"](tmp_path / "xeon").root))
    assert xeon["cpus"][63]["online"] is False
    assert xeon["cpus"][63]["socket"] is None
    assert "offline, so without a place: CPU 63" in xeon["quality"]["notes"]


def test_cores_numbered_anew_in_each_cluster(kperf: Run, tmp_path: Path) -> None:
    root = BUILDERS["big-little"](tmp_path).root
    assert ": 6 CPUs, 6 cores, 2 clusters, " in kperf("--sysroot", str(root), "topo").out


def test_frequencies(kperf: Run, tmp_path: Path) -> None:
    tree = BUILDERS["epyc"](tmp_path)
    for cpu in range(32):
        path = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        tree.write(f"{path}/scaling_cur_freq", 2_600_000 + cpu)
        tree.write(f"{path}/cpuinfo_min_freq", 400_000)
        tree.write(f"{path}/cpuinfo_max_freq", 3_900_000)
    row = shown(kperf, "--sysroot", str(tree.root))["cpus"][31]
    assert (row["freq_hz"], row["min_hz"], row["max_hz"]) == (
        2_600_031_000,
        400_000_000,
        3_900_000_000,
    )
    assert "2.60 GHz (0.40-3.90)" in kperf("--sysroot", str(tree.root), "topo").out


def test_csv_has_a_row_a_cpu(kperf: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(kperf("topo", "--csv").out)))
    online = [int(row["id"]) for row in rows if row["online"] == "true"]
    assert online == sorted(online_cpus())


# ---- machines of every kind ----


def described(kperf: Run, folder: Path, name: str) -> dict[str, Any]:
    return shown(kperf, "--sysroot", str(BUILDERS[name](folder).root))


@pytest.mark.parametrize(
    ("name", "cpus", "sockets", "nodes", "clusters"),
    [
        ("kunpeng-96", 96, 2, 4, 24),
        ("kunpeng-128", 128, 2, 4, 32),
        ("kunpeng-gen2", 128, 2, 4, 32),
        ("xeon", 63, 2, 2, 32),
        ("epyc", 32, 1, 1, 32),
        ("grace", 72, 1, 2, 72),
        ("hybrid", 16, 1, 1, 6),
        ("big-little", 6, 1, 0, 2),
        ("guest", 2, 1, 1, 0),
    ],
)
def test_machines(
    kperf: Run, tmp_path: Path, name: str, cpus: int, sockets: int, nodes: int, clusters: int
) -> None:
    found = described(kperf, tmp_path, name)
    assert sum(row["online"] for row in found["cpus"]) == cpus
    counts = tuple(len(found[part]) for part in ("sockets", "numa", "clusters"))
    assert counts == (sockets, nodes, clusters)


def test_cluster_ids_that_are_no_index(kperf: Run, kunpeng: Path) -> None:
    """The kernel's own id, and the index where no CPU has it."""
    sysroot = ("--sysroot", str(kunpeng), "topo", "--cluster")
    assert kperf(*sysroot, "654").out == kperf(*sysroot, "12").out == "48-51\n"
    refused = kperf(*sysroot, "24")
    assert (refused.status, refused.out) == (1, "")
    assert "an index from 0 to 23" in refused.error()


def test_threads_of_a_core(kperf: Run, tmp_path: Path) -> None:
    xeon = str(BUILDERS["xeon"](tmp_path).root)
    assert kperf("--sysroot", xeon, "topo", "--cpu", "33").out == "1,33\n"
    assert kperf("--sysroot", xeon, "topo", "--cpu", "31").out == "31\n"  # 63 is offline
    refused = kperf("--sysroot", xeon, "topo", "--cpu", "63")
    assert "CPU 63 is not online" in refused.error()
    table = kperf("--sysroot", xeon, "topo").out
    assert "32 cores of 2 threads" in table
    assert "offline, so without a place: CPU 63" in table


def test_kinds_of_cores(kperf: Run, tmp_path: Path) -> None:
    table = kperf("--sysroot", str(BUILDERS["big-little"](tmp_path).root), "topo").out
    assert "armv8_cortex_a53 on 0-3, armv8_cortex_a72 on 4-5" in table


def test_holes_in_numbering(kperf: Run, tmp_path: Path) -> None:
    """CPUs 4 to 7 and node 1 do not exist; node 2 has memory alone."""
    tree = Tree(tmp_path)
    here = [*range(4), *range(8, 12)]
    tree.cpus(here)
    tree.x86_cpuinfo(8, "GenuineIntel", "holes")
    for cpu in here:
        tree.cpu(cpu, core=cpu, socket=cpu // 8)
    tree.nodes({0: range(4), 2: [], 3: range(8, 12)})
    for number, node in enumerate((0, 2, 3)):
        distances = " ".join("10" if number == other else "20" for other in range(3))
        tree.write(f"sys/devices/system/node/node{node}/distance", distances)
    found = shown(kperf, "--sysroot", str(tmp_path))
    assert [row["id"] for row in found["cpus"]] == here
    assert [(row["id"], row["cpus"]) for row in found["numa"]] == [
        (0, [0, 1, 2, 3]),
        (2, []),
        (3, [8, 9, 10, 11]),
    ]
    assert found["numa"][2]["distances"] == [20, 20, 10]
    sysroot = ("--sysroot", str(tmp_path), "topo", "--numa")
    assert kperf(*sysroot, "3").out == "8-11\n"
    assert kperf(*sysroot, "2").out == "\n"
    assert "there is no NUMA node 1 here: its nodes are 0, 2, 3" in kperf(*sysroot, "1").error()


@pytest.mark.skipif(shutil.which("numactl") is None, reason="numactl is not installed")
def test_nodes_are_numactl_s(kperf: Run) -> None:
    done = subprocess.run(["numactl", "-H"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this kernel tells numactl of no NUMA nodes: {done.stderr.strip()}")
    nodes = {row["id"]: row for row in shown(kperf)["numa"]}
    for line in done.stdout.splitlines():
        words = line.split()
        if words[:1] == ["node"] and words[2:3] == ["cpus:"]:
            assert nodes[int(words[1])]["cpus"] == list(map(int, words[3:]))
        elif words[:1] == ["node"] and words[2:3] == ["size:"]:
            assert nodes[int(words[1])]["memory_bytes"] >> 20 == int(words[3])
        elif words and words[0].rstrip(":").isdecimal():
            assert nodes[int(words[0].rstrip(":"))]["distances"] == list(map(int, words[1:]))
