"""Chips after Kunpeng 920: other names of blocks, other codes, and ACPI's name of the core PMU.

While these tests run they stand in the place of the other devices: `rig-pmus second`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import guest
import pytest
from guest import SECOND_GENERATION, Count, Wrong, known_rate, settle

import kperf

FLUX_BYTES = 32
DDR = {"ddr-read-bw": "flux_rd", "ddr-write-bw": "flux_wr"}
CHANNELS = {
    (0, 0): "hisi_sccl1_ddrc0_0",
    (0, 1): "hisi_sccl1_ddrc0_1",
    (1, 0): "hisi_sccl3_ddrc0_0",
    (1, 1): "hisi_sccl3_ddrc0_1",
}
CACHES = {"hisi_sccl1_l3c0_0": 0, "hisi_sccl3_l3c2_0": 1}
CORE = "armv8_pmuv3_0"


@pytest.fixture(scope="module", autouse=True)
def younger() -> Iterator[None]:
    """The devices of the second generation, and the first ones again."""
    done = guest.run("rig-pmus", "second")
    assert done.returncode == 0, done.stderr
    yield
    done = guest.run("rig-pmus", "first")
    assert done.returncode == 0, done.stderr


def measure(metrics: Any, seconds: float = 0.5, **options: Any) -> list[Any]:
    with kperf.Device(metrics, **options) as device:
        device.enable()
        time.sleep(seconds)
        device.disable()
        return list(device.read_metrics())


# These stand-ins are exact, and the codes of reads and writes, 0x84 and 0x83, count much alike.
NEAR = 0.003


def wrong(found: dict[str, Count], known: dict[str, float], names: Sequence[str]) -> Wrong:
    assert found.keys() == known.keys()
    return {
        name: f"{found[name]} where {known[name]} a microsecond are played"
        for name in names
        if found[name].rate != pytest.approx(known[name], rel=NEAR)
    }


def bytes_of(device: str, metric: str) -> float:
    return known_rate(f"{device}/{DDR[metric]}/") * FLUX_BYTES


def metric_name(row: Any) -> str:
    return {0: "ddr-read-bw", 1: "ddr-write-bw"}[int(row.metric)]


def of(row: Any) -> Count:
    assert row.countPercent == 1.0
    return Count(round(row.count), row.timeEnabled / 1000)


@pytest.mark.parametrize("place", ["channel", "numa", "socket"])
def test_memory(place: str) -> None:
    spots: dict[str, Callable[[Any], Any]] = {
        "channel": lambda row: (row.ddrNumaId, row.channelId),
        "numa": lambda row: row.numaId,
        "socket": lambda row: row.socketId,
    }
    known: dict[str, float] = {}
    for metric in DDR:
        for spot, device in CHANNELS.items():
            where = {"channel": spot, "numa": spot[0], "socket": 0}[place]
            name = f"{metric} {where}"
            known[name] = known.get(name, 0) + bytes_of(device, metric)

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure(list(DDR), **({} if place == "channel" else {"by": place}))
        found = {f"{metric_name(row)} {spots[place](row)}": of(row) for row in rows}
        return wrong(found, known, names)

    settle(attempt, list(known))


def test_memory_is_perf_s() -> None:
    events = [f"{device}/flux_rd/" for device in CHANNELS.values()]

    def attempt(names: Sequence[str]) -> Wrong:
        judges = guest.perf_stat("-a", "-e", ",".join(events), "--", "sleep", "0.5")
        rows = {row.evt: guest.counted(row) for row in guest.count(events)}
        return {
            event: f"{rows[event]} where perf counts {judge}"
            for event, judge in zip(events, judges)
            if event in names and rows[event].rate != pytest.approx(judge.rate, rel=0.02)
        }

    settle(attempt, events)


def test_latency_of_the_cache() -> None:
    """Of each node its sum, and what that is for an access, by the codes that are played."""
    sums = {str(node): known_rate(f"{device}/latency/") for device, node in CACHES.items()}

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure("l3-lat")
        return wrong({str(row.numaId): of(row) for row in rows}, sums, names)

    settle(attempt, list(sums))
    rows = measure("l3-mean-lat")
    means = {
        node: known_rate(f"{device}/latency/")
        / (known_rate(f"{device}/l3c_ref/") - known_rate(f"{device}/other/"))
        for device, node in CACHES.items()
    }
    assert {row.numaId: row.count for row in rows} == pytest.approx(means, rel=0.01)


def test_shares_of_home_agents() -> None:
    rows = measure("hha-cross-numa,hha-cross-socket")
    assert [row.count for row in rows] == pytest.approx([3, 3, 2, 2], rel=0.01)


def test_patterns_name_these_boxes() -> None:
    rows = guest.count(["hisi_sccl*_ddrc*/flux_rd/"], 0.1)
    assert [row.evt.split("/")[0] for row in rows] == list(CHANNELS.values())
    own = guest.count(["hisi_sccl1_ddrc0_1/event=0x84/"], 0.2)[0]
    rate = known_rate("hisi_sccl1_ddrc0_1/flux_rd/")
    assert guest.counted(own).rate == pytest.approx(rate, rel=NEAR)


def test_the_catalog_names_them() -> None:
    done = guest.kperf_command("device", "--list", "--json")
    here = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    for metric, block in (("ddr-read-bw", "_ddrc"), ("l3-lat", "_l3c"), ("hha-cross-numa", "_hha")):
        assert here[metric]["available"]
        assert here[metric]["pmus"] == [name for name in SECOND_GENERATION if block in name]


def test_the_core_pmu_by_the_name_that_acpi_gives_it() -> None:
    assert CORE in [pmu.name for pmu in kperf.Machine().core_pmus]
    counted, clock = guest.count_here([f"{CORE}/cpu_cycles/", "task-clock"], guest.spin)
    per_us = 0x11 + 1
    assert counted.count / (clock.count / 1000) == pytest.approx(per_us, rel=0.05)
    done = guest.kperf_command("list", "core", "--json")
    names = {row["name"] for row in json.loads(done.stdout)["rows"] if row["pmu"] == CORE}
    assert f"{CORE}/cpu_cycles/" in names
