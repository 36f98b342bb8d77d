"""Numbers of samples that are known: tracepoints, rates, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sampling.python.programs import ROOM_FOR_ALL, ROUNDS, Programs, let_go, sample, waiting
from support import PATIENCE_S, online_cpus, privileged

import kperf

LIMIT = Path("/proc/sys/kernel/perf_event_max_sample_rate")
WRITE = "syscalls:sys_enter_write"


@privileged
def test_each_hit_of_a_tracepoint_is_a_sample(busy: Path) -> None:
    data = sample([busy, "write", 20_000], WRITE, buffer_bytes=ROOM_FOR_ALL)
    assert len(data) == 20_000
    assert {row.period for row in data} == {1}
    assert {row.evt for row in data} == {WRITE}
    assert data.quality.samples == 20_000
    assert data.quality.lost == 0
    assert data.quality.throttled == 0


@privileged
def test_a_period_of_a_tracepoint(busy: Path) -> None:
    data = sample([busy, "write", 1000], WRITE, period=10)
    assert len(data) == 100
    assert {row.period for row in data} == {10}


@privileged
def test_every_exit_is_a_sample(busy: Path) -> None:
    data = sample([busy, "children", 5, 1], "sched:sched_process_exit")
    assert len(data) == 6
    assert len({row.pid for row in data}) == 6
    assert {row.comm for row in data} == {"busy"}


@privileged
def test_every_exec_is_a_sample(programs: Programs) -> None:
    data = sample([programs.busy, "exec", programs.other, 1], "sched:sched_process_exec")
    assert [row.comm for row in data] == ["busy", "other"]


@privileged
def test_events_have_rows_of_their_own(busy: Path) -> None:
    events = [WRITE, "syscalls:sys_exit_write", "sched:sched_process_exit"]
    data = sample([busy, "write", 500], events)
    numbers = [sum(row.evt == event for row in data) for event in events]
    assert numbers == [500, 500, 1]


@privileged
def test_a_tracepoint_and_a_clock_at_once(busy: Path) -> None:
    data = sample([busy, "write", 300, "spin", ROUNDS // 4], [WRITE, "cpu-clock"])
    assert sum(row.evt == WRITE for row in data) == 300
    assert sum(row.evt == "cpu-clock" for row in data) > 50


# ---- rates ----


def test_a_frequency_above_the_systems_limit_is_refused() -> None:
    limit = int(LIMIT.read_text())
    with pytest.raises(kperf.InvalidArgumentError) as refused:
        kperf.Sampling("cpu-clock", frequency=limit + 1, pids=[1])
    assert refused.value.code == kperf.Error.INVALID_SAMPLE_RATE
    assert str(limit) in str(refused.value)
    assert "perf_event_max_sample_rate" in str(refused.value)


def test_the_highest_frequency_is_taken(busy: Path) -> None:
    limit = int(LIMIT.read_text())
    with waiting(busy) as process:
        kperf.Sampling("cpu-clock", frequency=limit, pids=[process.pid]).close()
        let_go(process)


@pytest.mark.parametrize(
    "rate", [{"period": 1000, "frequency": 1000}, {"period": -1}, {"frequency": -1}]
)
def test_rates_that_mean_nothing_are_refused(rate: dict[str, int]) -> None:
    with pytest.raises(kperf.InvalidArgumentError) as refused:
        kperf.Sampling("cpu-clock", **rate)
    assert refused.value.code == kperf.Error.INVALID_SAMPLE_RATE


def test_a_default_above_the_limit_is_lowered_and_told(
    busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kperf.Machine, "max_sample_rate", 1500)
    data = sample([busy, "spin", ROUNDS // 8])
    (note,) = (note for note in data.quality.notes if "perf_event_max_sample_rate" in note)
    assert "1500 Hz" in note
    explicit = sample([busy, "spin", ROUNDS // 8], frequency=1000)
    assert not any("max_sample_rate" in note for note in explicit.quality.notes)
    by_period = sample([busy, "spin", ROUNDS // 8], period=1_000_000)
    assert not any("max_sample_rate" in note for note in by_period.quality.notes)


def test_a_higher_frequency_gives_more_samples(busy: Path) -> None:
    few = sample([busy, "spin", ROUNDS], frequency=200)
    many = sample([busy, "spin", ROUNDS], frequency=4000)
    assert 0 < 4 * len(few) < len(many)


# ---- times ----


def test_it_is_told_how_long_an_event_was_sampled(busy: Path) -> None:
    """Judged by a counter of the same program; each read has its own part of the time."""
    with waiting(busy, "threads", 3, ROUNDS // 3) as process:
        judge = kperf.Counting("task-clock", pids=[process.pid])
        sampling = kperf.Sampling("cpu-clock", pids=[process.pid], frequency=1000)
        with judge, sampling:
            judge.enable()
            sampling.enable()
            assert process.stdin is not None
            process.stdin.close()
            reads = [sampling.read() for _ in range(10)]
            assert process.wait(PATIENCE_S) == 0
            reads += [sampling.read(), sampling.read()]
            (counted,) = judge.read()
    times = [data.event_times[-1] for data in reads]
    assert [spent.enabled for spent in times] == [spent.running for spent in times]
    assert sum(spent.running for spent in times) == pytest.approx(counted.timeRunning, rel=0.05)
    for data, spent in zip(reads, times):
        for row in data:
            assert (row.timeEnabled, row.timeRunning, row.countPercent) == (*spent, 1.0)
            assert (row.count, row.rawCount) == (1, 1)


@privileged
def test_whole_cpus_are_sampled_all_the_time() -> None:
    cpu = online_cpus()[0]
    with kperf.Sampling("cpu-clock", cpus=[cpu]) as sampling:
        begin = time.monotonic_ns()
        sampling.enable()
        time.sleep(0.2)
        sampling.disable()
        most = time.monotonic_ns() - begin
        spent = sampling.read().event_times[-1]
    assert 200_000_000 <= spent.enabled <= most
    assert spent.share == 1.0


# ---- what is refused ----


@pytest.mark.parametrize(
    "levels",
    [
        kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER,
        kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_KERNEL,
        kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER
        | kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_KERNEL,
    ],
)
def test_levels_alone_are_no_branch_filter(levels: int) -> None:
    with pytest.raises(kperf.InvalidArgumentError) as refused:
        kperf.Sampling("cpu-clock", branch_filter=levels)
    assert refused.value.code == kperf.Error.INVALID_BRANCH_FILTER
    assert "KPERF_SAMPLE_BRANCH_ANY" in str(refused.value)


def test_an_unknown_event_is_named() -> None:
    with pytest.raises(kperf.KperfError, match="no-such-event"):
        kperf.Sampling(["cpu-clock", "no-such-event"])


def test_a_process_that_is_gone_is_named(busy: Path) -> None:
    with waiting(busy) as process:
        let_go(process)
    with pytest.raises(kperf.KperfError, match=str(process.pid)) as refused:
        kperf.Sampling("cpu-clock", pids=[process.pid])
    assert refused.value.code == kperf.Error.NO_SUCH_PROCESS


def test_both_levels_excluded_leave_nothing() -> None:
    with pytest.raises(kperf.InvalidArgumentError):
        kperf.Sampling("cpu-clock", exclude_user=True, exclude_kernel=True)
