"""`kperf record`: tables, JSON and CSV, whom it samples, and how it ends."""

from __future__ import annotations

import math
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.processes import Done, Running
from sampling.python.programs import ROUNDS, SHARES, Programs, let_go, waiting
from support import PATIENCE_S, privileged, rooted

Run = Callable[..., Done]
Start = Callable[..., Running]

NO_PMU = not any(Path("/sys/bus/event_source/devices").glob("cpu*/events/cpu-cycles")) and not any(
    Path("/sys/bus/event_source/devices").glob("armv8*")
)
CLOCK = ("-e", "cpu-clock")


def shares_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["symbol"]: row["share"] for row in rows if row["symbol"] in SHARES}


def check_rows(rows: list[dict[str, Any]]) -> None:
    """The hot functions have the shares that their loops give them, within five sigma."""
    hot = {row["symbol"]: row["samples"] for row in rows if row["symbol"] in SHARES}
    n = sum(hot.values())
    assert n >= 100
    for name, share in SHARES.items():
        assert abs(hot[name] / n - share) <= 5 * math.sqrt(share * (1 - share) / n), hot


# ---- output ----


def test_json(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "--json", "--", busy, "spin", ROUNDS)
    assert done.status == 0
    document = done.document()
    assert document["schema"] == 1
    assert document["command"] == "record"
    assert document["target"] == {"argv": [str(busy), "spin", str(ROUNDS)]}
    assert document["exit_status"] == 0
    assert document["duration_ns"] > 0
    rows = document["rows"]
    for row in rows:
        assert list(row) == ["symbol", "module", "event", "share", "samples", "period"]
        assert row["event"] == "cpu-clock"
    check_rows(rows)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    total = sum(row["period"] for row in rows)
    for row in rows:
        assert row["share"] == pytest.approx(row["period"] / total)
    quality = document["quality"]
    assert quality["samples"] == sum(row["samples"] for row in rows)
    assert quality["lost"] == 0
    assert quality["unresolved"] is not None
    assert [row["period"] for row in rows] == sorted((row["period"] for row in rows), reverse=True)


def test_table(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "--", busy, "spin", ROUNDS)
    lines = [line for line in done.lines() if line]
    assert str(busy) in lines[0]
    assert "cpu-clock" in lines[0]
    assert lines[1].split() == ["share", "samples", "symbol", "module"]
    assert [line.split()[2] for line in lines[2:5]] == ["sixty", "thirty", "ten"]
    assert [line.split()[3] for line in lines[2:5]] == [str(busy)] * 3
    assert re.fullmatch(r"quality: [\d,]+ samples; 0 lost(; .*)?", lines[-1])
    assert done.err == ""


def test_csv(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "--csv", "--", busy, "spin", ROUNDS)
    records = done.records()
    assert list(records[0]) == ["symbol", "module", "event", "share", "samples", "period"]
    assert [record["symbol"] for record in records[:3]] == ["sixty", "thirty", "ten"]
    assert 0 < float(records[0]["share"]) < 1
    assert "quality: " in done.err


def test_a_file_by_its_suffix(kperf: Run, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "hot.json"
    done = kperf("record", *CLOCK, "-o", place, "--", busy, "spin", ROUNDS // 4)
    assert done.out == ""
    assert '"command": "record"' in place.read_text()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("comm", {"busy"}),
        ("symbol", set(SHARES)),
        ("module,comm", {"busy"}),
        ("pid,tid,cpu,comm", {"busy"}),
    ],
)
def test_sort_keys(kperf: Run, busy: Path, keys: str, expected: set[str]) -> None:
    rows = kperf("record", *CLOCK, "--json", "--sort", keys, "--", busy, "spin", ROUNDS).rows()
    names = keys.split(",")
    assert list(rows[0])[: len(names)] == names
    values = [tuple(row[name] for name in names) for row in rows]
    assert len(set(values)) == len(values)
    assert expected <= {row[names[-1]] for row in rows}
    for name in {"pid", "tid", "cpu"} & set(names):
        assert all(isinstance(row[name], int) for row in rows)


def test_sorted_by_comm_the_shares_are_whole(kperf: Run, busy: Path) -> None:
    rows = kperf("record", *CLOCK, "--json", "--sort", "event_less", "--", busy, "spin", 1)
    assert rows.status == 2
    done = kperf("record", *CLOCK, "--json", "--sort", "tid", "--", busy, "threads", 2, ROUNDS)
    assert len(done.rows()) == 3 or len(done.rows()) == 2
    assert sum(row["share"] for row in done.rows()) == pytest.approx(1)


def test_top_cuts_the_table_and_says_so(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "--top", 2, "--", busy, "spin", ROUNDS)
    lines = [line for line in done.lines() if line]
    assert re.search(r"the first 2 of [\d,]+ rows", lines[0])
    assert len(lines) == 5


def test_lines(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "--lines", "--json", "--", busy, "spin", ROUNDS)
    rows = done.rows()
    assert list(rows[0])[:4] == ["symbol", "module", "file", "line"]
    hot = [row for row in rows if row["symbol"] in SHARES]
    assert {Path(row["file"]).name for row in hot} == {"busy.c"}
    assert all(row["line"] > 0 for row in hot)


def test_several_events_have_rows_of_their_own(kperf: Run, busy: Path) -> None:
    done = kperf("record", "-e", "cpu-clock,task-clock", "--json", "--", busy, "spin", ROUNDS)
    for event in ("cpu-clock", "task-clock"):
        rows = [row for row in done.rows() if row["event"] == event]
        check_rows(rows)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
    text = kperf("record", "-e", "cpu-clock,task-clock", "--", busy, "spin", ROUNDS)
    assert "event" in next(line for line in text.lines() if "share" in line)


# ---- rates ----


def test_a_frequency(kperf: Run, busy: Path) -> None:
    few, many = (
        kperf("record", *CLOCK, "-F", rate, "--json", "--", busy, "spin", ROUNDS).document()
        for rate in (100, 4000)
    )
    assert 0 < 4 * few["quality"]["samples"] < many["quality"]["samples"]


def test_a_period(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "-c", 500_000, "--json", "--", busy, "spin", ROUNDS)
    assert all(row["period"] == 500_000 * row["samples"] for row in done.rows())


@privileged
def test_a_tracepoint_each_time(kperf: Run, busy: Path) -> None:
    words = ("record", "-e", "syscalls:sys_enter_write", "--json", "--sort", "comm")
    (row,) = kperf(*words, "--", busy, "write", 5000).rows()
    assert (row["comm"], row["samples"], row["period"]) == ("busy", 5000, 5000)


@pytest.mark.skipif(not NO_PMU, reason="this machine counts cycles")
def test_the_clock_in_place_of_cycles_is_told(kperf: Run, busy: Path) -> None:
    document = kperf("record", "--json", "--", busy, "spin", ROUNDS).document()
    assert {row["event"] for row in document["rows"]} == {"cpu-clock"}
    assert any("cpu-clock instead of cycles" in note for note in document["quality"]["notes"])
    check_rows(document["rows"])


# ---- whom ----


def test_a_process_until_its_end(start_kperf: Start, busy: Path) -> None:
    with waiting(busy, "threads", 2, ROUNDS // 2) as process:
        running = start_kperf("record", *CLOCK, "-p", process.pid, "--json")
        running.wait_for_counters()
        let_go(process)
        done = running.finish()
    assert done.status == 0
    assert done.document()["target"] == {"pids": [process.pid]}
    assert done.document()["exit_status"] is None
    check_rows(done.rows())


def test_a_thread(start_kperf: Start, busy: Path) -> None:
    with waiting(busy, "spin", ROUNDS) as process:
        running = start_kperf("record", *CLOCK, "-t", process.pid, "--json", "--sort", "tid,symbol")
        running.wait_for_counters()
        let_go(process)
        done = running.finish()
    assert {row["tid"] for row in done.rows()} == {process.pid}
    check_rows(done.rows())


@privileged
def test_the_whole_system_for_a_time(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "-a", "-d", 0.3, "--json", "--sort", "comm,pid")
    assert done.status == 0
    assert done.document()["target"] == {"system": True}
    assert done.rows()


@privileged
def test_the_whole_system_while_a_command_runs(kperf: Run, busy: Path) -> None:
    words = ("record", *CLOCK, "-a", "--json", "--sort", "comm,symbol")
    done = kperf(*words, "--", busy, "spin", ROUNDS)
    check_rows([row for row in done.rows() if row["comm"] == "busy"])


@privileged
def test_a_cpu(kperf: Run, busy: Path) -> None:
    words = ("record", *CLOCK, "-C", 0, "--json", "--sort", "cpu,comm,symbol")
    done = kperf(*words, "--", "taskset", "-c", 0, busy, "spin", ROUNDS)
    assert {row["cpu"] for row in done.rows()} == {0}
    check_rows([row for row in done.rows() if row["comm"] == "busy"])


def test_a_duration_ends_the_command(kperf: Run, busy: Path) -> None:
    done = kperf("record", *CLOCK, "-d", 0.3, "--json", "--", busy, "spin", 10**9)
    assert done.status == 0
    assert done.document()["exit_status"] == 128 + signal.SIGTERM
    assert shares_of(done.rows()).keys() == set(SHARES)


def test_a_delay_leaves_the_start_out(kperf: Run, programs: Programs) -> None:
    words = [programs.busy, "library", programs.library, ROUNDS // 20, "spin", 10**9]
    done = kperf("record", *CLOCK, "-D", 600, "-d", 0.4, "--json", "--", *words)
    assert "sixty" in shares_of(done.rows())


def test_ctrl_c_shows_what_was_sampled(start_kperf: Start, busy: Path) -> None:
    with waiting(busy) as process:
        running = start_kperf("record", *CLOCK, "-p", process.pid)
        running.wait_for_counters()
        running.signal(signal.SIGINT)
        done = running.finish()
        let_go(process)
    assert done.status == 0
    assert "quality: 0 samples; 0 lost" in done.out


# ---- how it ends ----


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)]
)
def test_the_commands_own_status(kperf: Run, script: str, status: int) -> None:
    done = kperf("record", *CLOCK, "--json", "--", "sh", "-c", script)
    assert done.status == status
    assert done.document()["exit_status"] == status


def test_commands_that_cannot_run(kperf: Run, tmp_path: Path) -> None:
    assert kperf("record", *CLOCK, "--", "no-such-command").status == 127
    plain = tmp_path / "plain"
    plain.write_text("text")
    assert kperf("record", *CLOCK, "--", plain).status == 126


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--sort", "colour", "--", "true"], 2, "colour"),
        (["--sort", "", "--", "true"], 2, "sort key"),
        (["-F", "100", "-c", "100", "--", "true"], 2, "-F and -c"),
        (["-e", "no-such-event", "--", "true"], 1, "no-such-event"),
        (["-F", "0", "--", "true"], 2, "'0'"),
        (["-c", "-5", "--", "true"], 2, "'-5'"),
        (["--top", "0", "--", "true"], 2, "'0'"),
        ([], 2, "nothing to measure"),
        (["-a", "-C", "0"], 2, "-C"),
        (["-e", "", "--", "true"], 2, "empty"),
        (["--json", "--csv", "--", "true"], 2, "one form"),
        (["-p", "0"], 2, "'0'"),
        (["-C", "4095", "-d", "1"], 1, "4095"),
    ],
)
def test_bad_input(kperf: Run, words: list[str], status: int, said: str) -> None:
    done = kperf("record", *words)
    assert (done.status, done.out) == (status, ""), done
    assert said in done.err


def test_a_frequency_above_the_limit(kperf: Run) -> None:
    limit = Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text().strip()
    done = kperf("record", *CLOCK, "-F", int(limit) + 1, "--", "true")
    assert done.out == ""
    assert done.status in (1, 2)
    assert limit in done.error()
    assert "sysctl" in done.error()


def test_a_process_that_is_gone(kperf: Run, busy: Path) -> None:
    with waiting(busy) as process:
        let_go(process)
    done = kperf("record", *CLOCK, "-p", process.pid)
    assert done.status == 1
    assert str(process.pid) in done.error()


def test_a_sysroot_is_refused(kperf: Run) -> None:
    done = kperf("--sysroot", "/", "record", "--", "true")
    assert done.status == 2
    assert "--sysroot" in done.err


def test_help_and_the_manual_have_every_option(kperf: Run) -> None:
    from kperf_cli.record import command

    shown = kperf("record", "--help").out
    page = Path(__file__).resolve().parents[3] / "man" / "kperf-record.1"
    manual = page.read_text().replace("\\-", "-").replace("\\fR", "")
    for option in command.params:
        for name in option.opts:
            if name.startswith("-"):
                assert re.search(rf"(^|[\s,]){re.escape(name)}\b", shown, re.M), name
                assert re.search(rf"[\s\"]{re.escape(name)}[\s\"]", manual), name


# ---- another user ----


@rooted
def test_an_ordinary_user_samples_in_user_space(user_kperf: Run, busy: Path) -> None:
    level = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
    if level != "2":
        pytest.skip(f"kernel.perf_event_paranoid is {level}, and 2 is what is tested")
    done = user_kperf("record", *CLOCK, "--json", "--", busy, "spin", ROUNDS, cwd="/")
    assert done.status == 0
    document = done.document()
    check_rows(document["rows"])
    assert not any(row["module"].startswith("[kernel") for row in document["rows"])
    assert any("user space" in note for note in document["quality"]["notes"])


@rooted
def test_an_ordinary_user_may_not_sample_the_system(user_kperf: Run) -> None:
    done = user_kperf("record", *CLOCK, "-a", "-d", 1, cwd="/")
    assert done.status == 1
    assert "perf_event_paranoid" in done.error()


# ---- judges ----


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_perf_finds_the_same(kperf: Run, busy: Path, tmp_path: Path) -> None:
    rows = kperf("record", *CLOCK, "--json", "--", busy, "spin", ROUNDS * 2).rows()
    file = tmp_path / "perf.data"
    words = [
        "perf",
        "record",
        "-q",
        "--buildid-mmap",
        "-e",
        "cpu-clock",
        "-F",
        "4000",
        "-o",
        file,
        "--",
        busy,
    ]
    subprocess.run(
        [*map(str, words), "spin", str(ROUNDS * 2)],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
    )
    report = subprocess.run(
        ["perf", "report", "--stdio", "-n", "--sort", "symbol", "-i", file],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    ).stdout
    theirs = {
        name: int(samples)
        for samples, name in re.findall(r"^ +[\d.]+% +(\d+) +\[.\] (\S+)", report, re.M)
    }
    ours = {row["symbol"]: row["samples"] for row in rows}
    assert set(SHARES) <= theirs.keys()
    n1 = sum(ours[name] for name in SHARES)
    n2 = sum(theirs[name] for name in SHARES)
    for name in SHARES:
        p = (ours[name] + theirs[name]) / (n1 + n2)
        sigma = math.sqrt(p * (1 - p) * (1 / n1 + 1 / n2))
        assert abs(ours[name] / n1 - theirs[name] / n2) <= 5 * sigma, (ours, theirs)
