"""`kperf trace` as its users have it: tables, machine output, bad input, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import KPERF, private_mounts, records_in, wait_until
from support import privileged

pytestmark = privileged

Compiled = Callable[[str], Path]

SUMMARY = ["syscall", "count", "errors", "unfinished", "total_ns", "mean_ns"]
SUMMARY += ["p50_ns", "p95_ns", "p99_ns", "max_ns", "share", "begun_before", "bits"]
CALL = ["syscall", "start_ns", "elapsed_ns", "ret", "pid", "tid", "cpu", "comm"]


# ---- tables ----


def test_the_table_has_a_row_a_call(kperf: Run, calls: Compiled) -> None:
    done = kperf("trace", "getppid,write,read", "--", calls("known"), 1, 1)
    lines = done.lines()
    titles = "system call count errors total mean p50 p95 p99 max share"
    assert " ".join(lines[3].split()) == titles
    table = {line.split()[0]: line.split()[1:3] for line in lines[4:7]}
    assert table["getppid"] == ["100", "0"]
    assert table["write"] == ["200", "0"]
    assert table["read"][1] == "50"
    assert lines[-1].startswith("quality: 35")
    assert "; 0 lost" in lines[-1]
    assert ("BPF programs" in lines[-1]) != ("tracepoints" in lines[-1])


def test_no_names_are_all_calls(kperf: Run) -> None:
    done = kperf("trace", "--", "true")
    named = {line.split()[0] for line in done.lines()[4:-2]}
    assert {"mmap", "openat", "close", "execve", "exit_group"} <= named


def test_the_engine_is_chosen(kperf: Run, calls: Compiled) -> None:
    for engine, words in (("ring", "tracepoints"), ("bpf", "BPF programs")):
        done = kperf("trace", "--engine", engine, "getppid", "--", calls("known"), 1, 1)
        if done.status == 1 and engine == "bpf":
            assert "BPF" in done.err  # why they are not permitted here
        else:
            assert " 100 " in done.lines()[4]
            assert words in done.lines()[-1]


def test_rows_by_thread_and_process(kperf: Run, calls: Compiled) -> None:
    command = ("getppid", "--json", "--", calls("known"), 2, 3)
    threads = kperf("trace", "--by", "thread", *command).rows()
    processes = kperf("trace", "--by", "process", *command).rows()
    assert [row["count"] for row in threads] == [100] * 6
    assert len({row["tid"] for row in threads}) == 6
    assert {row["comm"] for row in threads} == {"known"}
    assert [row["count"] for row in processes] == [300] * 2
    assert "tid" not in processes[0]
    shown = kperf("trace", "--by", "thread", "getppid", "--", calls("known"), 1, 1).lines()
    assert shown[3].split()[:4] == ["tid", "pid", "comm", "system"]


def test_the_histogram_is_drawn(kperf: Run, calls: Compiled) -> None:
    done = kperf("trace", "getppid", "--histogram", "--", calls("known"), 1, 1)
    lines = done.lines()
    at = lines.index("getppid")
    assert lines[at + 2].split() == ["from", "to", "calls"]
    bars = [line.split() for line in lines[at + 3 : -2]]
    assert sum(int(bar[4]) for bar in bars) == 100
    assert max(len(bar[5]) for bar in bars if len(bar) > 5) == 40


def test_calls_are_listed_one_by_one(kperf: Run, calls: Compiled) -> None:
    done = kperf("trace", "read", "--events", "--", calls("known"), 1, 1)
    lines = done.lines()
    assert lines[3].split()[-4:] == ["cpu", "system", "call", "result"]
    failed = [line for line in lines if line.endswith("read                    -9 EBADF")]
    assert len(failed) == 50
    assert lines[-1].startswith("quality: 51 calls; 0 lost")


def test_the_slowest_are_shown(kperf: Run, calls: Compiled, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    done = kperf("trace", "--top-slow", 4, "--json", "--", calls("stamped"), stamps, "sleep", 30)
    times = [row["elapsed_ns"] for row in done.rows()]
    assert len(times) == 4
    assert times == sorted(times, reverse=True)
    assert times[-1] > 4_000_000
    shown = kperf("trace", "--top-slow", 2, "--", calls("stamped"), stamps, "sleep", 9).lines()
    assert shown[1].endswith(", the 2 slowest calls")


# ---- machine output ----


def test_json(kperf: Run, calls: Compiled) -> None:
    document = kperf("trace", "write", "--json", "--", calls("known"), 1, 1).document()
    assert document["command"] == "trace"
    assert document["exit_status"] == 0
    (row,) = document["rows"]
    assert list(row) == [*SUMMARY, "histogram"]
    assert row["mean_ns"] == row["total_ns"] / 200
    assert row["share"] == 1
    assert sum(number for _, _, number in row["histogram"]) == 200
    assert document["quality"]["samples"] == 200


def test_csv(kperf: Run, calls: Compiled) -> None:
    done = kperf("trace", "write,getppid", "--csv", "--", calls("known"), 1, 1)
    records = done.records()
    assert list(records[0]) == SUMMARY
    assert {row["syscall"]: row["count"] for row in records} == {"write": "200", "getppid": "100"}
    listed = kperf("trace", "getppid", "--events", "--csv", "--", calls("known"), 1, 1).records()
    assert list(listed[0]) == CALL
    assert len(listed) == 100


def test_results_go_to_a_file(kperf: Run, calls: Compiled, tmp_path: Path) -> None:
    for options in ((), ("--events",), ("--top-slow", 3)):
        result = tmp_path / f"{len(options)}.csv"
        kperf("trace", "getppid", *options, "-o", result, "--", calls("known"), 1, 1)
        assert records_in(result.read_text())[0]["syscall"] == "getppid"
    text = tmp_path / "calls.txt"
    kperf("trace", "getppid", "--events", "-o", text, "--", calls("known"), 1, 1)
    assert text.read_text().count("getppid") == 100


@pytest.mark.parametrize("suffix", ["txt", "json", "csv"])
def test_calls_are_written_as_they_happen(
    start_kperf: Start, start: Start, tmp_path: Path, suffix: str
) -> None:
    result = tmp_path / f"calls.{suffix}"
    target = start("cat", stdin=subprocess.PIPE)
    running = start_kperf("trace", "write", "--events", "-o", result, "-p", target.pid)
    running.wait_for_counters()
    assert target.process.stdin is not None
    for word in (b"one\n", b"three\n"):
        before = result.read_text().count("write")
        target.process.stdin.write(word)
        target.process.stdin.flush()
        wait_until(lambda n=before: result.read_text().count("write") > n, "a call in the file")
    assert running.process.poll() is None
    running.signal(signal.SIGINT)
    assert running.finish().status == 0
    whole = result.read_text()
    if suffix == "json":
        document = json.loads(whole)
        assert [row["ret"] for row in document["rows"]] == [4, 6]
        assert list(document["rows"][0]) == CALL
        assert (document["quality"]["samples"], document["quality"]["lost"]) == (2, 0)
        assert document["duration_ns"] > 0
    elif suffix == "csv":
        assert [row["ret"] for row in records_in(whole)] == ["4", "6"]
    else:
        assert "quality: 2 calls; 0 lost" in whole.splitlines()[-1]


def test_a_document_of_listed_calls_is_like_any_other(kperf: Run, calls: Compiled) -> None:
    command = ("getppid", "--json", "--", calls("known"), 1, 1)
    listed, slow = (
        kperf("trace", *options, *command).document()
        for options in (("--events",), ("--top-slow", 100))
    )
    assert sorted(listed) == sorted(slow)
    assert len(listed["rows"]) == len(slow["rows"]) == 100
    nothing = kperf("trace", "--events", "sync", "--json", "--", calls("known"), 1, 1)
    assert nothing.rows() == []


CALLERS = {"nanosleep": "sleeps", "clock_nanosleep": "sleeps", "getppid": "asks"}


def test_the_slowest_calls_with_who_made_them(kperf: Run, calls: Compiled) -> None:
    names = ",".join(CALLERS)
    command = ("-g", "--top-slow", 1000, "--", calls("callers"), 200)
    document = kperf("trace", names, "--json", *command).document()
    rows = document["rows"]
    assert len(rows) == 400
    assert document["quality"]["lost"] == 0
    for row in rows:
        called_by = [caller["symbol"] for caller in row["stack"]]
        assert CALLERS[row["syscall"]] in called_by
        assert not (set(CALLERS.values()) - {CALLERS[row["syscall"]]}) & set(called_by)
        assert called_by.index(CALLERS[row["syscall"]]) < called_by.index("main")
    few = kperf("trace", "getppid", *command[:1], "--top-slow", 2, *command[3:]).lines()
    assert sum(line.startswith("asks ") for line in few) == 2
    assert "the 2 slowest calls" in few[1]


def test_intervals(kperf: Run, calls: Compiled, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    command = ("--", calls("stamped"), stamps, "sleep", 150)
    documents = kperf("trace", "nanosleep", "-I", 100, "--json", *command).documents()
    assert len(documents) > 2
    assert [document["interval"] for document in documents] == list(range(len(documents)))
    assert sum(row["count"] for document in documents for row in document["rows"]) == 50
    records = kperf("trace", "nanosleep", "-I", 100, "--csv", *command).records()
    assert list(records[0])[:3] == ["interval", "start", "syscall"]
    counted = kperf("trace", "-a", "-I", 20, "--interval-count", 3, "--json")
    assert len(counted.documents()) == 3


# ---- whom ----


def test_a_running_process(kperf: Run, start: Start, calls: Compiled) -> None:
    target = start(calls("pairs"), 1_000_000_000)
    done = kperf("trace", "write", "-p", target.pid, "-d", 0.3, "--json")
    assert done.rows()[0]["count"] > 100
    assert done.document()["target"] == {"pids": [target.pid]}
    other = kperf("trace", "write", "-p", os.getpid(), "-d", 0.1, "--json")
    assert other.rows() == []


def test_a_process_that_ends_ends_the_trace(start_kperf: Start, start: Start) -> None:
    target = start("cat", stdin=subprocess.PIPE)
    running = start_kperf("trace", "-p", target.pid, "--json")
    running.wait_for_counters()
    target.finish()
    assert running.finish().document()["target"] == {"pids": [target.pid]}


def test_the_whole_system(kperf: Run, start: Start, calls: Compiled) -> None:
    start(calls("pairs"), 1_000_000_000)
    done = kperf("trace", "write,read", "-a", "-d", 0.3, "--by", "process", "--json")
    assert "pairs" in {row["comm"] for row in done.rows()}
    one = kperf("trace", "write", "-C", 0, "--events", "-d", 0.2, "--json")
    assert {row["cpu"] for row in one.rows()} <= {0}


def test_a_delay(kperf: Run, calls: Compiled, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    done = kperf("trace", "-D", 100, "--json", "--", calls("stamped"), stamps, "sleep", 100)
    assert 0 < sum(row["count"] for row in done.rows()) < 100


# ---- what cannot be ----


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("raed", "-a"), 1, "'raed' is no system call here (near: read"),
        (("read,wirte,close", "-a"), 1, "'wirte' is no system call here (near: write"),
        (("read,,write", "-a"), 2, "a name between commas is empty"),
        (("read",), 2, "there is nothing to measure"),
        ((), 2, "there is nothing to measure"),
        (("read", "--"), 2, "there is no command behind --"),
        (("read", "--", "/no/such"), 127, "there is no command '/no/such'"),
        (("-p", 4194304), 1, "there is no process 4194304"),
        (("--events", "--top-slow", 3, "-a"), 2, "leave one out"),
        (("-g", "-a"), 2, "say how many with --top-slow"),
        (("--events", "--histogram", "-a"), 2, "--histogram is of summaries"),
        (("--top-slow", 3, "--by", "thread", "-a"), 2, "--by is of summaries"),
        (("--top-slow", 0, "-a"), 2, "will not do"),
        (("--by", "cpu", "-a"), 2, "cpu"),
        (("--interval-count", 3, "-a"), 2, "add -I"),
        (("--engine", "bpf", "--events", "-a"), 2, "leave --engine bpf out"),
        (("--engine", "lttng", "-a"), 2, "lttng"),
    ],
)
def test_bad_input(kperf: Run, arguments: tuple[object, ...], status: int, words: str) -> None:
    done = kperf("trace", *arguments)
    assert done.status == status
    assert words in done.error()
    assert done.out == ""


def test_a_copied_tree_is_not_traced(kperf: Run, tmp_path: Path) -> None:
    assert kperf("--sysroot", tmp_path, "trace", "-a").status == 2


def test_an_ordinary_user_is_told_what_is_missing(user_kperf: Run) -> None:
    done = user_kperf("trace", "read", "--", "true")
    assert done.status == 1
    assert "root" in done.error()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change mounts")
def test_without_tracefs_kperf_mounts_its_own(start: Start) -> None:
    hide = """
        for place in /sys/kernel/tracing /sys/kernel/debug/tracing /sys/kernel/debug; do
            while mountpoint -q $place; do umount -l $place; done
        done
        exec "$@"
    """
    prefix = private_mounts(hide, "bash")
    done = start(*prefix, KPERF, "trace", "close", "--events", "--json", "--", "true").finish()
    assert done.status == 0, done.err
    assert done.rows()


# ---- ends ----


def test_ctrl_c_shows_what_was_traced(start_kperf: Start, start: Start, calls: Compiled) -> None:
    target = start(calls("pairs"), 1_000_000_000)
    for options in ((), ("--events",)):
        running = start_kperf("trace", "write", *options, "-p", target.pid)
        running.wait_for_counters()
        running.signal(signal.SIGINT)
        done = running.finish()
        assert done.status == 0
        assert done.lines()[-1].startswith("quality: ")


def test_the_status_is_the_commands(kperf: Run) -> None:
    assert kperf("trace", "--", "sh", "-c", "exit 7").status == 7
    assert kperf("trace", "-d", 0.2, "--", "sleep", 60).status == 0


def test_a_command_that_execs_is_followed(kperf: Run) -> None:
    done = kperf("trace", "execve", "--json", "--", "sh", "-c", "exec /bin/true")
    (row,) = done.rows()
    assert (row["count"], row["begun_before"]) == (1, 1)


def test_the_list_of_system_calls(kperf: Run) -> None:
    done = kperf("list", "syscalls", "--json")
    assert {"read", "write", "futex"} <= {row["name"] for row in done.rows()}
    assert {row["kind"] for row in done.rows()} == {"syscalls"}
