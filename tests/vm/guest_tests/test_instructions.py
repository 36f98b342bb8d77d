"""Instructions, which the emulator counts as its clock follows them (run.sh -i)."""

from __future__ import annotations

import os

import guest
import pytest
from guest import count_here

LOOP = ("--", "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done")


def test_every_spelling_of_instructions_counts_the_same() -> None:
    spellings = "instructions", "inst_retired", "r8", "armv8_pmuv3/inst_retired/"
    rows = count_here("{" + ",".join(spellings) + "}", lambda: guest.spin(0.05))
    assert [row.evt for row in rows] == list(spellings)
    assert rows[0].count > 100_000
    assert [row.count for row in rows] == pytest.approx([rows[0].count] * 4, rel=0.001)


def test_instructions_a_cycle() -> None:
    """An instruction takes eight nanoseconds here (run.sh -i 3), and a cycle is one of them."""
    document = guest.stat("-e", "{instructions,cycles}", *LOOP)
    rows = document["events"]
    assert rows["cycles"]["count"] == pytest.approx(8 * rows["instructions"]["count"], rel=0.01)
    assert rows["instructions"]["derived"]["ipc"] == pytest.approx(1 / 8, rel=0.01)


def test_metric_by_name() -> None:
    document = guest.stat("-M", "ipc,frontend-stalled", *LOOP)
    first, second, *_ = document["rows"]
    assert (first["event"], second["event"]) == ("instructions", "cycles")
    assert first["derived"]["ipc"] == pytest.approx(first["count"] / second["count"])
    assert {row["group"] for row in document["rows"]} == {0, 1}


def test_instructions_of_a_command_are_perf_s() -> None:
    """But for some that the emulator counts on the wrong side of an interrupt."""
    (judge,) = guest.perf_stat("-e", "instructions:u", *LOOP)
    row = guest.stat("-e", "instructions:u", *LOOP)["events"]["instructions:u"]
    assert row["count"] == pytest.approx(judge.count, rel=0.05)


def test_the_kernel_lists_instructions() -> None:
    assert "inst_retired" in os.listdir(guest.EVENT_SOURCE / "armv8_pmuv3" / "events")
