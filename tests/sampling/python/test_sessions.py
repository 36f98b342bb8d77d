"""Reading while it runs, columns, closing, freeing, threads and forks."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import pytest
from sampling.python.programs import (
    ROUNDS,
    SHARES,
    check_shares,
    in_thread,
    let_go,
    sample,
    tops,
    waiting,
    watched,
)
from support import descriptors, in_fork, privileged, together

import kperf

WRITE = "syscalls:sys_enter_write"


def key(row: Any) -> tuple[int, int, int]:
    return (row.ts, row.cpu, row.tid)


# ---- reading ----


@privileged
def test_reads_while_it_runs_have_each_sample_once(busy: Path) -> None:
    with watched(busy, "write", 30_000, events=WRITE) as (process, sampling):
        sampling.enable()
        assert process.stdin is not None
        process.stdin.close()
        reads = []
        while process.poll() is None:
            reads.append(sampling.read())
        reads += [sampling.read(), sampling.read()]
    seen = [key(row) for data in reads for row in data]
    assert len(seen) == 30_000
    assert len(set(seen)) == 30_000
    assert seen == sorted(seen)
    assert len(reads[-1]) == 0
    assert sum(data.quality.lost for data in reads) == 0


def test_nothing_is_sampled_while_it_is_disabled(busy: Path) -> None:
    with watched(busy, "spin", ROUNDS // 4) as (process, sampling):
        assert len(sampling.read()) == 0
        sampling.enable()
        sampling.disable()
        sampling.read()
        let_go(process)
        assert len(sampling.read()) == 0


def test_a_later_read_names_what_was_mapped_before_the_first(busy: Path) -> None:
    with watched(busy, "spin", ROUNDS) as (process, sampling):
        sampling.enable()
        sampling.read()
        let_go(process)
        check_shares(tops(sampling.read()))


def test_data_outlives_its_session_and_the_program(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 2])
    gc.collect()
    check_shares(tops(data))


@privileged
def test_sessions_at_once_see_the_same(busy: Path) -> None:
    with waiting(busy, "write", 1000) as process:
        one = kperf.Sampling(WRITE, pids=[process.pid])
        two = kperf.Sampling(WRITE, pids=[process.pid])
        with one, two:
            one.enable()
            two.enable()
            let_go(process)
            assert [len(one.read()), len(two.read())] == [1000, 1000]


@privileged
def test_reads_of_several_threads_share_the_samples(busy: Path) -> None:
    reads: list[Any] = []
    with watched(busy, "write", 20_000, events=WRITE) as (process, sampling):
        sampling.enable()

        def read_often() -> None:
            while process.poll() is None:
                reads.append(sampling.read())

        together(lambda: let_go(process), read_often, read_often)
        reads.append(sampling.read())
    # Readers that never rest may keep the drain thread from a full buffer: never silently.
    assert sum(len(data) + data.quality.lost for data in reads) == 20_000


def test_it_may_be_used_in_another_thread(busy: Path) -> None:
    with watched(busy, "spin", ROUNDS // 2) as (process, sampling):
        in_thread(sampling.enable)
        let_go(process)
        check_shares(tops(in_thread(sampling.read)))


# ---- collections ----


def test_indexing_and_iterating(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    assert data.len == len(data) == len(list(data)) == len(list(data.iter))
    times = [row.ts for row in data]
    assert data[0].ts == times[0]
    assert data[-1].ts == times[-1]
    assert [row.ts for row in data] == times
    with pytest.raises(IndexError):
        data[len(data)]


def test_columns_say_what_the_rows_say(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    columns = data.columns()
    for name in ("pid", "tid", "cpu", "period"):
        assert columns[name].tolist() == [getattr(row, name) for row in data]
    assert columns["time"].tolist() == [row.ts for row in data]
    assert columns["ip"].tolist() == [row.frames[0].addr for row in data]
    assert [data.event_names[number] for number in columns["event"]] == [row.evt for row in data]
    assert all(view.readonly for view in columns.values())


def test_columns_are_no_copies_and_outlive_everything(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    view = data.columns()["time"]
    times = view.tolist()
    rows = weakref.ref(data)
    data.free()
    del data
    gc.collect()
    assert rows() is None
    assert view.tolist() == times


def test_numpy_takes_columns_without_a_copy(busy: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    data = sample([busy, "spin", ROUNDS // 4])
    one, two = (numpy.asarray(data.columns()["ip"]) for _ in range(2))
    assert one.ctypes.data == two.ctypes.data
    assert one.dtype == numpy.uint64
    assert not one.flags.writeable
    before = one.tolist()
    del data
    gc.collect()
    assert one.tolist() == before


def test_freed_data_says_so(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    row = next(row for row in data if row.frames[0].symbolName in SHARES)
    stack, frames = row.stack, row.frames
    name = stack.symbol.symbolName
    data.free()
    data.free()
    assert len(data) == 0
    assert list(data) == []
    assert data.columns() == {}
    assert data.event_names == []
    for attribute in ("ts", "pid", "evt", "comm", "stack", "frames", "names", "period", "cpuTopo"):
        with pytest.raises(kperf.KperfError) as refused:
            getattr(row, attribute)
        assert refused.value.code == kperf.Error.DATA_FREED
    assert "freed" in repr(row)
    assert stack.symbol.symbolName == name
    assert frames[0] is stack.symbol


def test_freeing_gives_the_memory_back(busy: Path) -> None:
    """The columns' address range is gone from the process once nothing holds it."""
    data = sample([busy, "spin", ROUNDS // 4])
    from kperf._core import ffi

    address = int(ffi.cast("uintptr_t", ffi.from_buffer(data.columns()["time"])))
    assert is_mapped(address)
    data.free()
    gc.collect()
    assert not is_mapped(address)


def is_mapped(address: int) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return True
    return False


# ---- closing ----


def test_closed_sessions_say_so(busy: Path) -> None:
    with waiting(busy) as process:
        sampling = kperf.Sampling("cpu-clock", pids=[process.pid])
        sampling.close()
        sampling.close()
        for action in (sampling.enable, sampling.disable, sampling.read):
            with pytest.raises(kperf.KperfError, match="closed"):
                action()
        let_go(process)


def test_closing_leaves_no_thread_and_no_descriptor(busy: Path) -> None:
    before = descriptors(), sorted(os.listdir("/proc/self/task"))
    for _ in range(3):
        sample([busy, "spin", 10])
    gc.collect()
    assert (descriptors(), sorted(os.listdir("/proc/self/task"))) == before


def test_a_forked_child_has_no_session_and_the_parents_goes_on(busy: Path) -> None:
    with watched(busy, "spin", ROUNDS // 2) as (process, sampling):
        sampling.enable()

        def in_the_child() -> list[object]:
            refused = []
            for action in (sampling.enable, sampling.disable, sampling.read):
                try:
                    action()
                except kperf.KperfError as failure:
                    refused.append(str(failure))
            sampling.close()
            return [refused, descriptors("perf_event")]

        refused, left = in_fork(in_the_child)
        assert len(refused) == 3
        assert all("fork" in message for message in refused)
        assert left == []
        let_go(process)
        check_shares(tops(sampling.read()))


def test_a_forked_child_can_use_the_data(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 2])
    expected = [len(data), dict(tops(data))]
    assert in_fork(lambda: [len(data), dict(tops(data))]) == expected


# ---- quality ----


def test_quality_of_samples(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 2])
    assert data.quality.samples == len(data)
    assert data.quality.lost == 0
    assert data.quality.throttled == 0
    assert data.quality.truncated_stacks is None  # no call stacks were recorded
    told = data.quality.unresolved  # before any row was asked for a name
    assert told == sum(not row.frames[0].resolved for row in data)


def test_quality_without_symbols_tells_nothing_of_them(busy: Path) -> None:
    mode = kperf.SymbolMode.NO_SYMBOL_RESOLVE
    data = sample([busy, "spin", ROUNDS // 4], call_stack=True, symbol_mode=mode)
    assert (data.quality.unresolved, data.quality.truncated_stacks) == (None, None)


def test_quality_is_kept_when_the_data_is_freed(busy: Path) -> None:
    asked, unasked = (sample([busy, "spin", ROUNDS // 4]) for _ in range(2))
    before = asked.quality.as_dict()
    for data in (asked, unasked):
        data.free()
    gc.collect()
    assert asked.quality.as_dict() == before
    assert unasked.quality.unresolved is None
    assert unasked.quality.notes == []


@privileged
def test_a_full_store_counts_what_it_drops(busy: Path) -> None:
    data = sample([busy, "write", 50_000], WRITE, store_bytes=1 << 20)
    assert 0 < len(data) < 50_000
    assert len(data) + data.quality.lost == 50_000
    assert any(WRITE in note and "dropped" in note for note in data.quality.notes)


def test_the_dummy_event_of_the_core_has_no_row(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    assert {row.evt for row in data} == {"cpu-clock"}
