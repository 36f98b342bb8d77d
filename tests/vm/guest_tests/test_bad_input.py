"""What cannot be counted here gets a sentence that says why, and what to do."""

from __future__ import annotations

import os

import guest
import pytest

import kperf
from kperf import Error

DDRC = "hisi_sccl1_ddrc0/flux_rd/"


@pytest.mark.parametrize(
    ("events", "code", "words"),
    [
        ("cpu_cycle", Error.INVALID_EVENT, "did you mean cpu_cycles"),
        ("hisi_sccl1_ddrc0/flux/", Error.INVALID_EVENT, "did you mean .*flux_rd"),
        ("hisi_sccl1_ddrc9/flux_rd/", Error.INVALID_EVENT, "no PMU 'hisi_sccl1_ddrc9'"),
        ("hisi_sccl1_ddrc0/event=0x99/", Error.INVALID_EVENT, "does not fit its 5 bits"),
        ("armv8_pmuv3/event=0x12345/", Error.INVALID_EVENT, "does not fit its 16 bits"),
        ("armv8_pmuv3/event=0x11,nosuch=3/", Error.INVALID_EVENT, "no term or event 'nosuch'"),
        ("hisi_sccl1_ddrc0/flux_rd/u", Error.INVALID_EVENT, "leave the modifier ':u' out"),
        ("{cycles," + DDRC + "}", Error.INVALID_GROUP, "mixes PMUs"),
        ("{" + DDRC + ",hisi_sccl1_ddrc1/flux_rd/}", Error.INVALID_GROUP, "mixes PMUs"),
        ("{" + DDRC + ",task-clock}", Error.INVALID_GROUP, "group events of one device only"),
        ("branches", Error.NOT_SUPPORTED_BY_CPU, "not supported here: branches"),
    ],
)
def test_event_list(events: str, code: Error, words: str) -> None:
    with pytest.raises(kperf.KperfError, match=words) as refused:
        guest.count(events)
    assert refused.value.code == code


def test_device_and_process() -> None:
    with pytest.raises(kperf.KperfError, match="counts a device, not a process") as refused:
        guest.count(DDRC, pids=[os.getpid()])
    assert refused.value.code == Error.INVALID_EVENT


def test_device_on_a_cpu_of_another_die() -> None:
    with pytest.raises(kperf.KperfError, match="is counted on CPU 1, and CPU 0") as refused:
        guest.count("hisi_sccl3_ddrc0/flux_rd/", cpus=[0])
    assert refused.value.code == Error.INVALID_CPU_LIST


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-e", DDRC, "-p", "1", "-d", "1"), "counts a device, not a process"),
        (
            ("-e", "{cycles" + 7 * ",r11" + "}", "--", "true"),
            "does not fit into its group",
        ),
    ],
)
def test_command_line_says_it_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    done = guest.kperf_command("stat", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("kperf: ")
    assert words in done.stderr
