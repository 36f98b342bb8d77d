"""The PCIe root complexes: whose traffic an event counts, and which events they take.

Devices behind them: 0000:00:01.0 and the port 0000:00:02.0 of core 0, 0000:01:00.0 of core 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import guest
import pytest
from guest import Wrong

import kperf

# Event with its target: how many times the rate of the untargeted event it counts (pcie_target).
TARGETS = {
    "hisi_pcie0_core0/rx_mrd_flux,bdf=0x8/": 2,
    "hisi_pcie0_core0/rx_mrd_flux,bdf=0x10/": 3,
    "hisi_pcie0_core1/rx_mrd_flux,bdf=0x100/": 11,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x1/": 1,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x101/": 10,
    "hisi_pcie0_core0/tx_mrd_flux,port=0x2,bdf=0x8/": 2,  # the port wins
    "hisi_pcie0_core1/rx_mrd_latency,port=0x4/": 3,
    "hisi_pcie0_core0/rx_mrd_latency,bdf=0x8/": 0,  # a latency is not counted by device
    "hisi_pcie0_core0/rx_mrd_time,bdf=0x8/": 1,
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
    pair = "{hisi_pcie0_core1/rx_mrd_flux,bdf=0x100/,hisi_pcie0_core1/rx_mrd_time,bdf=0x100/}"
    flux, time = guest.count(pair, 0.2)
    assert flux.timeRunning == time.timeRunning
    assert flux.count / time.count == pytest.approx(1100, rel=0.01)


@pytest.mark.parametrize(
    "event",
    [
        "hisi_pcie0_core0/rx_mrd_flux,bdf=0x100/",  # of the other core
        "hisi_pcie0_core1/rx_mrd_flux,bdf=0x8/",
        "hisi_pcie0_core0/rx_mrd_flux,thr_len=11/",
        "hisi_pcie0_core0/rx_mrd_flux,trig_len=9/",
    ],
)
def test_what_the_driver_refuses(event: str) -> None:
    with pytest.raises(kperf.KperfError) as refused:
        guest.count([event])
    assert refused.value.code == kperf.Error.INVALID_EVENT


def test_devices_behind_each_core() -> None:
    bounds = [
        [
            (guest.EVENT_SOURCE / core / name).read_text().strip()
            for name in ("bus", "bdf_min", "bdf_max")
        ]
        for core in ("hisi_pcie0_core0", "hisi_pcie0_core1")
    ]
    assert bounds == [["0x00", "0x0000", "0x00ff"], ["0x01", "0x0100", "0x3fff"]]
    present = {path.name for path in Path("/sys/bus/pci/devices").iterdir()}
    assert present >= {"0000:00:01.0", "0000:00:02.0", "0000:01:00.0"}
