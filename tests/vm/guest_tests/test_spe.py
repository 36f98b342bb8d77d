"""Arm SPE: records of the stand-in `arm_spe_0` (module/rigpmu.c), whose mix of operations is known.

It takes one record every `period` operations of run time, an operation being `op_ns` nanoseconds,
and cycles through ten kinds of them. Program counter, thread and time are the real ones.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import guest
import pytest

import kperf

PARAMETERS = Path("/sys/module/rigpmu/parameters")
PERIOD = 20_000


class Kind(NamedTuple):
    """One entry of the stand-in's table."""

    op: kperf.SpeOp
    events: int
    total: int
    issue: int
    translation: int | None
    source: int | None


LOAD, STORE, BRANCH = (
    kperf.SpeOp.LOAD,
    kperf.SpeOp.STORE,
    kperf.SpeOp.BRANCH | kperf.SpeOp.CONDITIONAL,
)
MIX = (
    Kind(LOAD, 0x16, 12, 4, 1, 0x0),
    Kind(LOAD, 0x16, 14, 6, 1, 0x0),
    Kind(LOAD, 0x1E, 30, 8, 1, 0x8),
    Kind(STORE, 0x16, 10, 9, 1, None),
    Kind(LOAD, 0x11E, 90, 10, 1, 0xB),
    Kind(BRANCH, 0x02, 8, 7, None, None),
    Kind(LOAD, 0x33E, 310, 12, 40, 0xE),
    Kind(BRANCH, 0xC2, 22, 7, None, None),
    Kind(LOAD, 0x71E, 520, 14, 1, 0xD),
    Kind(STORE, 0x3E, 60, 20, 25, None),
)


def kind_of(row: Any) -> Kind:
    ext = row.ext
    return Kind(ext.op, ext.event, ext.lat, ext.issueLat, ext.translationLat, ext.source)


@pytest.fixture
def parameter() -> Iterator[Callable[[str, int], None]]:
    """Sets a parameter of the stand-in until the test's end."""
    before: dict[Path, str] = {}

    def put(name: str, value: int) -> None:
        path = PARAMETERS / name
        before.setdefault(path, path.read_text())
        path.write_text(f"{value}\n")

    yield put
    for path, text in before.items():
        path.write_text(text)


def sample_here(work: Callable[[], None] = guest.spin, **options: Any) -> kperf.PmuData:
    """The records of this very thread while it works."""
    with kperf.SpeSampling(tids=[threading.get_native_id()], period=PERIOD, **options) as sampling:
        sampling.enable()
        work()
        sampling.disable()
        return sampling.read()


def test_records_are_those_of_the_table() -> None:
    data = sample_here()
    counts = Counter(map(kind_of, data))
    assert set(counts) == set(MIX)
    # It goes through the table in turn, so that no kind has more than one record more.
    assert max(counts.values()) - min(counts.values()) <= 1 + 2 * len(os.sched_getaffinity(0))
    assert data.quality.lost == 0
    assert data.report.corrupt == data.report.cut == 0


def test_corrupt_bytes_are_counted_and_survived(parameter: Callable[[str, int], None]) -> None:
    parameter("spe_garbage", 10)
    data = sample_here()
    assert {kind_of(row) for row in data} == set(MIX)
    assert data.report.corrupt >= len(data) // 10 - 1 > 0


def test_what_the_hardware_flags_is_counted(parameter: Callable[[str, int], None]) -> None:
    parameter("spe_flags", 4 | 8)  # PARTIAL, COLLISION
    report = sample_here().report
    assert report.partial > 0
    assert report.collisions > 0


def test_tasks_without_context_packets(parameter: Callable[[str, int], None]) -> None:
    """The switches of the threads tell whose records they are."""
    parameter("spe_context", 0)
    data = sample_here()
    assert len(data) > 100
    assert {(row.pid, row.tid) for row in data} == {(os.getpid(), threading.get_native_id())}


def test_the_physical_counter_is_no_clock() -> None:
    data = sample_here(data_filter=kperf.SpeFilter.LOAD_FILTER | kperf.SpeFilter.PCT_ENABLE)
    assert {row.ts for row in data} == {-1}
    assert any("physical counter" in note for note in data.quality.notes)


def test_as_many_records_as_time_was_used() -> None:
    seconds = 0.5
    data = sample_here(lambda: guest.spin(seconds))
    expected = seconds * 1e9 / (PERIOD * 10)
    assert data.quality.aux_truncated == 0
    # Switching it on and off takes time in which records come, too.
    assert 0.6 * expected < len(data) < 3 * expected


def test_tasks_and_times_are_right() -> None:
    begin = time.monotonic_ns()
    data = sample_here()
    end = time.monotonic_ns()
    tid = threading.get_native_id()
    assert {(row.pid, row.tid) for row in data} == {(os.getpid(), tid)}
    times = [row.ts for row in data]
    assert times == sorted(times)
    slack = 5_000_000
    assert begin - slack <= times[0] <= times[-1] <= end + slack
    assert {row.cpu for row in data} <= set(range(os.cpu_count() or 1))


def test_program_counters_are_those_of_the_work() -> None:
    data = sample_here()
    modules = Counter(row.frames[0].module for row in data)
    assert any("python" in name for name in modules), modules
    assert data.quality.unresolved < len(data)


def test_the_whole_machine() -> None:
    with kperf.SpeSampling(period=PERIOD) as sampling:
        sampling.enable()
        guest.spin(0.2)
        sampling.disable()
        data = sampling.read()
    assert os.getpid() in {row.pid for row in data}
    assert {kind_of(row) for row in data} == set(MIX)
    assert next(row for row in data if row.pid == os.getpid()).comm


@pytest.mark.parametrize(
    ("filters", "keeps"),
    [
        ({"data_filter": kperf.SpeFilter.LOAD_FILTER}, lambda kind: kind.op == LOAD),
        ({"data_filter": kperf.SpeFilter.STORE_FILTER}, lambda kind: kind.op == STORE),
        ({"data_filter": kperf.SpeFilter.BRANCH_FILTER}, lambda kind: kind.op == BRANCH),
        ({"event_filter": kperf.SpeEventFilter.SPE_EVENT_L1DMISS}, lambda kind: kind.events & 8),
        ({"event_filter": 0x28}, lambda kind: kind.events & 0x28 == 0x28),
        ({"any_events": 0xA0}, lambda kind: kind.events & 0xA0),
        ({"min_latency": 60}, lambda kind: kind.total >= 60),
    ],
    ids=["loads", "stores", "branches", "l1d-miss", "all-events", "any-event", "latency"],
)
def test_filters(filters: dict[str, int], keeps: Callable[[Kind], int]) -> None:
    data = sample_here(**filters)
    assert {kind_of(row) for row in data} == {kind for kind in MIX if keeps(kind)}


def test_physical_addresses() -> None:
    data = sample_here(data_filter=kperf.SpeFilter.PA_ENABLE | kperf.SpeFilter.LOAD_FILTER)
    assert all(row.ext.pa == 0x20_8000_0000 + (row.ext.va & 0xFFF_FFFF) for row in data)
    assert len(data) > 10


def test_sums_are_the_rows_added_up() -> None:
    from kperf.report.spe import spe_tables
    from kperf.spe.decode import Keep

    data = sample_here(keep=Keep(rows=True, sums=True, lines=True))
    tables = spe_tables(data)
    assert tables.samples == len(data)
    assert {line.code: line.samples for line in tables.sources} == Counter(
        row.ext.source for row in data if row.ext.source is not None
    )
    assert sum(line.samples for line in tables.latency) == len(data)
    assert sum(line.samples for line in tables.symbols) == len(data)


def test_a_small_area_wraps_around_and_tells_what_it_lost() -> None:
    two_pages = 2 * mmap.PAGESIZE  # the least that such an area may have
    data = sample_here(lambda: guest.spin(0.6), aux_bytes=8192)
    assert data.report.aux_bytes == two_pages
    assert data.report.bytes > 3 * two_pages
    assert {kind_of(row) for row in data} == set(MIX)
    assert data.report.corrupt == data.report.cut == 0


def test_it_goes_on_after_the_area_was_full(parameter: Callable[[str, int], None]) -> None:
    parameter("op_ns", 1)
    with kperf.SpeSampling(
        tids=[threading.get_native_id()], period=1024, aux_bytes=8192
    ) as sampling:
        sampling.enable()
        for _ in range(40):
            guest.spin(0.05)
            if sampling.read().report.truncated:
                break
        else:
            pytest.skip("the area never became full")
        assert len(sampling.read()) >= 0
        guest.spin(0.2)
        later = sampling.read()
        sampling.disable()
    assert len(later) > 0


def test_one_session_at_a_time() -> None:
    with kperf.SpeSampling(period=PERIOD), pytest.raises(kperf.KperfError) as busy:
        kperf.SpeSampling(period=PERIOD)
    assert busy.value.code == kperf.Error.DEVICE_BUSY
    assert "in use" in str(busy.value)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"period": 100}, kperf.Error.INVALID_SAMPLE_RATE),
        ({"min_latency": 5000}, kperf.Error.INVALID_FILTER),
        ({"data_filter": 1 << 40}, kperf.Error.INVALID_FILTER),
        ({"cpus": [77]}, kperf.Error.INVALID_CPU_LIST),
        ({"pids": [2**22 + 1]}, kperf.Error.NO_SUCH_PROCESS),
    ],
)
def test_what_is_refused(options: dict[str, Any], code: kperf.Error) -> None:
    with pytest.raises(kperf.KperfError) as refused:
        kperf.SpeSampling(**{"period": PERIOD, **options})
    assert refused.value.code == code


def test_the_contract() -> None:
    attr = kperf.PmuAttr(
        sampleRate=PERIOD,
        pidList=[os.getpid()],
        dataFilter=kperf.SpeFilter.SPE_DATA_ALL,
        evFilter=kperf.SpeEventFilter.SPE_EVENT_RETIRED,
        minLatency=10,
        symbolMode=kperf.SymbolMode.RESOLVE_ELF,
    )
    pd = kperf.open(kperf.PmuTaskType.SPE_SAMPLING, attr)
    assert pd > 0, kperf.error()
    assert kperf.enable(pd) == 0
    guest.spin()
    assert kperf.disable(pd) == 0
    data = kperf.read(pd)
    kperf.close(pd)
    assert {kind_of(row) for row in data} == {kind for kind in MIX if kind.total >= 10}
    row = data[0]
    assert row.stack.symbol.addr
    assert row.stack.next is None
    assert row.evt == "arm_spe_0"
    assert row.period == PERIOD


def test_memory_stays_flat() -> None:
    """Streams for a while with sums alone: the memory is that of the instructions."""
    from kperf.spe.decode import Keep

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    worker = subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"])
    try:
        with kperf.SpeSampling(
            pids=[worker.pid], period=2048, keep=Keep(rows=False, sums=True)
        ) as sampling:
            sampling.enable()
            time.sleep(2)
            before = resident()
            time.sleep(4)
            after = resident()
            sampling.disable()
            data = sampling.read()
    finally:
        worker.kill()
        worker.wait()
    assert data.quality.samples > 1000
    assert len(data) == 0
    assert (after - before) * os.sysconf("SC_PAGE_SIZE") < 8 << 20


# ---- the command ----


def test_the_command_agrees_with_its_own_file_and_with_perf(tmp_path: Path) -> None:
    path, raw = tmp_path / "spe.data", tmp_path / "spe.raw"
    work = [sys.executable, "-c", "sum(i * i for i in range(10**5))"]
    recorded = guest.kperf_command(
        "spe", "--period", "1000000", "-o", str(path), "--raw", str(raw), "--", *work
    )
    assert recorded.returncode == 0, recorded.stderr
    samples = int(recorded.stderr.split("quality: ")[1].split(" ")[0].replace(",", ""))
    assert samples > 20
    document = json.loads(guest.kperf_command("spe", "--decode", str(path), "--json").stdout)
    symbols = [row for row in document["rows"] if row["table"] == "symbols"]
    assert sum(row["samples"] for row in symbols) == samples
    assert any("python" in row["module"] for row in symbols)
    assert sum(1 for _ in kperf.decode_spe(raw.read_bytes())) == samples
    script = guest.run("perf", "script", "--itrace=i1iM", "-F", "tid,event,ip", "-i", str(path))
    assert script.stdout.count("instructions") == samples, script.stderr[-500:]


def test_false_sharing_by_physical_lines(parameter: Callable[[str, int], None]) -> None:
    """The stand-in gives the same few addresses to whoever runs: they share lines."""
    parameter("va_base", 0x7000_0000)
    parameter("va_span", 256)
    done = guest.kperf_command(
        "spe", "--period", str(PERIOD), "--pa", "--lines-of-cache", "--json", "-a", "-d", "1"
    )
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout)["rows"] if row["table"] == "cachelines"]
    assert {row["address"] for row in rows} == {0x20_8000_0000 + 64 * i for i in range(4)}
    assert all(row["physical"] for row in rows)


def test_a_second_command_is_told_who_is_in_the_way() -> None:
    with kperf.SpeSampling(period=PERIOD):
        done = guest.kperf_command("spe", "-a", "-d", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "in use" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("option", "name"), [("-o", "spe.data"), ("--raw", "spe.raw"), ("-o", "spe.txt")]
)
def test_a_full_disk_costs_the_file_and_not_the_table(
    small_disk: Path, option: str, name: str
) -> None:
    path = small_disk / name
    done = guest.kperf_command("spe", "--period", str(PERIOD), option, str(path), "-a", "-d", "1")
    assert done.returncode == 1, done.stderr
    assert "\nquality: " in done.stdout
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"kperf: cannot write {path} (No space left on device): "), said
    assert list(small_disk.iterdir()) == []
