"""The contract's functions for devices, with what every x86 machine counts: the time stamp counter.

Other devices are counted in tests/vm.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import kperf
from kperf import PmuDeviceAttr, PmuDeviceMetric

TSC = Path("/sys/bus/event_source/devices/msr/events/tsc")

needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="this machine shows no msr/tsc/")


def measured(pd: int, seconds: float = 0.05) -> Any:
    assert kperf.enable(pd) == 0
    time.sleep(seconds)
    assert kperf.disable(pd) == 0
    return kperf.read(pd)


@needs_tsc
def test_tsc_ticks_as_often_as_the_kernel_says() -> None:
    """The kernel measured it when it booted, and shows it in its log, or not at all."""
    with kperf.Device("tsc") as device:
        before = monotonic()
        device.enable()
        began = monotonic()
        time.sleep(0.3)
        ended = monotonic()
        device.disable()
        after = monotonic()
        rows = list(device.read_metrics())
    assert len(rows) == len(kperf.Machine().online_cpus)
    rates = [row.count / row.timeEnabled for row in rows]
    assert max(rates) == pytest.approx(min(rates), rel=1e-2)
    for row in rows:
        assert (ended - began) * 0.99 <= row.timeEnabled <= (after - before) * 1.01
    mhz = re.findall(
        r"tsc: (?:Detected|Refined TSC clocksource calibration:) ([\d.]+) MHz", kernel_log()
    )
    if mhz:
        assert rates[0] * 1000 == pytest.approx(float(mhz[-1]), rel=1e-2)


def monotonic() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def kernel_log() -> str:
    import subprocess

    return subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout


@needs_tsc
def test_rows_of_the_contract() -> None:
    attr = [PmuDeviceAttr(metric=PmuDeviceMetric.PMU_TSC)]
    pd = kperf.device_open(attr)
    assert pd > 0, kperf.error()
    data = measured(pd)
    rows = kperf.get_device_metric(data, attr)
    kperf.close(pd)
    assert rows.len == len(rows) == len(list(rows.iter)) == len(kperf.Machine().online_cpus)
    for index, row in enumerate(rows):
        assert isinstance(row, kperf.ImplPmuDeviceData)
        assert row.metric == PmuDeviceMetric.PMU_TSC
        assert row.mode == kperf.PmuMetricMode.CORE == kperf.PmuMetricMode.PMU_METRIC_CORE
        assert row.coreId == kperf.Machine().online_cpus[index]
        assert row.count > 0
        assert row.countPercent == 1.0
        assert row.bdf == ""
        assert row.ddrDataStructure == kperf.DdrDataStructure(-1, -1, -1)
    assert rows[-1].coreId == rows[len(rows) - 1].coreId
    with pytest.raises(IndexError):
        rows[len(rows)]


@needs_tsc
def test_repeated_reads_give_what_came_since() -> None:
    with kperf.Device([PmuDeviceMetric.PMU_TSC]) as device:
        device.enable()
        time.sleep(0.05)
        first = device.read_metrics()[0]
        second = device.read_metrics()[0]
        device.disable()
        device.read_metrics()
        nothing = device.read_metrics()[0]
    assert second.count < first.count
    assert (nothing.count, nothing.countPercent) == (0, -1)


@needs_tsc
def test_data_that_was_freed() -> None:
    attr = [PmuDeviceAttr(PmuDeviceMetric.PMU_TSC)]
    pd = kperf.device_open(attr)
    data = measured(pd, 0.01)
    rows = kperf.get_device_metric(data, attr)
    row = rows[0]
    rows.free()
    rows.free()
    assert len(rows) == 0
    with pytest.raises(kperf.KperfError, match="was freed"):
        row.count  # noqa: B018
    assert repr(row) == "<kperf row, freed>"
    data.free()
    assert len(kperf.get_device_metric(data, attr)) == 0
    assert kperf.errorno() == kperf.Error.DATA_FREED
    kperf.close(pd)


@needs_tsc
def test_metrics_that_were_not_opened() -> None:
    attr = [PmuDeviceAttr(PmuDeviceMetric.PMU_TSC)]
    pd = kperf.device_open(attr)
    data = kperf.read(pd)
    kperf.close(pd)
    rows = kperf.get_device_metric(data, [PmuDeviceAttr(PmuDeviceMetric.PMU_L3_REF)])
    assert len(rows) == 0
    assert kperf.errorno() == kperf.Error.INVALID_METRIC
    assert "l3-ref was not opened" in kperf.error()


def test_counts_of_something_else() -> None:
    rows = kperf.get_device_metric(kperf.PmuData(), [PmuDeviceAttr(0)])
    assert (len(rows), kperf.errorno()) == (0, kperf.Error.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    ("attrs", "code", "words"),
    [
        ([], kperf.Error.INVALID_METRIC, "no metric was named"),
        ([PmuDeviceAttr(99)], kperf.Error.INVALID_METRIC, "99 is no metric"),
        ([PmuDeviceAttr(24, bdf="00:00.0")], kperf.Error.INVALID_BDF, "not measured by device"),
    ],
)
def test_refusals(attrs: list[PmuDeviceAttr], code: kperf.Error, words: str) -> None:
    assert kperf.device_open(attrs) == -1
    assert kperf.errorno() == code
    assert words in kperf.error()


def test_wrong_types() -> None:
    for wrong in ("tsc", PmuDeviceAttr(24), [24], None):
        with pytest.raises(TypeError):
            kperf.device_open(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PmuDeviceAttr("tsc")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PmuDeviceAttr(1, bdf=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kperf.get_device_metric([], [])  # type: ignore[arg-type]


def test_lists_of_bdfs() -> None:
    for kind in kperf.PmuBdfType:
        listed = list(kperf.device_bdf_list(kind))
        assert bool(listed) != bool(kperf.error())
    assert list(kperf.device_bdf_list(5)) == []  # type: ignore[arg-type]
    assert kperf.errorno() == kperf.Error.INVALID_ARGUMENT


@needs_tsc
def test_pmu_that_goes_between_looking_and_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel no longer knows the type that was read, and its directory is gone."""
    from kperf.machine import Pmu

    monkeypatch.setattr(Pmu, "type", 4000)
    monkeypatch.setattr(Pmu, "is_there", False)
    with pytest.raises(kperf.NotSupportedError, match="the PMU msr is gone"):
        kperf.Device("tsc")


@needs_tsc
def test_sums_that_cannot_be() -> None:
    with pytest.raises(kperf.KperfError, match="tsc is measured by core, and cannot be shown by"):
        kperf.Device("tsc", by="channel")
    with kperf.Device("tsc", by="socket") as device:
        device.enable()
        assert {row.mode for row in device.read_metrics()} == {kperf.PmuMetricMode.SOCKET}


# ---- the contract's examples, as its page has them ----

_OPEN = """
dev_attr = [
    kperf.PmuDeviceAttr(metric=kperf.PmuDeviceMetric.PMU_L3_TRAFFIC)
]
pd = kperf.device_open(dev_attr)
if pd == -1:
    print(kperf.error())
    exit(1)
"""
_BDFS = """
bdf_type = kperf.PmuBdfType.PMU_BDF_TYPE_SMMU
bdf_list = kperf.device_bdf_list(bdf_type)
print(bdf_list)
"""


def test_example_opens_or_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    statuses: list[Any] = []
    namespace: dict[str, Any] = {"kperf": kperf, "exit": statuses.append}
    exec(compile(_OPEN, "contract", "exec"), namespace)
    if namespace["pd"] > 0:
        kperf.close(namespace["pd"])
        return
    assert statuses == [1]
    assert kperf.errorno() == kperf.Error.NOT_SUPPORTED_BY_CPU
    assert capsys.readouterr().out.startswith("l3-traffic cannot be measured here: ")


def test_example_lists_bdfs() -> None:
    namespace: dict[str, Any] = {"kperf": kperf}
    exec(compile(_BDFS, "contract", "exec"), namespace)
    assert iter(namespace["bdf_list"]) is namespace["bdf_list"]
