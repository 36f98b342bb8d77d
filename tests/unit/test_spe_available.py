"""Why a machine has no SPE, told from copied trees; and what its PMU is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import kperf
from kperf.machine import Machine
from kperf.spe.available import cause
from kperf.spe.request import SpeRequest, spe_event

PMU = "sys/bus/event_source/devices/arm_spe_0"
MELTDOWN = "sys/devices/system/cpu/vulnerabilities/meltdown"
KERNEL = "6.1.0-arm64"

CPUINFO = "processor\t: 0\nCPU implementer\t: 0x48\nCPU part\t: {part}\n\n"
ARM = {
    "proc/cpuinfo": CPUINFO.format(part="0xd01"),
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
    "proc/sys/kernel/osrelease": f"{KERNEL}\n",
    f"lib/modules/{KERNEL}/modules.dep": "kernel/drivers/perf/arm_spe_pmu.ko:\n",
}
LOADED = {"proc/modules": "arm_spe_pmu 36864 0 - Live 0x0\n"}


def machine(root: Path, *files: dict[str, str]) -> Machine:
    for path, text in {**ARM, **{k: v for more in files for k, v in more.items()}}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Machine(str(root))


@pytest.mark.parametrize(
    ("files", "why", "fix"),
    [
        ({}, "the driver arm_spe_pmu is not loaded", "modprobe arm_spe_pmu"),
        (
            {f"lib/modules/{KERNEL}/modules.dep": ""},
            "built without the driver",
            "CONFIG_ARM_SPE_PMU",
        ),
        ({MELTDOWN: "Mitigation: PTI\n"}, "page-table isolation is on", "kpti=off"),
        ({"proc/cmdline": "root=/dev/sda1 kpti=on\n"}, "page-table isolation is on", "kpti=off"),
        ({"proc/cpuinfo": CPUINFO.format(part="0xd08").replace("0x48", "0x41")}, "A72", "record"),
        ({**LOADED, "sys/class/dmi/id/sys_vendor": "QEMU\n"}, "virtual machine", "on the host"),
        (LOADED, "firmware does not describe", "firmware"),
        (
            {**LOADED, "sys/firmware/devicetree/base/spe-pmu/compatible": "arm"},
            "does not work with this hardware",
            "dmesg",
        ),
        ({"proc/cpuinfo": "processor : 0\nvendor_id : GenuineIntel\n\n"}, "x86_64", "record"),
    ],
)
def test_causes(tmp_path: Path, files: dict[str, str], why: str, fix: str) -> None:
    with pytest.raises(kperf.KperfError) as refused:
        spe_event(SpeRequest(), machine(tmp_path, files))
    assert refused.value.code == kperf.Error.SPE_UNAVAILABLE
    assert why in refused.value.message
    assert fix in refused.value.hint


SPE = {
    f"{PMU}/type": "11\n",
    f"{PMU}/cpumask": "0-3\n",
    f"{PMU}/caps/min_interval": "1024\n",
    f"{PMU}/caps/event_filter": "0xaa\n",
    # Not the places that the driver uses today: what format/ says counts.
    f"{PMU}/format/ts_enable": "config:4\n",
    f"{PMU}/format/pa_enable": "config:5\n",
    f"{PMU}/format/jitter": "config:6\n",
    f"{PMU}/format/load_filter": "config:8\n",
    f"{PMU}/format/store_filter": "config:9\n",
    f"{PMU}/format/branch_filter": "config:10\n",
    f"{PMU}/format/event_filter": "config1:0-63\n",
    f"{PMU}/format/min_latency": "config2:0-11\n",
}


def test_an_event_by_the_machines_own_format(tmp_path: Path) -> None:
    here = machine(tmp_path, SPE)
    assert cause(here) is None
    wanted = kperf.SpeFilter.LOAD_FILTER | kperf.SpeFilter.PA_ENABLE
    event = spe_event(SpeRequest(int(wanted), 0x8, 100), here)
    assert (event.type, event.config) == (11, 1 << 4 | 1 << 5 | 1 << 8)
    assert (event.config1, event.config2, event.period) == (0x8, 100, 4096)
    assert event.cpus == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (SpeRequest(period=1000), kperf.Error.INVALID_SAMPLE_RATE, "at least 1024"),
        (SpeRequest(period=-1), kperf.Error.INVALID_SAMPLE_RATE, "period"),
        (SpeRequest(min_latency=4096), kperf.Error.INVALID_FILTER, "0xfff"),
        (SpeRequest(event_filter=0x10), kperf.Error.INVALID_FILTER, "tlb-access"),
        (SpeRequest(data_filter=1 << 7), kperf.Error.INVALID_FILTER, "0x80"),
        (SpeRequest(data_filter=4), kperf.Error.INVALID_FILTER, "PCT_ENABLE"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, request_: SpeRequest, code: kperf.Error, words: str
) -> None:
    with pytest.raises(kperf.KperfError) as refused:
        spe_event(request_, machine(tmp_path, SPE))
    assert refused.value.code == code
    assert words in str(refused.value)


def test_a_period_of_its_own_is_kept(tmp_path: Path) -> None:
    here = machine(tmp_path, {**SPE, f"{PMU}/caps/min_interval": "8192\n"})
    assert spe_event(SpeRequest(), here).period == 8192
    assert spe_event(SpeRequest(period=9000), here).period == 9000
