"""The cores' own counters, through the kernel's armv8_pmuv3 driver."""

from __future__ import annotations

import json
import os

import guest
import pytest
from guest import count_here, spin

import kperf

CYCLES = "cycles", "cpu_cycles", "r11", "armv8_pmuv3/cpu_cycles/", "armv8_pmuv3/event=0x11/"

# One counter for cycles alone and six for anything: what the guest's PMU has.
COUNTERS = 7


def test_every_spelling_of_cycles_counts_the_same() -> None:
    rows = count_here("{" + ",".join(CYCLES) + "}", spin)
    assert [row.evt for row in rows] == list(CYCLES)
    assert all(row.state == "counted" and row.countPercent == 1.0 for row in rows)
    assert [row.count for row in rows] == pytest.approx([rows[0].count] * len(rows), rel=0.01)


@pytest.mark.parametrize("event", CYCLES)
def test_cycles_run_at_the_guest_s_gigahertz(event: str) -> None:
    (row,) = count_here([event], spin)
    assert row.count == pytest.approx(row.timeRunning, rel=0.1)


def test_cycles_of_the_whole_machine_have_a_row_a_cpu() -> None:
    rows = guest.count(["cycles"])
    assert [(row.cpu, row.pid, row.cpuTopo.numaId) for row in rows] == [(0, -1, 0), (1, -1, 1)]
    assert all(row.count == pytest.approx(row.timeRunning, rel=0.1) for row in rows)


def test_cycles_agree_with_perf() -> None:
    """Both count everything on a CPU, where a cycle is a nanosecond."""
    (judge,) = guest.perf_stat("-e", "cycles", "-C", "1", "--", "sleep", "0.5")
    (row,) = guest.count(["cycles"], 0.5, cpus=[1])
    assert guest.counted(row).rate == pytest.approx(judge.rate, rel=0.05)


def test_group_with_a_software_event_is_counted_together() -> None:
    cycles, clock = count_here(["{cpu_cycles,task-clock}"], spin)
    assert cycles.groupId == clock.groupId != -1
    assert (cycles.timeEnabled, cycles.timeRunning) == (clock.timeEnabled, clock.timeRunning)
    assert cycles.count == pytest.approx(clock.count, rel=0.1)


def test_group_as_large_as_the_counters() -> None:
    rows = count_here(["{cycles" + ",r11" * (COUNTERS - 1) + "}"], spin)
    assert len(rows) == COUNTERS
    assert all(row.countPercent == 1.0 for row in rows)
    assert [row.count for row in rows] == pytest.approx([rows[0].count] * COUNTERS, rel=0.01)


def test_group_larger_than_the_counters_is_refused() -> None:
    with pytest.raises(kperf.KperfError, match=r"r11 does not fit into its group") as refused:
        count_here(["{cycles" + ",r11" * (COUNTERS + 1) + "}"], spin)
    assert refused.value.code == kperf.Error.INVALID_GROUP
    assert "take it out" in refused.value.hint


def test_group_that_the_kernel_takes_and_never_counts_is_told() -> None:
    """The driver leaves a disabled leader out when it looks whether a group fits."""
    document = guest.stat("-a", "-d", "0.2", "-e", "{cycles" + ",r11" * COUNTERS + "}")
    assert [row["state"] for row in document["rows"]] == ["not-counted"] * (COUNTERS + 1)
    assert any("group" in note for note in document["quality"]["notes"])


def test_more_events_than_counters_take_turns() -> None:
    rows = count_here(["r11"] * 12, lambda: spin(2.0))
    assert [row.countPercent for row in rows] == pytest.approx([COUNTERS / 12] * 12, abs=0.1)
    assert all(row.timeRunning < row.timeEnabled for row in rows)
    for row in rows:
        assert row.count == pytest.approx(
            row.rawCount * row.timeEnabled / row.timeRunning, rel=1e-6
        )
        assert row.count == pytest.approx(row.timeEnabled, rel=0.1)
    assert max(row.count for row in rows) < 1.05 * min(row.count for row in rows)


def test_pinned_events_beyond_the_counters_are_not_counted() -> None:
    rows = count_here(["cycles:D"] + ["r11:D"] * (COUNTERS + 1), spin)
    states = [row.state for row in rows]
    assert states == ["counted"] * COUNTERS + ["not-counted"] * 2
    assert [row.countPercent for row in rows] == [1.0] * COUNTERS + [-1.0] * 2


def test_user_and_kernel_add_up() -> None:
    def work() -> None:
        for _ in range(200):
            with open("/proc/self/status", encoding="ascii") as file:
                file.read()

    whole, user, kernel = count_here(["{cycles,cycles:u,cycles:k}"], work)
    assert user.count > 0
    assert kernel.count > 0
    assert user.count + kernel.count == pytest.approx(whole.count, rel=0.02)


def test_guest_and_host_modifiers() -> None:
    """Nothing runs below this kernel: everything is the host's."""
    whole, host, below = count_here(["{cycles,cycles:H,cycles:G}"], spin)
    assert host.count == pytest.approx(whole.count, rel=0.02)
    assert (below.state, below.count) == ("counted", 0)


def test_formats_of_the_core_pmu() -> None:
    """`long` chains two counters: as many cycles, in 64 bits."""
    rows = count_here(["{armv8_pmuv3/event=0x11,long/,armv8_pmuv3/cpu_cycles,long=1/u}"], spin)
    assert rows[0].count == pytest.approx(rows[0].timeRunning, rel=0.1)
    assert 0 < rows[1].count <= rows[0].count


def test_installed_command_counts_the_default_events() -> None:
    done = guest.run("kperf", "stat", "--json", "--", "true")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    rows = {row["event"]: row for row in document["rows"]}
    lacking = {name for name, row in rows.items() if row["state"] == "not-supported"}
    assert lacking == {"branches", "branch-misses"}
    assert all(rows[name]["count"] is None for name in lacking)
    assert rows["cycles"]["state"] == "counted"
    assert rows["cycles"]["derived"]["ghz"] == pytest.approx(1, abs=0.5)
    assert document["exit_status"] == 0
    machine = document["machine"]
    assert (machine["arch"], machine["cpus"]) == ("aarch64", 2)
    assert "Kunpeng 920" in machine["cpu"]
    assert machine["kernel"] == os.uname().release


def test_repeated_runs_have_a_mean() -> None:
    document = guest.stat("-r", "3", "-e", "cycles", "--", "true")
    row = document["events"]["cycles"]
    assert row["runs"] == 3
    assert row["count"] == pytest.approx(row["mean"], abs=1)
    assert row["stddev"] > 0
