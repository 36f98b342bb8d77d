"""Metrics of devices through the kernel's own drivers, against the rates the stand-ins play."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import guest
import pytest
from guest import DEVICES, Count, Wrong, known_rate, settle

import kperf
from kperf.device import pci

DDR = {"ddr-read-bw": "flux_rd", "ddr-write-bw": "flux_wr"}
FLUX_BYTES = 32

# Each channel's device by node and number: node 0 is SCCL 1, node 1 SCCL 3.
CHANNELS = {
    (node, channel): f"hisi_sccl{sccl}_ddrc{channel}"
    for node, sccl in enumerate((1, 3))
    for channel in range(4)
}


def measure(metrics: Any, seconds: float = 0.5, **options: Any) -> list[Any]:
    with kperf.Device(metrics, **options) as device:
        device.enable()
        time.sleep(seconds)
        device.disable()
        return list(device.read_metrics())


def per_us(device: str, event: str) -> float:
    """Bytes in a microsecond."""
    return known_rate(f"{device}/{event}/") * FLUX_BYTES


def compare(
    found: dict[str, tuple[float, float]], known: dict[str, float], names: Sequence[str]
) -> Wrong:
    """Of these names, the counts with their microseconds that are not what is known of each."""
    assert found.keys() == known.keys()
    counts = {name: Count(round(count), us) for name, (count, us) in found.items()}
    return {
        name: f"{count} where {known[name]} a microsecond are played"
        for name, count in counts.items()
        if name in names and abs(count.rate - known[name]) > count.slack(known[name])
    }


def found_by(rows: Sequence[Any], name: Callable[[Any], str]) -> dict[str, tuple[float, float]]:
    assert {row.countPercent for row in rows} == {1.0}
    return {name(row): (row.count, row.timeEnabled / 1000) for row in rows}


def metric_name(row: Any) -> str:
    return {0: "ddr-read-bw", 1: "ddr-write-bw"}[int(row.metric)]


# ---- memory ----


@pytest.mark.parametrize(("factor", "seconds"), [(1, 1.0), (20, 0.3), (20, 1.5)])
def test_memory_by_channel(speed: Callable[[int], None], factor: int, seconds: float) -> None:
    known = {
        f"{metric} {node} {channel}": per_us(device, event) * factor
        for metric, event in DDR.items()
        for (node, channel), device in CHANNELS.items()
    }

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure("ddr-read-bw,ddr-write-bw", seconds)
        assert {row.mode for row in rows} == {kperf.PmuMetricMode.CHANNEL}
        places = [row.ddrDataStructure for row in rows]
        assert {place.socketId for place in places} == {0}
        return compare(
            found_by(
                rows,
                lambda row: f"{metric_name(row)} {row.ddrNumaId} {row.channelId}",
            ),
            known,
            names,
        )

    speed(factor)
    settle(attempt, list(known))


@pytest.mark.parametrize("place", ["numa", "socket"])
def test_memory_added_up(place: str) -> None:
    known: dict[str, float] = {}
    for metric, event in DDR.items():
        for (node, _), device in CHANNELS.items():
            name = f"{metric} {node if place == 'numa' else 0}"
            known[name] = known.get(name, 0) + per_us(device, event)

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure(list(DDR), by=place)
        return compare(
            found_by(
                rows,
                lambda row: f"{metric_name(row)} {row.numaId if place == 'numa' else row.socketId}",
            ),
            known,
            names,
        )

    settle(attempt, list(known))


def test_memory_beyond_32_bits(speed: Callable[[int], None]) -> None:
    """The counters wrap several times within the window, and the driver adds up what they lose."""
    known = {f"{node} {n}": per_us(d, "flux_rd") * 5000 for (node, n), d in CHANNELS.items()}

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure("ddr-read-bw", 0.6)
        assert all(row.count / FLUX_BYTES > 1 << 32 for row in rows)
        return compare(found_by(rows, lambda row: f"{row.ddrNumaId} {row.channelId}"), known, names)

    speed(5000)
    settle(attempt, list(known))


def test_repeated_reads_give_deltas() -> None:
    rate = sum(per_us(d, "flux_rd") for (node, _), d in CHANNELS.items() if node == 0)
    known = dict.fromkeys(("0.2", "0.5", "0.3"), rate)

    def attempt(names: Sequence[str]) -> Wrong:
        found = {}
        with kperf.Device("ddr-read-bw", by="numa") as device:
            device.enable()
            for seconds in known:
                time.sleep(float(seconds))
                first, *_ = device.read_metrics()
                assert first.timeEnabled >= float(seconds) * 1e9
                found[seconds] = (first.count, first.timeEnabled / 1000)
        return compare(found, known, names)

    settle(attempt, list(known))


def test_memory_is_perf_s() -> None:
    events = [f"{device}/flux_rd/" for device in CHANNELS.values()]

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure("ddr-read-bw", 1.0)
        judges = guest.perf_stat("-a", "-e", ",".join(events), "--", "sleep", "1")
        counts = [Count(round(row.count / FLUX_BYTES), row.timeEnabled / 1000) for row in rows]
        return {
            event: f"{count} where perf counts {judge}"
            for event, count, judge in zip(events, counts, judges)
            if event in names
            and abs(count.rate - judge.rate) > count.slack(judge.rate) + judge.slack(judge.rate)
        }

    settle(attempt, events)


# ---- the contract's functions ----


def test_functions() -> None:
    attrs = [
        kperf.PmuDeviceAttr(metric=kperf.PmuDeviceMetric.PMU_DDR_READ_BW),
        kperf.PmuDeviceAttr(metric=kperf.PmuDeviceMetric.PMU_L3_MISS),
    ]
    pd = kperf.device_open(attrs)
    assert pd > 0, kperf.error()
    assert kperf.enable(pd) == 0
    time.sleep(0.2)
    assert kperf.disable(pd) == 0
    data = kperf.read(pd)
    kperf.close(pd)
    rows = kperf.get_device_metric(data, attrs[:1])
    assert len(rows) == 8
    assert all(row.count > 0 for row in rows)
    misses = kperf.get_device_metric(data, attrs[1:])
    assert [row.coreId for row in misses] == list(kperf.Machine().online_cpus)


# ---- the other blocks ----


def test_shares_of_home_agents() -> None:
    """By the codes of their events: three times, and twice as much as all requests."""
    known = {"hha-cross-numa": 3.0, "hha-cross-socket": 2.0}
    everything = [f"{metric} {node}" for metric in known for node in (0, 1)]

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure(list(known), 1.0)
        assert [row.numaId for row in rows] == [0, 1, 0, 1]
        found = dict(zip(everything, (row.count for row in rows)))
        return {
            name: f"{found[name]} is played as {known[name.split()[0]]}"
            for name in names
            if found[name] != pytest.approx(known[name.split()[0]], rel=0.01)
        }

    settle(attempt, everything)


def test_last_level_cache_of_cores() -> None:
    """The guest's cores count such events, and have none."""
    rows = measure("l3-traffic,l3-miss,l3-ref", 0.1)
    cpus = list(kperf.Machine().online_cpus)
    assert [row.coreId for row in rows] == cpus * 3
    assert {(row.count, row.countPercent, row.mode) for row in rows} == {
        (0, 1.0, kperf.PmuMetricMode.CORE)
    }


def behind_a_port(monkeypatch: pytest.MonkeyPatch, pmu: str) -> None:
    """A device behind an SMMU, as the guest has none: 05:00.0 below the root port 00:02.0."""
    device = pci.Device(pci.Address(0, 5, 0, 0), pci.Address(0, 0, 2, 0), 0, "", ("nvme",))
    monkeypatch.setattr(pci.Pci, "find", lambda *_: (device, [pmu]))


def test_translations_of_smmus(monkeypatch: pytest.MonkeyPatch) -> None:
    behind_a_port(monkeypatch, "smmuv3_pmcg_100040")
    known = {"05:00.0": known_rate("smmuv3_pmcg_100040/transaction/")}

    def attempt(names: Sequence[str]) -> Wrong:
        rows = measure("smmu-tran", bdfs=["05:00.0"])
        return compare(found_by(rows, lambda row: str(row.bdf)), known, names)

    settle(attempt, list(known))


# ---- counters that take turns, and refusals ----


def test_more_metrics_than_counters() -> None:
    """Three sessions want the one counter of an event: each has a third, scaled and told."""
    devices = [kperf.Device("ddr-read-bw", by="numa") for _ in range(3)]
    try:
        for device in devices:
            device.enable()
        time.sleep(2.0)
        shares = [device.read_metrics()[0].countPercent for device in devices]
    finally:
        for device in devices:
            device.close()
    assert shares == pytest.approx([1 / 3] * 3, abs=0.15)


@pytest.mark.parametrize(
    ("metric", "bdfs", "words"),
    [
        ("l3-lat", [], "is of generation 1"),
        ("energy-pkg", [], "not on this kind of machine"),
        ("pcie-rx-mrd-bw", [], "none was named"),
    ],
)
def test_refused(metric: str, bdfs: list[str], words: str) -> None:
    with pytest.raises(kperf.KperfError, match=words):
        kperf.Device(metric, bdfs=bdfs)


# ---- the command ----


def test_command() -> None:
    def attempt(names: Sequence[str]) -> Wrong:
        done = guest.kperf_command("device", "ddr-read-bw", "-d", "0.5", "--json")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert [(row["numa"], row["unit"]) for row in rows] == [(0, "B/s"), (1, "B/s")]
        found = {
            str(row["numa"]): (row["amount"], row["amount"] * 1e6 / row["value"]) for row in rows
        }
        return compare(found, known, names)

    known = {
        str(node): sum(per_us(d, "flux_rd") for (of, _), d in CHANNELS.items() if of == node)
        for node in (0, 1)
    }
    settle(attempt, list(known))


def test_catalog(paranoid: Callable[[int], None]) -> None:
    done = guest.kperf_command("device", "--list", "--json")
    assert done.returncode == 0, done.stderr
    here = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert here["ddr-read-bw"]["available"]
    assert here["ddr-read-bw"]["pmus"] == [d for d in DEVICES if "ddrc" in d]
    assert here["hha-cross-numa"]["available"]
    assert "generation 1" in here["l3-lat"]["reason"]
    paranoid(2)
    refused = guest.kperf_command("device", "--list", "--json", user=True)
    users = {row["name"]: row for row in json.loads(refused.stdout)["rows"]}
    assert "no permission" in users["ddr-read-bw"]["reason"]
