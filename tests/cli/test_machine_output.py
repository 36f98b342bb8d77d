"""What programs read: JSON of schema 1 and CSV, key by key."""

from __future__ import annotations

import csv
import io
import json
import locale
import os
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from cli.processes import Done
from support import online_cpus, privileged

ENVELOPE = {
    "schema": int,
    "kperf": str,
    "command": str,
    "target": dict,
    "start": str,
    "duration_ns": int,
    "interval": type(None),
    "machine": dict,
    "rows": list,
    "quality": dict,
    "exit_status": int,
}
MACHINE = {"arch", "cpus", "kernel", "cpu"}
QUALITY = {
    "samples",
    "lost",
    "throttled",
    "unresolved",
    "truncated_stacks",
    "aux_truncated",
    "aux_collisions",
    "unfinished",
    "notes",
}
ROW = {
    *("event", "count", "state", "unit", "running", "group", "derived"),
    *("raw_count", "enabled_ns", "running_ns"),
}
PLACES = {
    "--per-thread": {"pid", "tid", "comm"},
    "-A": {"cpu"},
    "--per-core": {"core", "cluster", "socket"},
    "--per-cluster": {"cluster", "socket"},
    "--per-numa": {"numa"},
    "--per-socket": {"socket"},
}
DERIVED = ("cpus_utilized", "ghz", "ipc", "miss_rate", "cycle_share", "per_second")
COLUMNS = [
    *("event", "count", "state", "unit", "running", "group"),
    *("cpu", "core", "cluster", "numa", "socket", "pid", "tid", "comm"),
    *("mean", "stddev", "runs"),
    *(f"derived.{name}" for name in DERIVED),
    *("raw_count", "enabled_ns", "running_ns"),
]
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

# One that is counted, one with a unit, and one that no machine has: an event of a code of ones.
EVENTS = "page-faults,task-clock,r3fffffffffffffff"


def has_hardware() -> bool:
    return any(Path("/sys/bus/event_source/devices").glob("*cpu*"))


# ---- JSON ----


@pytest.fixture
def document(kperf: Run) -> dict[str, Any]:
    return kperf("stat", "--json", "-e", EVENTS, "--", "sh", "-c", "exit 5").document()


def test_the_envelope_has_the_keys_of_the_schema(document: dict[str, Any]) -> None:
    assert list(document) == list(ENVELOPE)
    assert {key: type(value) for key, value in document.items()} == ENVELOPE
    assert document["schema"] == 1
    assert document["command"] == "stat"
    assert document["exit_status"] == 5
    assert document["target"] == {"argv": ["sh", "-c", "exit 5"]}
    assert UTC.fullmatch(document["start"])
    assert document["duration_ns"] > 0


def test_the_machine_is_described(document: dict[str, Any]) -> None:
    machine = document["machine"]
    assert set(machine) == MACHINE
    assert machine["arch"] == platform.machine()
    assert machine["cpus"] == len(online_cpus())
    assert machine["kernel"] == platform.release()


def test_quality_has_null_for_what_counting_does_not_know(document: dict[str, Any]) -> None:
    quality = document["quality"]
    assert set(quality) == QUALITY
    assert {quality[key] for key in QUALITY - {"notes"}} == {None}
    assert all(isinstance(note, str) for note in quality["notes"])


def test_a_counted_row(document: dict[str, Any]) -> None:
    faults = document["rows"][0]
    assert set(faults) == ROW
    assert (faults["event"], faults["state"], faults["unit"]) == ("page-faults", "counted", None)
    assert type(faults["count"]) is int
    assert faults["count"] == faults["raw_count"] > 0
    assert faults["running"] == 1.0
    assert faults["group"] is None
    assert faults["enabled_ns"] == faults["running_ns"] > 0
    assert set(faults["derived"]) == {"per_second"}


def test_a_times_unit_is_nanoseconds(document: dict[str, Any]) -> None:
    clock = document["rows"][1]
    assert clock["unit"] == "ns"
    assert type(clock["count"]) is int
    share = clock["derived"]["cpus_utilized"]
    assert share == clock["count"] / document["duration_ns"]


@pytest.mark.skipif(has_hardware(), reason="a hardware PMU may take any code")
def test_what_is_not_supported_is_null_and_not_0(document: dict[str, Any]) -> None:
    row = document["rows"][2]
    assert row["state"] == "not-supported"
    absent = ("count", "unit", "running", "group", "raw_count", "enabled_ns", "running_ns")
    assert {row[key] for key in absent} == {None}
    assert row["derived"] == {}


def test_members_of_a_group_share_its_number(kperf: Run) -> None:
    done = kperf(
        *("stat", "--json", "-e", "minor-faults,{page-faults,task-clock},{cpu-clock,dummy}"),
        *("--", "true"),
    )
    assert [row["group"] for row in done.rows()] == [None, 0, 0, 1, 1]


def test_repeated_runs_add_mean_deviation_and_runs(kperf: Run) -> None:
    done = kperf("stat", "--json", "-r", 3, "-e", EVENTS, "--", "true")
    rows = done.rows()
    assert all(set(row) == ROW | {"mean", "stddev", "runs"} for row in rows)
    faults = rows[0]
    assert type(faults["mean"]) is type(faults["stddev"]) is float
    assert (faults["runs"], faults["count"]) == (3, round(faults["mean"]))


def test_one_run_has_no_deviation(kperf: Run) -> None:
    """Ctrl-C in the first of several leaves one; its deviation is unknown, and not 0."""
    done = kperf(
        *("stat", "--json", "-r", 2, "-e", "page-faults", "--"),
        *("sh", "-c", "kill -INT $PPID; exec sleep 1000"),
    )
    (row,) = done.rows()
    assert (row["runs"], row["stddev"]) == (1, None)
    assert done.status == 130


@privileged
@pytest.mark.parametrize("option", PLACES)
def test_rows_have_the_keys_of_their_place(kperf: Run, option: str) -> None:
    whom = ["--", "true"] if option == "--per-thread" else ["-a", "-d", "0.01"]
    rows = kperf("stat", "--json", option, "-e", "page-faults,task-clock", *whom).rows()
    assert rows
    assert all(set(row) == ROW | PLACES[option] for row in rows)


def test_an_unknown_place_is_null(kperf: Run) -> None:
    """A launched thread's row has its numbers, and places that say nothing do not stand in it."""
    (row,) = kperf("stat", "--json", "--per-thread", "-e", "page-faults", "--", "true").rows()
    assert type(row["pid"]) is type(row["tid"]) is int
    assert row["comm"] == "true"


def test_json_is_one_line(kperf: Run) -> None:
    done = kperf("stat", "--json", "-e", EVENTS, "--", "true")
    assert len(done.out.strip().splitlines()) == 1
    assert done.out.endswith("}\n")
    assert done.err == ""


def test_json_begins_on_a_line_of_its_own(kperf: Run) -> None:
    done = kperf("stat", "--json", "-e", "page-faults", "--", "printf", "no end of line")
    assert done.lines()[0] == "no end of line"
    json.loads(done.lines()[1])


def test_json_in_an_empty_file_begins_at_its_first_byte(
    start_kperf: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    with open(path, "wb") as file:
        start_kperf("stat", "--json", "-e", "page-faults", "true", stdout=file).finish()
    assert path.read_bytes().startswith(b"{")


# ---- CSV ----


@pytest.fixture
def csv_done(kperf: Run) -> Done:
    return kperf("stat", "--csv", "-e", EVENTS, "--", "true")


def test_csv_has_every_column_in_order(csv_done: Done) -> None:
    assert csv_done.out.lstrip("\n").split("\r\n")[0].split(",") == COLUMNS


@privileged
@pytest.mark.parametrize("option", PLACES)
def test_csv_columns_are_the_same_for_every_place(kperf: Run, option: str) -> None:
    whom = ["--", "true"] if option == "--per-thread" else ["-a", "-d", "0.01"]
    records = kperf("stat", "--csv", option, "-e", "page-faults", *whom).records()
    assert all(list(record) == COLUMNS for record in records)
    filled = {name for name in COLUMNS[6:14] if any(record[name] for record in records)}
    assert filled <= PLACES[option]


def test_csv_columns_are_the_same_with_runs(kperf: Run) -> None:
    (record,) = kperf("stat", "--csv", "-r", 2, "-e", "page-faults", "--", "true").records()
    assert list(record) == COLUMNS
    assert (record["runs"], float(record["mean"]) > 0) == ("2", True)


def test_csv_says_what_json_says(kperf: Run) -> None:
    """Both from one run: the format is chosen by where it goes."""
    done = kperf("stat", "--csv", "-e", EVENTS, "--", "true")
    faults, clock, _ = done.records()
    assert faults["count"].isdecimal()
    assert faults["running"] == "1.0"
    assert faults["unit"] == ""
    assert clock["unit"] == "ns"
    assert float(clock["derived.cpus_utilized"]) > 0
    assert clock["derived.per_second"] == ""


def test_csv_lines_end_as_the_standard_has_them(csv_done: Done) -> None:
    text = csv_done.out.lstrip("\n")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n") == 1 + len(EVENTS.split(","))


def test_csv_has_its_quality_on_standard_error(csv_done: Done) -> None:
    assert csv_done.error().startswith("kperf: quality: ")
    assert "quality" not in csv_done.out


def test_an_interval_and_its_start_come_first(kperf: Run) -> None:
    done = kperf("stat", "--csv", "-I", 10, "--interval-count", 3, "-e", "dummy", "--", "sleep", 9)
    records = done.records()
    assert list(records[0]) == ["interval", "start", *COLUMNS]
    assert [record["interval"] for record in records] == ["0", "1", "2"]
    assert all(UTC.fullmatch(record["start"]) for record in records)
    assert sorted(record["start"] for record in records) == [r["start"] for r in records]


# ---- locales ----


def other_locales() -> list[str]:
    """Locales of this machine that write numbers in another way than C."""
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False)
    found = []
    for name in listed.stdout.split():
        try:
            locale.setlocale(locale.LC_ALL, name)
            if locale.localeconv()["decimal_point"] == ",":
                found.append(name)
        except locale.Error:
            continue
        finally:
            locale.setlocale(locale.LC_ALL, "C")
    return found


@pytest.fixture(scope="session")
def comma_locale(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a locale with a decimal comma: the machine's, or one that is made here."""
    found = other_locales()
    if found:
        return {"LC_ALL": found[0]}
    folder = tmp_path_factory.mktemp("locales")
    folder.chmod(0o755)
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", folder / "de_DE.UTF-8"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / "de_DE.UTF-8").exists():
        pytest.skip(f"no locale with a decimal comma, and none can be made: {made.stderr[:200]}")
    return {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(folder)}


def test_numbers_are_the_same_in_every_locale(kperf: Run, comma_locale: dict[str, str]) -> None:
    env = {**os.environ, **comma_locale}
    record, _ = kperf("stat", "--csv", "-e", "task-clock,dummy", "--", "true", env=env).records()
    assert re.fullmatch(r"\d+\.\d+(e-\d+)?", record["derived.cpus_utilized"])
    text = kperf("stat", "-e", "task-clock", "--", "true", env=env).out
    assert re.search(r"\d+\.\d\d (us|ms)  task-clock", text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_machine_output_is_utf8_whatever_the_locale_says(kperf: Run, encoding: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    argv = ["bash", "-c", "exec -a ü sleep 0.01", "ü", "日本"]
    done = kperf("stat", "--csv", "--per-thread", "-e", "page-faults", "--", *argv, env=env)
    assert done.records()
    text = kperf("stat", "-e", "page-faults", "--", "true", "日本", env=env)
    assert (text.status, text.err) == (0, "")


def test_rfc_4180_quoting_survives_a_strict_reader(kperf: Run) -> None:
    name = "mem:0x1000/8:w,page-faults"
    done = kperf("stat", "--csv", "-e", name, "--", "true")
    rows = list(csv.reader(io.StringIO(done.out.lstrip("\n"), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(COLUMNS)}
