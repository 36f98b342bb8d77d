"""Where a result goes: -o, --format, --output-fd, -q, and places that refuse it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import KPERF, Done, documents_in, private_mounts, records_in
from support import privileged, rooted

COUNT = ("stat", "-e", "page-faults,task-clock")


def written(path: Path) -> str:
    return path.read_bytes().decode()


def is_json(text: str) -> bool:
    return len(documents_in(text)) == 1


def is_csv(text: str) -> bool:
    return text.startswith("event,count,") and len(records_in(text)) == 2


def is_text(text: str) -> bool:
    return "quality: " in text and "page-faults" in text and not text.startswith("\n")


FORMS: dict[str, Callable[[str], bool]] = {"text": is_text, "json": is_json, "csv": is_csv}


# ---- files ----


@pytest.mark.parametrize(
    ("name", "options", "form"),
    [
        ("out.json", [], "json"),
        ("out.csv", [], "csv"),
        ("out.txt", [], "text"),
        ("out", [], "text"),
        ("out", ["--json"], "json"),
        ("out", ["--csv"], "csv"),
        ("out", ["--format", "csv"], "csv"),
        ("out.json", ["--format", "text"], "text"),
        ("out.csv", ["--json"], "json"),
        ("out.json", ["--json", "--format", "json"], "json"),
    ],
)
def test_the_form_of_a_file(
    kperf: Run, tmp_path: Path, name: str, options: list[str], form: str
) -> None:
    done = kperf(*COUNT, *options, "-o", tmp_path / name, "--", "echo", "mine")
    assert (done.status, done.out) == (0, "mine\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    matching = [form for form, matches in FORMS.items() if matches(written(tmp_path / name))]
    assert matching == [form]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_standard_output(kperf: Run, form: str) -> None:
    done = kperf(*COUNT, "--format", form, "--", "true")
    assert FORMS[form](done.out.lstrip("\n"))


def test_an_old_file_is_replaced_and_keeps_its_mode(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old and longer than anything\n" * 1000)
    path.chmod(0o640)
    assert kperf(*COUNT, "-o", path, "--", "true").status == 0
    assert is_json(written(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(kperf: Run, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to("there/file")
    assert kperf(*COUNT, "-o", link, "--", "true").status == 0
    assert link.is_symlink()
    assert is_json(written(tmp_path / "there" / "file"))


def test_a_file_of_two_names_keeps_both(kperf: Run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old\n" * 1000)
    os.link(tmp_path / "a.json", tmp_path / "b.json")
    assert kperf(*COUNT, "-o", tmp_path / "a.json", "--", "true").status == 0
    assert is_json(written(tmp_path / "b.json"))


@rooted
def test_somebody_elses_file_stays_theirs(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old\n")
    os.chown(path, 65534, 65534)
    assert kperf(*COUNT, "-o", path, "--", "true").status == 0
    assert path.stat().st_uid == 65534
    assert is_json(written(path))


def test_a_failure_leaves_an_old_file_as_it_was(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old\n")
    for options in ([], ["-I", "10"]):
        assert kperf("stat", "-e", "nosuch", *options, "-o", path, "--", "true").status == 1
        assert kperf("stat", *options, "-o", path, "--", "no-such-command").status == 127
        assert written(path) == "old\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("options", [[], ["-I", "10"]])
def test_a_failure_leaves_no_new_file(kperf: Run, tmp_path: Path, options: list[str]) -> None:
    assert kperf("stat", *options, "-o", tmp_path / "x", "--", "no-such-command").status == 127
    assert list(tmp_path.iterdir()) == []


def test_intervals_are_written_one_by_one(start_kperf: Start, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old\n" * 1000)
    done = start_kperf(
        *("stat", "-e", "dummy", "-I", 10, "--interval-count", 3, "-o", path),
        *("--", "sleep", 1000),
    ).finish()
    assert done.out == ""
    assert [record["interval"] for record in records_in(written(path))] == ["0", "1", "2"]


def test_a_device_is_written_as_it_is(kperf: Run) -> None:
    done = kperf(*COUNT, "-o", "/dev/null", "--", "true")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_a_pipe_is_written_as_it_is(shell: Run, tmp_path: Path) -> None:
    script = 'mkfifo "$1"; cat "$1" & kperf stat --json -e dummy -o "$1" -- true; wait'
    done = shell(script, tmp_path / "pipe")
    assert (done.status, len(done.documents())) == (0, 1)


def test_a_list_goes_to_a_file_as_well(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    done = kperf("list", "software", "-o", path)
    assert (done.status, done.out) == (0, "")
    assert "page-faults" in [record["name"] for record in records_in(written(path))]


# ---- descriptors ----


def test_a_descriptor_gets_the_result_apart(shell: Run, tmp_path: Path) -> None:
    path = tmp_path / "result"
    done = shell('kperf stat --json -e dummy --output-fd 5 -- echo mine 5>"$1"', path)
    assert done.out == "mine\n"
    assert is_json(written(path))


def test_a_command_does_not_inherit_the_descriptor(shell: Run, tmp_path: Path) -> None:
    done = shell("kperf stat -e dummy --output-fd 5 -- ls /proc/self/fd 5>/dev/null")
    assert "5" not in done.lines()


def test_standard_error_may_be_the_descriptor(kperf: Run) -> None:
    done = kperf("stat", "--json", "-e", "dummy", "--output-fd", 2, "--", "echo", "mine")
    assert done.out == "mine\n"
    assert is_json(done.err)


@pytest.mark.parametrize("number", [77, 4711])
def test_a_closed_descriptor_is_an_error(kperf: Run, number: int) -> None:
    done = kperf("stat", "--output-fd", number, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert f"descriptor {number} (Bad file descriptor)" in done.error()


def test_a_descriptor_for_reading_is_an_error_that_keeps_the_result(shell: Run) -> None:
    done = shell("kperf stat -e page-faults --output-fd 5 -- echo mine 5</dev/null")
    assert done.status == 1
    assert is_text(done.out.removeprefix("mine\n\n"))
    assert "the result is on standard output" in done.error()


# ---- -q ----


def test_quiet_leaves_standard_error_empty(kperf: Run) -> None:
    loud = kperf("stat", "--csv", "-e", "page-faults", "--", "true")
    quiet = kperf("stat", "--csv", "-q", "-e", "page-faults", "--", "true")
    assert loud.err.startswith("kperf: quality: ")
    assert quiet.err == ""


def test_quiet_hides_no_error(kperf: Run) -> None:
    assert "nosuch" in kperf("stat", "-q", "-e", "nosuch", "--", "true").error()


def test_the_quality_is_said_once_as_long_as_it_is_the_same(kperf: Run, start: Start) -> None:
    sleeper = start("sleep", 1000)
    done = kperf(
        *("stat", "--csv", "-I", 10, "--interval-count", 5, "-e", "page-faults,dummy"),
        *("-p", sleeper.pid),
    )
    assert len(done.records()) == 10
    assert done.error().endswith("as the target did not run: page-faults, dummy")


# ---- places that refuse ----


def test_a_directory_that_does_not_exist(kperf: Run, tmp_path: Path) -> None:
    done = kperf("stat", "-o", tmp_path / "no" / "out.json", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "make its directory first" in done.error()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_instead_of_a_file(kperf: Run, tmp_path: Path) -> None:
    done = kperf("stat", "-o", tmp_path, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "name a file in it" in done.error()


def test_a_place_that_may_not_be_written(user_kperf: Run) -> None:
    done = user_kperf("stat", "-o", "/etc/kperf-test.json", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "cannot write /etc/kperf-test.json (Permission denied)" in done.error()
    assert not Path("/etc/kperf-test.json").exists()


def test_a_file_that_may_not_be_written(user_kperf: Run) -> None:
    done = user_kperf("stat", "-o", "/etc/passwd", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "Permission denied" in done.error()


@pytest.fixture
def in_small_place(start: Start, tmp_path: Path) -> Run:
    """Runs a script in a file system of 64 KiB that it alone sees, mounted with options."""

    def run(options: str, script: str) -> Done:
        setup = f'mount -t tmpfs -o size=64k none "$1"; cd "$1"; {options}; {script}'
        env = {**os.environ, "PATH": f"{KPERF.parent}:{os.environ['PATH']}"}
        return start(*private_mounts(setup, "bash", str(tmp_path)), env=env).finish()

    return run


FULL = "dd if=/dev/zero of=filler bs=4k 2>/dev/null || true"


@rooted
@pytest.mark.parametrize("name", ["out.json", "out.csv", "out.txt"])
def test_a_full_file_system_does_not_cost_the_result(in_small_place: Run, name: str) -> None:
    done = in_small_place(
        FULL, f"set +e; kperf stat -e page-faults -o {name} -- echo mine; echo $?; ls -A"
    )
    *shown, status, files = done.lines()
    assert shown[0] == "mine"
    assert is_text("\n".join(shown[2:]))
    assert (status, files) == ("1", "filler")
    assert f"cannot write {name} (No space left on device)" in done.error()
    assert "the result is on standard output" in done.error()


@rooted
def test_a_full_file_system_leaves_an_old_file_as_it_was(in_small_place: Run) -> None:
    done = in_small_place(
        f"echo old >out.json; {FULL}",
        "set +e; kperf stat -e page-faults -o out.json -- true; cat out.json; ls -A",
    )
    assert done.lines()[-3:] == ["old", "filler", "out.json"]


@rooted
def test_a_file_system_that_becomes_full_ends_the_intervals(in_small_place: Run) -> None:
    done = in_small_place(
        FULL,
        "set +e; kperf stat -e page-faults -I 10 -o out.csv -- sleep 1000; echo $?",
    )
    assert done.lines()[-1] == "1"
    assert is_text("\n".join(done.lines()[1:-1]))
    assert "No space left on device" in done.err


@rooted
def test_a_read_only_file_system(in_small_place: Run) -> None:
    done = in_small_place(
        "mount -o remount,ro .", "set +e; kperf stat -o out.json -- echo never; echo $?"
    )
    assert done.out == "1\n"
    assert "cannot write out.json (Read-only file system)" in done.error()


@privileged
@pytest.mark.parametrize(
    "call",
    [
        *("--version", "stat -h", "list software", "topo --json", "doctor --csv"),
        *("stat -e dummy true", "stat -I 5 -e dummy sleep 0.1", "stat -I 5 -e dummy --csv true"),
        *("record -e cpu-clock true", "trace --json -- true", "trace --events -- true"),
    ],
)
def test_a_standard_output_that_is_full(kperf: Run, call: str) -> None:
    with open("/dev/full", "wb") as full:
        done = kperf(*call.split(), stdout=full)
    assert done.status == 1
    assert "standard output" in done.error()
    assert "No space left on device" in done.error()


def test_everything_is_full(shell: Run) -> None:
    done = shell("kperf stat -e dummy -o /dev/full -- true >/dev/full; echo $? >&2")
    error, status = done.err.splitlines()
    assert status == "1"
    assert error.startswith("kperf: cannot write /dev/full (No space left on device)")


@pytest.mark.parametrize("call", ["list software", "stat -e dummy true"])
def test_a_standard_output_that_is_closed(shell: Run, call: str) -> None:
    done = shell(f"kperf {call} >&-")
    assert done.status == 1
    assert "it is closed" in done.error()


def test_a_closed_standard_output_is_not_needed_for_a_file(shell: Run, tmp_path: Path) -> None:
    done = shell('kperf stat -e dummy -o "$1" -- true >&-', tmp_path / "out.json")
    assert done.status == 0
    assert is_json(written(tmp_path / "out.json"))


def test_a_standard_error_that_is_closed(shell: Run) -> None:
    assert shell("kperf stat -e nosuch -- true 2>&-").status == 1
    assert shell("kperf stat -e dummy -- true 2>&-").status == 0
