"""PmuData, its rows and its columns: access, lifetimes, memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from functools import partial

import pytest
from support import Worker, together

import kperf
from kperf import Error, PmuAttr, PmuTaskType

EVENTS = ["task-clock", "page-faults", "context-switches"]
ATTRIBUTES = (
    "evt",
    "groupId",
    "unit",
    "ts",
    "cpu",
    "pid",
    "tid",
    "comm",
    "count",
    "rawCount",
    "countPercent",
    "timeEnabled",
    "timeRunning",
    "state",
    "cpuTopo",
)
COLUMNS = {
    "count": ("Q", 8),
    "value": ("Q", 8),
    "enabled": ("Q", 8),
    "running": ("Q", 8),
    "event": ("I", 4),
    "cpu": ("i", 4),
    "pid": ("i", 4),
    "tid": ("i", 4),
    "state": ("B", 1),
}
COMM_BYTES = 16


@pytest.fixture
def pd(worker: Worker) -> Iterator[int]:
    """A collection of a process with one thread: a row an event."""
    attr = PmuAttr(evtList=EVENTS, pidList=[worker.pid])
    descriptor = kperf.open(PmuTaskType.COUNTING, attr)
    assert descriptor > 0, kperf.error()
    kperf.enable(descriptor)
    yield descriptor
    kperf.close(descriptor)


@pytest.fixture
def data(pd: int) -> kperf.PmuData:
    return kperf.read(pd)


def snapshot(data: kperf.PmuData) -> list[tuple[object, ...]]:
    return [tuple(getattr(row, name) for name in ATTRIBUTES) for row in data]


# ---- access ----


def test_length_and_indexing(data: kperf.PmuData) -> None:
    assert data.len == len(data) == len(EVENTS)
    assert [data[index].evt for index in range(len(data))] == EVENTS
    assert [data[index].evt for index in range(-len(data), 0)] == EVENTS
    for index in (len(data), -len(data) - 1, 1 << 70):
        with pytest.raises(IndexError):
            data[index]
    for index in ("0", 1.0, None, slice(0, 1)):
        with pytest.raises(TypeError):
            data[index]


def test_every_iteration_starts_anew(data: kperf.PmuData) -> None:
    first = data.iter
    assert next(first).evt == EVENTS[0]
    assert [row.evt for row in data.iter] == EVENTS
    assert [row.evt for row in data] == EVENTS
    assert [row.evt for row in first] == EVENTS[1:]
    assert [row.evt for row in first] == []
    assert iter(data) is not iter(data)


def test_rows_stay_valid_after_close(pd: int) -> None:
    data = kperf.read(pd)
    before = snapshot(data)
    kperf.close(pd)
    gc.collect()
    assert snapshot(data) == before


def test_rows_stay_valid_without_their_collection(worker: Worker) -> None:
    data = kperf.Counting(EVENTS, pids=[worker.pid]).read()
    row = data[-1]
    del data
    gc.collect()
    assert row.evt == EVENTS[-1]
    assert row.pid == worker.pid


def test_quality_is_told(data: kperf.PmuData) -> None:
    assert data.quality.notes == []
    assert data.quality.as_dict()["samples"] is None
    assert set(data.quality.as_dict()) == {*kperf.Quality.FIELDS, "notes"}


# ---- free ----


def test_rows_of_freed_data_raise(data: kperf.PmuData) -> None:
    row, rows = data[0], data.iter
    data.free()
    for name in ATTRIBUTES:
        with pytest.raises(kperf.KperfError, match="freed") as raised:
            getattr(row, name)
        assert raised.value.code == Error.DATA_FREED
    for late in rows:
        with pytest.raises(kperf.KperfError, match="freed"):
            late.count  # noqa: B018
    assert "freed" in repr(row)


def test_freeing_is_final_and_may_be_repeated(data: kperf.PmuData) -> None:
    for _ in range(2):
        data.free()
        assert (data.len, len(data), list(data), data.columns()) == (0, 0, [], {})
        assert data.event_names == []
        with pytest.raises(IndexError):
            data[0]


def test_freeing_one_read_leaves_the_next(pd: int) -> None:
    first, second = kperf.read(pd), kperf.read(pd)
    before = snapshot(second)
    first.free()
    assert snapshot(second) == before


def test_a_misspelt_attribute_is_an_attribute_error(data: kperf.PmuData) -> None:
    row = data[0]
    for _ in range(2):
        with pytest.raises(AttributeError):
            row.counts  # noqa: B018
        data.free()


# ---- columns ----


def test_columns_have_the_rows_values(data: kperf.PmuData) -> None:
    columns = data.columns()
    assert set(columns) == {*COLUMNS, "comm"}
    for name, (form, width) in COLUMNS.items():
        assert (columns[name].format, columns[name].itemsize) == (form, width)
        assert len(columns[name]) == len(data)
    for index, row in enumerate(data):
        assert data.event_names[columns["event"][index]] == row.evt
        assert columns["count"][index] == row.count
        assert columns["value"][index] == row.rawCount
        assert columns["enabled"][index] == row.timeEnabled
        assert columns["running"][index] == row.timeRunning
        assert (columns["cpu"][index], columns["pid"][index]) == (row.cpu, row.pid)
        assert columns["tid"][index] == row.tid
        comm = bytes(columns["comm"][index * COMM_BYTES : (index + 1) * COMM_BYTES])
        assert comm.rstrip(b"\0").decode() == row.comm


def test_columns_cannot_be_written(data: kperf.PmuData) -> None:
    for column in data.columns().values():
        assert column.readonly
        with pytest.raises(TypeError):
            column[0] = 1


def _address(column: memoryview) -> int:
    from kperf._core import ffi

    return int(ffi.cast("uintptr_t", ffi.from_buffer(column)))


def test_columns_are_no_copies(data: kperf.PmuData) -> None:
    first, second = data.columns(), data.columns()
    assert all(_address(first[name]) == _address(second[name]) for name in first)


def test_columns_outlive_their_data(pd: int) -> None:
    data = kperf.read(pd)
    columns = data.columns()
    before = {name: bytes(column) for name, column in columns.items()}
    data.free()
    assert {name: bytes(column) for name, column in columns.items()} == before
    del data
    kperf.close(pd)
    gc.collect()
    reused = [ctypes.create_string_buffer(b"\xff" * size) for size in range(1, 4096)]
    assert {name: bytes(column) for name, column in columns.items()} == before
    del reused


def test_one_column_alone_keeps_the_memory(worker: Worker, data: kperf.PmuData) -> None:
    pids = data.columns()["pid"]
    tail = pids[1:]
    data.free()
    del data, pids
    gc.collect()
    assert list(tail) == [worker.pid] * (len(EVENTS) - 1)


def test_releasing_a_column_takes_nothing_from_the_rows(
    worker: Worker, data: kperf.PmuData
) -> None:
    for column in data.columns().values():
        column.release()
    assert [row.evt for row in data] == EVENTS
    assert data.columns()["pid"][0] == worker.pid
    assert data[0].comm


def test_numpy_takes_columns_without_a_copy(data: kperf.PmuData) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    columns = data.columns()
    arrays = {name: numpy.asarray(column) for name, column in columns.items()}
    for name, array in arrays.items():
        assert array.ctypes.data == _address(columns[name])
        assert not array.flags.writeable
    counts = [row.count for row in data]
    data.free()
    del columns, data
    gc.collect()
    assert arrays["count"].tolist() == counts


def test_memory_goes_with_its_last_holder(pd: int) -> None:
    """Buffers and rows in every order of letting go."""
    for order in range(6):
        data = kperf.read(pd)
        held = [data, data[0], data.columns()["count"]]
        held[order % 3] = None
        if order >= 3:
            data.free()
        del data
        gc.collect()
        count = held[2]
        assert count is None or len(count) == len(EVENTS)


def test_threads_may_free_what_others_read(worker: Worker, pd: int) -> None:
    """A row either has its value or says that it was freed."""
    codes: list[int] = []

    def look(data: kperf.PmuData) -> None:
        try:
            for _ in range(20):
                for row in data:
                    assert (row.evt in EVENTS, row.pid) == (True, worker.pid)
        except kperf.KperfError as failure:
            codes.append(failure.code)

    for _ in range(100):
        data = kperf.read(pd)
        together(partial(look, data), partial(look, data), data.free, data.free)
    assert set(codes) <= {Error.DATA_FREED}
