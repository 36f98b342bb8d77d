"""`kperf list`: what there is to count, here and in a copied tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from cli.processes import Done
from support import privileged
from unit.trees import BUILDERS

KEYS = ["name", "kind", "pmu", "description", "encoding", "unit"]
KINDS = ["core", "uncore", "trace", "software"]


@pytest.fixture(scope="module")
def kunpeng(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS["kunpeng-96"](tmp_path_factory.mktemp("kunpeng")).root


def names(done: Done) -> list[str]:
    return [row["name"] for row in done.rows()]


def kinds(done: Done) -> set[str]:
    return {row["kind"] for row in done.rows()}


# ---- this machine ----


@privileged
def test_everything_is_listed_without_words(kperf: Run) -> None:
    done = kperf("list", "--json")
    here = kinds(done)
    assert {"trace", "software"} <= here <= set(KINDS)
    assert {"page-faults", "syscalls:sys_enter_write"} <= set(names(done))
    assert len(names(done)) == len(set(names(done)))


@privileged
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_limits_the_list(kperf: Run, kind: str) -> None:
    done = kperf("list", "--json", kind)
    assert done.status == 0
    assert kinds(done) <= {kind}


def test_kinds_add_up(kperf: Run) -> None:
    both = kperf("list", "--json", "software", "uncore")
    assert kinds(both) - {"uncore"} == {"software"}


@privileged
def test_a_glob_matches_whole_names(kperf: Run) -> None:
    found = names(kperf("list", "--json", "sched:sched_s*"))
    assert "sched:sched_switch" in found
    assert all(name.startswith("sched:sched_s") for name in found)
    assert names(kperf("list", "--json", "sched_s*")) == []


def test_a_word_matches_a_part_of_a_name(kperf: Run) -> None:
    found = names(kperf("list", "--json", "software", "CLOCK"))
    assert found == ["cpu-clock", "task-clock"]


def test_patterns_add_up_within_kinds(kperf: Run) -> None:
    found = names(kperf("list", "--json", "software", "cpu-*", "dummy"))
    assert found == ["cpu-clock", "cpu-migrations", "dummy"]


def test_a_pattern_without_a_match_is_an_error(kperf: Run) -> None:
    done = kperf("list", "no-such-event")
    assert done.status == 1
    assert "no event here has such a name" in done.error()
    assert done.lines()[0] == "0 events"


def test_every_listed_software_event_can_be_counted(kperf: Run) -> None:
    events = names(kperf("list", "--json", "software"))
    done = kperf("stat", "--json", "-e", ",".join(events), "--", "true")
    assert {row["state"] for row in done.rows()} == {"counted"}


@privileged
def test_every_encoding_of_a_tracepoint_is_accepted(kperf: Run) -> None:
    (row,) = kperf("list", "--json", "trace", "sched:sched_switch").rows()
    assert row["encoding"].startswith("type=2,config=0x")


def test_json_has_the_keys_of_the_schema(kperf: Run) -> None:
    document = kperf("list", "--json", "software").document()
    assert document["command"] == "list"
    unknown = ("target", "duration_ns", "interval", "exit_status")
    assert {document[key] for key in unknown} == {None}
    assert all(list(row) == KEYS for row in document["rows"])
    assert not any(value == "" for row in document["rows"] for value in row.values())
    rows = {row["name"]: row for row in document["rows"]}
    assert rows["task-clock"] == {
        "name": "task-clock",
        "kind": "software",
        "pmu": None,
        "description": "time that the task ran",
        "encoding": "type=1,config=0x1",
        "unit": "ns",
    }


def test_csv_has_the_same_columns(kperf: Run) -> None:
    records = kperf("list", "--csv", "software").records()
    assert all(list(record) == KEYS for record in records)
    assert {record["unit"] for record in records} == {"", "ns"}


def test_verbose_adds_encodings_and_units(kperf: Run) -> None:
    header = kperf("list", "-v", "software").lines()[2].split()
    assert header == ["name", "kind", "unit", "encoding", "description"]
    assert kperf("list", "software").lines()[2].split() == ["name", "kind", "description"]


def test_one_event_is_called_one(kperf: Run) -> None:
    assert kperf("list", "alignment-faults").lines()[0] == "1 event"


# ---- a copied tree ----


@pytest.fixture
def there(kperf: Run, kunpeng: Path) -> Any:
    def run(*words: object) -> Done:
        return kperf("--sysroot", kunpeng, "list", *words)

    return run


def test_a_copied_trees_events_are_listed(there: Any) -> None:
    done = there("--json", "core", "uncore")
    assert kinds(done) == {"core", "uncore"}
    assert "cpu_cycles" in names(done)
    assert any("ddrc" in name for name in names(done))
    assert done.document()["machine"]["arch"] == "aarch64"
    assert done.document()["machine"]["cpus"] == 96


def test_a_copied_trees_devices_have_their_pmu(there: Any) -> None:
    row = next(row for row in there("--json", "uncore", "*ddrc*").rows())
    assert row["pmu"] in row["name"]
    assert row["encoding"].startswith(row["pmu"] + "/")


def test_what_a_copied_tree_lacks_is_told(kperf: Run, tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    done = kperf("--sysroot", tmp_path, "list", "--json")
    assert done.status == 0
    notes = " ".join(done.document()["quality"]["notes"])
    assert "trace events are missing" in notes
    assert "no core events" in notes


def test_the_kind_that_a_copied_tree_lacks_is_an_error(kperf: Run, tmp_path: Path) -> None:
    done = kperf("--sysroot", tmp_path, "list", "trace", "-o", tmp_path / "list.csv")
    assert done.status == 1
    assert str(tmp_path) in done.error()
    assert list(tmp_path.iterdir()) == []


def test_a_copied_tree_does_not_count(kperf: Run, kunpeng: Path) -> None:
    done = kperf("--sysroot", kunpeng, "stat", "--", "echo", "never")
    assert (done.status, done.out) == (2, "")
    assert "--sysroot" in done.error()


def test_a_tree_that_does_not_exist(kperf: Run, tmp_path: Path) -> None:
    done = kperf("--sysroot", tmp_path / "no", "list")
    assert done.status == 2
    assert "does not exist" in done.error()


def test_hostile_names_in_a_tree_do_not_break_the_list(kperf: Run, tmp_path: Path) -> None:
    """Names that no event list could hold are left out; the rest is written out."""
    events = tmp_path / "sys/bus/event_source/devices/evil/events"
    events.mkdir(parents=True)
    (events.parent / "type").write_text("20\n")
    (events / "a\x1b[31m\nb").write_text("event=0x1\n")
    with open(os.fsencode(events) + b"/c\xff", "w", encoding="ascii") as file:
        file.write("event=0x2\n")
    (events / "fine").write_text("event=0x3\n")
    (events.parent / "format").mkdir()
    (events.parent / "format" / "event").write_text("config:0-7\n")
    (events / "fine.unit").write_text('a"\x1b[31m\nb,c\n')
    text = kperf("--sysroot", tmp_path, "list", "-v", "uncore")
    assert "\x1b" not in text.out
    assert len([line for line in text.lines() if "fine" in line]) == 1
    (row,) = kperf("--sysroot", tmp_path, "list", "--json", "*fine*").rows()
    (record,) = kperf("--sysroot", tmp_path, "list", "--csv", "*fine*").records()
    assert row["unit"] == record["unit"] == 'a"\x1b[31m\nb,c'
