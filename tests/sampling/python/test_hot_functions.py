"""Where the time of a program goes is known: sampling finds it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sampling.python.programs import (
    ROUNDS,
    SHARES,
    Programs,
    check_shares,
    let_go,
    sample,
    tops,
    waiting,
)
from support import online_cpus, privileged

import kperf


def test_shares_of_functions(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS])
    check_shares(tops(data))
    assert data.quality.lost == 0


@pytest.mark.parametrize("event", ["cpu-clock", "task-clock"])
def test_rows_say_whose_they_are(busy: Path, event: str) -> None:
    data = sample([busy, "spin", ROUNDS], event)
    rows = [row for row in data if row.frames[0].symbolName in SHARES]
    assert len({row.pid for row in rows}) == 1
    for row in rows:
        assert row.tid == row.pid
        assert row.comm == "busy"
        assert row.evt == event
        assert row.cpu in online_cpus()
        assert row.cpuTopo.coreId == row.cpu
        assert row.count == 1
        assert row.period > 0
        assert row.ext is None
        symbol = row.frames[0]
        assert Path(symbol.module) == busy
        assert symbol.codeMapAddr <= symbol.addr < symbol.codeMapEndAddr
        assert symbol.addr - symbol.codeMapAddr == symbol.offset


def test_times_are_in_order_and_within_the_recording(busy: Path) -> None:
    import time

    begin = time.monotonic_ns()
    data = sample([busy, "spin", ROUNDS])
    end = time.monotonic_ns()
    times = [row.ts for row in data]
    assert times
    assert times == sorted(times)
    assert begin <= times[0]
    assert times[-1] <= end


def test_periods_add_up_to_the_time(busy: Path) -> None:
    """A sample of a clock stands for the ns since the last one."""
    data = sample([busy, "spin", ROUNDS], period=250_000)
    assert {row.period for row in data} == {250_000}


def lines_of(source: list[str], function: str) -> range:
    """The numbers of a function's lines, from its name to its closing brace."""
    first = next(i for i, line in enumerate(source) if f" {function}(" in line)
    return range(first + 1, source.index("}", first) + 2)


def test_lines_of_the_source(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS], symbol_mode=kperf.SymbolMode.RESOLVE_ELF_DWARF)
    source = (Path(__file__).with_name("sources") / "busy.c").read_text().splitlines()
    inlined = lines_of(source, "steps")
    judged = [row.frames[0] for row in data if row.frames[0].symbolName in SHARES]
    assert judged
    for symbol in judged:
        assert Path(symbol.fileName).name == "busy.c"
        assert symbol.lineNum in inlined or symbol.lineNum in lines_of(source, symbol.symbolName)


def test_without_symbols(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS], symbol_mode=kperf.SymbolMode.NO_SYMBOL_RESOLVE)
    assert len(data) > 0
    assert all(row.stack is None for row in data)


def test_user_space_only(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS], exclude_kernel=True)
    check_shares(tops(data))
    assert all(not row.frames[0].module.startswith("[kernel") for row in data)


# ---- whom ----


def test_threads_of_a_running_process(busy: Path) -> None:
    with waiting(busy, "threads", 3, ROUNDS // 3) as process:
        with kperf.Sampling("cpu-clock", pids=[process.pid]) as sampling:
            sampling.enable()
            let_go(process)
            sampling.disable()
            data = sampling.read()
        hot = [row for row in data if row.frames[0].symbolName in SHARES]
        assert {row.pid for row in hot} == {process.pid}
        assert {row.comm for row in hot} == {"busy-thread"}
        by_thread = Counter(row.tid for row in hot)
        assert len(by_thread) == 3
        assert process.pid not in by_thread
        check_shares(tops(hot))


def test_children_of_a_running_process(busy: Path) -> None:
    with waiting(busy, "children", 3, ROUNDS // 3) as process:
        with kperf.Sampling("cpu-clock", pids=[process.pid]) as sampling:
            sampling.enable()
            let_go(process)
            sampling.disable()
            data = sampling.read()
        hot = [row for row in data if row.frames[0].symbolName in SHARES]
        assert len({row.pid for row in hot}) == 3
        assert process.pid not in {row.pid for row in hot}
        assert {row.comm for row in hot} == {"busy"}
        check_shares(tops(hot))


def test_without_children(busy: Path) -> None:
    with waiting(busy, "children", 2, ROUNDS // 2) as process:
        with kperf.Sampling("cpu-clock", pids=[process.pid], inherit=False) as sampling:
            sampling.enable()
            let_go(process)
            sampling.disable()
            data = sampling.read()
        assert {row.pid for row in data} <= {process.pid}


@privileged
def test_the_system_finds_who_is_busy(busy: Path) -> None:
    with waiting(busy, "spin", ROUNDS) as process:
        with kperf.Sampling("cpu-clock") as sampling:
            sampling.enable()
            let_go(process)
            sampling.disable()
            data = sampling.read()
        hot = [row for row in data if row.pid == process.pid]
        assert {row.comm for row in hot} == {"busy"}
        check_shares(tops(hot))
        assert len({row.pid for row in data}) > 1
        assert {row.cpu for row in data} <= set(online_cpus())


@privileged
def test_one_cpu(busy: Path) -> None:
    cpu = online_cpus()[-1]
    with waiting("taskset", "-c", cpu, busy, "spin", ROUNDS) as process:
        with kperf.Sampling("cpu-clock", cpus=[cpu]) as sampling:
            sampling.enable()
            let_go(process)
            sampling.disable()
            data = sampling.read()
        assert {row.cpu for row in data} == {cpu}
        check_shares(tops(row for row in data if row.pid == process.pid))


# ---- programs that change ----


def test_a_program_that_execs_has_the_new_ones_name_and_symbols(programs: Programs) -> None:
    words = [programs.busy, "spin", ROUNDS // 2, "exec", programs.other, ROUNDS // 2]
    data = sample(words)
    after = [row for row in data if row.frames[0].symbolName == "after_exec"]
    before = [row for row in data if row.frames[0].symbolName in SHARES]
    assert len(after) > 20
    assert len(before) > 20
    assert {row.comm for row in after} == {"other"}
    assert {row.comm for row in before} == {"busy"}
    assert {Path(row.frames[0].module) for row in after} == {programs.other}
    assert {Path(row.frames[0].module) for row in before} == {programs.busy}
    assert {row.pid for row in after} == {row.pid for row in before}
    assert max(row.ts for row in before) < min(row.ts for row in after)


def test_a_library_that_is_loaded_on_the_way(programs: Programs) -> None:
    data = sample([programs.busy, "library", programs.library, ROUNDS])
    inside = [row for row in data if row.frames[0].symbolName == "in_the_library"]
    assert len(inside) > len(data) / 2
    assert {Path(row.frames[0].module) for row in inside} == {programs.library}


def test_a_path_with_spaces(programs: Programs, tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "a path\twith blanks"
    place.mkdir()
    copied = place / "busy one"
    shutil.copy(programs.busy, copied)
    data = sample([copied, "spin", ROUNDS])
    check_shares(tops(data))
    hot = [row for row in data if row.frames[0].symbolName in SHARES]
    assert {row.comm for row in hot} == {"busy one"}
    assert {Path(row.frames[0].module) for row in hot} == {copied}
