"""Traces judged from outside: strace's counts, what programs write down of themselves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run, Start
from support import PATIENCE_S, privileged

import kperf

pytestmark = privileged

Compiled = Callable[[str], Path]

# How often they are made is up to the scheduler: who waits for whom.
_BY_CHANCE = {"futex", "restart_syscall"}
# They never return, or had begun before kperf's command did.
_WITHOUT_END = {"exit", "exit_group", "execve"}


# ---- counts ----


def counted_by_strace(tmp_path: Path, *argv: object) -> dict[str, tuple[int, int]]:
    """Calls and errors by name."""
    out = tmp_path / "strace.txt"
    command = ["strace", "-c", "-f", "-o", str(out), *map(str, argv)]
    subprocess.run(command, check=True, timeout=PATIENCE_S, stdout=subprocess.DEVNULL)
    found = {}
    for line in out.read_text().splitlines():
        words = line.split()
        if len(words) in (5, 6) and words[0][0].isdigit() and words[-1] != "total":
            found[words[-1]] = (int(words[3]), int(words[4]) if len(words) == 6 else 0)
    return found


@pytest.fixture(params=["BPF", "tracepoints"])
def summed_up(request: pytest.FixtureRequest) -> Callable[..., kperf.CallSummary]:
    """Runs a command to its end, and gives the summary of its calls by one mechanism."""

    def run(names: list[str], *argv: object, by: str = "") -> kperf.CallSummary:
        with kperf.Command([str(word) for word in argv]) as command:
            try:
                trace = kperf.SyscallTrace(
                    names, command=command, enable_on_exec=True, keep_calls=False, by=by,
                    mechanism=request.param,
                )  # fmt: skip
            except kperf.KperfError as refused:
                if request.param != "BPF":
                    raise
                pytest.skip(f"BPF programs are not permitted here: {refused}")
            with trace:
                command.start()
                os.waitpid(command.pid, 0)
                trace.disable()
                assert trace.mechanism == request.param
                return trace.summary()

    return run


SummedUp = Callable[..., kperf.CallSummary]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_counts_are_those_of_strace(summed_up: SummedUp, calls: Compiled, tmp_path: Path) -> None:
    expected = counted_by_strace(tmp_path, calls("known"), 3, 2)
    summary = summed_up([], calls("known"), 3, 2)
    rows = {row.syscall: row for row in summary.rows}
    found = {name: (row.count, row.errors) for name, row in rows.items() if row.count}
    left_out = _BY_CHANCE | _WITHOUT_END
    assert {name: n for name, n in found.items() if name not in left_out} == {
        name: n for name, n in expected.items() if name not in left_out
    }
    assert found["write"] == (3 * 2 * 200, 0)
    assert found["getppid"] == (3 * 2 * 100, 0)
    assert found["read"][1] == 3 * 2 * 50
    # strace counts the exec that began it.
    assert rows["execve"].begun_before == expected["execve"][0] == 1
    assert (rows["exit"].unfinished, rows["exit_group"].unfinished) == (6, 4)
    assert summary.quality.lost == 0


@pytest.mark.parametrize("by", ["process", "thread"])
def test_rows_are_each_ones_own(summed_up: SummedUp, calls: Compiled, by: str) -> None:
    rows = summed_up(["getppid"], calls("known"), 2, 3, by=by).rows
    expected = {"process": [300] * 2, "thread": [100] * 6}
    assert [row.count for row in rows] == expected[by]
    assert {row.comm for row in rows} == {"known"}
    assert len({(row.pid, row.tid) for row in rows}) == len(rows)


def test_pairs_at_full_speed_are_all_there(summed_up: SummedUp, calls: Compiled) -> None:
    """On a machine that is busy with other things the buffers may run full: then it is told.

    The benchmark does 1,000,000 of them.
    """
    pairs = 300_000
    for _ in range(5):
        summary = summed_up(["read", "write"], calls("pairs"), pairs)
        counts = {row.syscall: row.count for row in summary.rows}
        if summary.quality.lost == 0:
            break
        assert counts["write"] < pairs or counts["read"] < pairs + 1
    assert summary.quality.lost == 0
    assert counts == {"write": pairs, "read": pairs + 1}  # one is of the loader


# ---- times ----


def stamps_of(path: Path) -> list[tuple[int, int]]:
    data = path.read_bytes()
    return list(struct.iter_unpack("=QQ", data))


def test_times_are_those_of_the_program(kperf: Run, calls: Compiled, tmp_path: Path) -> None:
    """Sleeps of known times: each call lies between what the program's clock said around it."""
    stamped, names = tmp_path / "stamps", ["nanosleep", "ppoll", "futex"]
    done = kperf(
        "trace",
        ",".join(names),
        "--events",
        "--json",
        "--",
        calls("stamped"),
        stamped,
        "sleep",
        300,
    )
    rows = sorted(done.rows(), key=lambda row: row["start_ns"])
    stamps = stamps_of(stamped)
    assert [row["syscall"] for row in rows] == [names[i % 3] for i in range(300)]
    slack = []
    for row, (before, after) in zip(rows, stamps):
        assert before <= row["start_ns"]
        assert row["start_ns"] + row["elapsed_ns"] <= after
        slack.append((after - before) - row["elapsed_ns"])
    assert statistics.median(slack) < 100_000
    total = sum(row["elapsed_ns"] for row in rows)
    clock = sum(after - before for before, after in stamps)
    assert total == pytest.approx(clock, rel=0.05)


def test_the_summary_tells_the_same_times(
    summed_up: SummedUp, calls: Compiled, tmp_path: Path
) -> None:
    stamped = tmp_path / "stamps"
    (row,) = summed_up(["nanosleep"], calls("stamped"), stamped, "sleep", 150).rows
    own = sorted(after - before for before, after in stamps_of(stamped)[::3])
    assert row.count == len(own) == 50
    assert sum(number for _, _, number in row.histogram) == 50
    assert row.total_ns == pytest.approx(sum(own), rel=0.05)
    assert row.max_ns is not None
    assert row.p50_ns is not None
    assert row.p95_ns is not None
    assert row.p99_ns is not None
    assert row.p50_ns <= own[24] * 1.01
    assert row.p50_ns <= row.p95_ns <= row.p99_ns <= row.max_ns <= own[-1]


# ---- loss ----


def _check_seeks(rows: list[dict[str, Any]], stamps: list[tuple[int, int]]) -> None:
    """Call number i returned i, between the program's own stamps i."""
    assert len({row["ret"] for row in rows}) == len(rows)
    for row in rows:
        before, after = stamps[row["ret"]]
        assert before <= row["start_ns"]
        assert row["start_ns"] + row["elapsed_ns"] <= after


def test_no_time_is_wrong_where_kperf_was_stopped(
    start_kperf: Start, calls: Compiled, tmp_path: Path
) -> None:
    """The buffers run full while kperf sleeps: what it reports is true, and the rest is counted."""
    stamped, total = tmp_path / "stamps", 500_000
    result = tmp_path / "result.json"
    running = start_kperf(
        "trace", "lseek", "--events", "--json", "-o", result, "--",
        calls("stamped"), stamped, "seek", total,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while not (stamped.exists() and stamped.stat().st_size and stamps_of(stamped)[1000][1]):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(running.pid, signal.SIGSTOP)
    while not stamps_of(stamped)[-1][1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGCONT)
    assert running.finish().status == 0
    document = json.loads(result.read_text())
    stamps = stamps_of(stamped)
    rows = [row for row in document["rows"] if row["start_ns"] >= stamps[0][0]]
    _check_seeks(rows, stamps)
    assert 1000 < len(rows) < total
    assert document["quality"]["lost"] >= total - len(rows)


def test_no_time_is_wrong_with_a_tiny_buffer(calls: Compiled, tmp_path: Path) -> None:
    stamped, total = tmp_path / "stamps", 50_000
    options: dict[str, Any] = {"enable_on_exec": True, "buffer_bytes": 1 << 15}
    with (
        kperf.Command([str(calls("stamped")), str(stamped), "seek", str(total)]) as command,
        kperf.SyscallTrace(["lseek"], command=command, **options) as trace,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        trace.disable()
        data = trace.read()
    stamps = stamps_of(stamped)
    rows = [
        {"ret": row.ret, "start_ns": row.startTs, "elapsed_ns": row.elapsedNs}
        for row in data
        if row.startTs >= stamps[0][0]
    ]
    _check_seeks(rows, stamps)
    lost = data.quality.lost
    assert lost is not None
    assert len(rows) + lost >= total


# ---- what is hard to pair ----


def test_exec_of_another_thread_than_the_leader(summed_up: SummedUp, calls: Compiled) -> None:
    rows = {row.syscall: row for row in summed_up([], calls("corners"), "exec").rows}
    assert (rows["execve"].count, rows["execve"].errors) == (1, 0)
    assert rows["execve"].begun_before == 1


@pytest.mark.parametrize("names", [[], ["rt_sigreturn"]])
def test_returns_from_handlers(summed_up: SummedUp, calls: Compiled, names: list[str]) -> None:
    summary = summed_up(names, calls("corners"), "handler")
    assert {row.syscall: row.count for row in summary.rows}["rt_sigreturn"] == 100
    assert summary.quality.lost == 0


@pytest.mark.parametrize("names", [[], ["nanosleep"]])
def test_a_sleep_that_was_stopped_is_one(
    summed_up: SummedUp, calls: Compiled, names: list[str]
) -> None:
    rows = {row.syscall: row for row in summed_up(names, calls("corners"), "stopped").rows}
    assert "restart_syscall" not in rows
    row = rows["nanosleep"]
    assert row.max_ns is not None
    assert row.max_ns >= 1_000_000_000
    assert row.errors == 0


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 32-bit program, where such can be made and run."""
    program = tmp_path_factory.mktemp("narrow") / "narrow"
    source = Path(__file__).with_name("programs") / "narrow.c"
    flags = ["-m32", "-O1", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector"]
    compiler = shutil.which("gcc") or "cc"
    made = subprocess.run([compiler, *flags, "-o", program, source], capture_output=True)
    if made.returncode != 0:
        pytest.skip("this compiler makes no 32-bit programs for x86")
    try:
        subprocess.run([program], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this kernel runs no 32-bit programs")
    return program


@pytest.mark.parametrize("names", [[], ["getppid", "execve"]])
def test_a_32_bit_program_has_other_numbers(
    summed_up: SummedUp, narrow: Path, names: list[str]
) -> None:
    rows = {(row.syscall, row.bits): row for row in summed_up(names, narrow).rows}
    assert rows["getppid", 32].count == 10
    assert sum(row.begun_before for row in rows.values()) == 1
    assert {name for name, _ in rows} <= {"getppid", "execve", "exit"}


def test_a_thousand_blocked_threads(summed_up: SummedUp, calls: Compiled) -> None:
    (row,) = summed_up(["futex"], calls("corners"), "blocked").rows
    assert row.count + row.unfinished >= 1000


def test_the_own_drain_thread_is_left_out(kperf: Run) -> None:
    own = """
import kperf, os, time
with kperf.SyscallTrace(["epoll_wait", "getppid"], pids=[os.getpid()]) as trace:
    trace.enable()
    for _ in range(10):
        os.getppid()
    trace.disable()
    print(sorted({(row.funcs, row.tid == os.getpid()) for row in trace.read()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", own], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[('getppid', True)]"


# ---- memory, and what is left behind ----


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def test_the_summary_needs_no_memory_a_call(calls: Compiled) -> None:
    sizes = []
    with kperf.SyscallTrace(
        ["read", "write"], pids=[os.getpid()], keep_calls=False, buffer_bytes=1 << 20,
        mechanism="tracepoints",
    ) as trace:  # fmt: skip
        trace.enable()
        for _ in range(3):
            subprocess.run([calls("pairs"), "100000"], check=True)
            sizes.append(_resident(os.getpid()))
        summary = trace.summary()
    assert sum(row.count for row in summary.rows) > 10_000
    assert sizes[2] - sizes[1] < 4 << 20


@pytest.mark.parametrize("options", [["--events", "-o", "/dev/null"], []])
def test_a_killed_kperf_leaves_nothing_behind(
    start_kperf: Start, start: Start, calls: Compiled, options: list[str]
) -> None:
    tracing = Path("/sys/kernel/tracing")
    mounts = Path("/proc/mounts").read_text()
    target = start(calls("pairs"), 1_000_000_000)
    running = start_kperf("trace", "read,write", *options, "-p", target.pid, "-d", 60)
    running.wait_for_counters()
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait(PATIENCE_S)
    assert Path(f"/proc/{target.pid}").exists()
    assert Path("/proc/mounts").read_text() == mounts
    if tracing.joinpath("events").exists():
        for event in ("sys_enter", "sys_exit"):
            folder = tracing / "events" / "raw_syscalls" / event
            assert folder.joinpath("enable").read_text().strip() == "0"
            assert folder.joinpath("filter").read_text().strip() == "none"
    os.kill(target.pid, signal.SIGKILL)
