"""The PCIe root complexes: whose traffic an event counts, which events they take, and metrics.

0000:01:00.0 sits below the root port 0000:00:02.0 of core 0, 0000:02:00.0 below 0000:00:03.0 of
core 1, and 0000:00:01.0 below none (run.sh).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import guest
import pytest
from guest import Wrong

import kperf

# Event with its target: how many times the rate of the untargeted event it counts (pcie_target).
TARGETS = {
    "hisi_pcie0_core0/rx_mrd_flux,bdf=0x100/": 11,
    "hisi_pcie0_core0/rx_mrd_flux,bdf=0x10/": 3,
    "hisi_pcie0_core1/rx_mrd_flux,bdf=0x200/": 21,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x1/": 1,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x101/": 10,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x2,bdf=0x100/": 2,  # the port wins
    "hisi_pcie0_core1/rx_mrd_latency,port=0x4/": 3,
    "hisi_pcie0_core0/rx_mrd_latency,bdf=0x100/": 0,  # a latency is not counted by device
    "hisi_pcie0_core0/rx_mrd_time,bdf=0x100/": 1,
    "hisi_pcie0_core0/rx_mrd_cnt,port=0x80/": 1,
}


def test_targets() -> None:
    def attempt(events: Sequence[str]) -> Wrong:
        counts = {row.evt: guest.counted(row) for row in guest.count(list(events), 0.3)}
        known = {event: guest.known_rate(event) * TARGETS[event] for event in counts}
        return {
            event: f"{count} where {known[event]} a microsecond are counted"
            for event, count in counts.items()
            if abs(count.rate - known[event]) > count.slack(known[event])
        }

    guest.settle(attempt, list(TARGETS))


def test_flux_and_time_of_a_device_in_a_group() -> None:
    pair = "{hisi_pcie0_core1/rx_mrd_flux,bdf=0x200/,hisi_pcie0_core1/rx_mrd_time,bdf=0x200/}"
    flux, time = guest.count(pair, 0.2)
    assert flux.timeRunning == time.timeRunning
    assert flux.count / time.count == pytest.approx(2100, rel=0.01)


@pytest.mark.parametrize(
    "event",
    [
        "hisi_pcie0_core0/rx_mrd_flux,bdf=0x200/",  # of the other core
        "hisi_pcie0_core1/rx_mrd_flux,bdf=0x100/",
        "hisi_pcie0_core0/rx_mrd_flux,bdf=0x8/",  # below no port
        "hisi_pcie0_core0/rx_mrd_flux,bdf=0x300/",  # not there
        "hisi_pcie0_core0/rx_mrd_flux,thr_len=11/",
        "hisi_pcie0_core0/rx_mrd_flux,trig_len=9/",
    ],
)
def test_what_the_driver_refuses(event: str) -> None:
    with pytest.raises(kperf.KperfError) as refused:
        guest.count([event])
    assert refused.value.code == kperf.Error.INVALID_EVENT


def test_bounds_of_each_core() -> None:
    bounds = [
        [
            (guest.EVENT_SOURCE / core / name).read_text().strip()
            for name in ("bus", "bdf_min", "bdf_max")
        ]
        for core in ("hisi_pcie0_core0", "hisi_pcie0_core1")
    ]
    assert bounds == [["0x00", "0x0010", "0x0017"], ["0x00", "0x0018", "0x001f"]]


# ---- metrics ----

WORD_BYTES = 4  # of a sum of traffic


def measure(metrics: str, bdfs: Sequence[str]) -> list[Any]:
    with kperf.Device(metrics, bdfs=bdfs) as device:
        device.enable()
        time.sleep(0.3)
        device.disable()
        return list(device.read_metrics())


def test_bandwidth_by_device() -> None:
    """A sum counts a hundred times as fast as its time, times the factor of its target."""
    names = "pcie-rx-mrd-bw,pcie-rx-mwr-bw,pcie-tx-mrd-bw,pcie-tx-mwr-bw"
    rows = measure(names, ["01:00.0", "0000:02:00.0"])
    found = [(row.bdf, int(row.metric), row.count) for row in rows]
    known = [
        (bdf, metric, pytest.approx(100 * factor * WORD_BYTES, rel=0.01))
        for metric in (
            kperf.PmuDeviceMetric.PMU_PCIE_RX_MRD_BW,
            kperf.PmuDeviceMetric.PMU_PCIE_RX_MWR_BW,
            kperf.PmuDeviceMetric.PMU_PCIE_TX_MRD_BW,
            kperf.PmuDeviceMetric.PMU_PCIE_TX_MWR_BW,
        )
        for bdf, factor in (("01:00.0", 11), ("02:00.0", 21))
    ]
    assert sorted(found, key=str) == sorted(known, key=lambda row: str(row[:2]))
    assert {row.mode for row in rows} == {kperf.PmuMetricMode.BDF}


def test_latency_by_root_port() -> None:
    """Latencies are counted by port: bit 4 of the bitmap is 00:02.0, bit 6 is 00:03.0."""
    for metric in ("pcie-rx-mrd-lat", "pcie-rx-mwr-lat", "pcie-tx-mrd-lat"):
        found = {row.bdf: row.count for row in measure(metric, ["01:00.0", "02:00.0"])}
        assert found == {
            "01:00.0": pytest.approx(500, rel=0.01),
            "02:00.0": pytest.approx(700, rel=0.01),
        }


@pytest.mark.parametrize(
    ("bdf", "words"),
    [
        ("nvme0", "is no BDF"),
        ("05:00.0", "there is no PCIe device 05:00.0 here"),
        ("00:01.0", "00:01.0 is here, but no PMU of a root complex covers it"),
    ],
)
def test_three_errors_about_a_device(bdf: str, words: str) -> None:
    with pytest.raises(kperf.KperfError, match=words):
        kperf.Device("pcie-rx-mrd-bw", bdfs=[bdf])


def test_devices_are_listed() -> None:
    done = guest.kperf_command("list", "bdf", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["01:00.0"]["pmu"] == "hisi_pcie0_core0"
    assert rows["02:00.0"]["pmu"] == "hisi_pcie0_core1"
