"""Named metrics: `kperf stat -M`, and what else `kperf list` shows besides events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from unit.trees import BUILDERS

HAS_PMU = bool(
    list(Path("/sys/bus/event_source/devices").glob("armv8*"))
    or Path("/sys/bus/event_source/devices/cpu").exists()
)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = ("kunpeng-96", "kunpeng-gen2", "xeon")
    return {name: BUILDERS[name](tmp_path_factory.mktemp(name)).root for name in names}


def listed(kperf: Run, root: Path, kind: str) -> dict[str, dict[str, Any]]:
    done = kperf("--sysroot", str(root), "list", kind, "--json")
    assert done.status == 0, done.err
    return {row["name"]: row for row in json.loads(done.out)["rows"]}


def test_metrics_count_their_events_together(kperf: Run) -> None:
    done = kperf("stat", "--json", "-M", "ipc,branch-miss-rate", "--", "true")
    assert done.status == 0, done.err
    rows = json.loads(done.out.splitlines()[-1])["rows"]
    groups = {row["event"].partition(":")[0]: row["group"] for row in rows}
    assert groups == {"instructions": 0, "cycles": 0, "branch-misses": 1, "branches": 1}
    if HAS_PMU:
        assert rows[0]["derived"]["ipc"] == pytest.approx(rows[0]["count"] / rows[1]["count"])
    else:
        assert {row["state"] for row in rows} == {"not-supported"}


def test_metrics_beside_events(kperf: Run) -> None:
    done = kperf(
        "stat", "--csv", "-M", "ipc", "-M", "branch-mpki", "-e", "task-clock", "--", "true"
    )
    header, *rows = done.out.strip().splitlines()
    assert "derived.ipc," in header
    assert "derived.branch-mpki," in header
    assert header.endswith("raw_count,enabled_ns,running_ns")
    assert [row.split(",")[0].partition(":")[0] for row in rows] == [
        *("task-clock", "instructions", "cycles", "branch-misses", "instructions"),
    ]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("ipcc", 1, "did you mean ipc"), ("", 2, "the list is empty"), (",", 2, "the list is empty")],
)
def test_unknown_metrics(kperf: Run, name: str, status: int, words: str) -> None:
    done = kperf("stat", "-M", name, "--", "true")
    assert (done.status, done.out) == (status, "")
    assert words in done.error()


def test_list_metrics(kperf: Run, trees: dict[str, Path]) -> None:
    kunpeng = listed(kperf, trees["kunpeng-96"], "metrics")
    assert kunpeng["ipc"]["encoding"] == "instructions / cycles"
    assert kunpeng["fetch-latency-bound"]["encoding"] == "r201d / cpu_cycles"
    assert "hip08/metrics.json" in kunpeng["memory-bound"]["description"]
    assert "topdown-l2" in kunpeng
    xeon = listed(kperf, trees["xeon"], "metrics")
    assert "cache-miss-rate" in xeon
    assert "topdown-l1" not in xeon


def test_list_devices(kperf: Run, trees: dict[str, Path]) -> None:
    devices = listed(kperf, trees["kunpeng-gen2"], "devices")
    assert len(devices) == 4 * (4 + 4 + 2) + 4
    ddrc = devices["hisi_sccl5_ddrc1_0"]
    assert ddrc["description"] == "NUMA node 2, socket 3180; 3 named events"
    assert ddrc["encoding"] == "read on CPU 64"
    assert "armv8_pmuv3_0" not in devices
    xeon = listed(kperf, trees["xeon"], "devices")
    assert xeon["uncore_imc_10"]["description"].startswith("NUMA node 0-1, socket 0-1")


def test_list_bdf(kperf: Run, trees: dict[str, Path]) -> None:
    bdfs = listed(kperf, trees["kunpeng-gen2"], "bdf")
    assert list(bdfs) == ["78:00.0", "7a:00.0", "b8:01.0", "b9:00.0"]
    assert bdfs["b9:00.0"]["pmu"] == "hisi_pcie1_core0 smmuv3_pmcg_188020"
    assert bdfs["b9:00.0"]["description"] == "nvme, nvme0, NUMA node 2"
    done = kperf("--sysroot", str(trees["xeon"]), "list", "bdf")
    assert done.out.startswith("0 PCIe devices")
    assert "no PCIe device here is covered by a PMU" in done.out


def test_other_kinds_are_listed_where_they_are_named(kperf: Run, trees: dict[str, Path]) -> None:
    done = kperf("--sysroot", str(trees["kunpeng-gen2"]), "list", "--json")
    kinds = {row["kind"] for row in json.loads(done.out)["rows"]}
    assert kinds == {"core", "software", "trace", "uncore"}
