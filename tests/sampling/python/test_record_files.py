"""`kperf record -o` and `--save`: profiles by suffix, and places that take none."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.processes import KPERF, Done, Running, private_mounts
from sampling.python.programs import ROUNDS, let_go, waiting
from sampling.python.test_record_command import CLOCK, check_rows
from support import PATIENCE_S, rooted

Run = Callable[..., Done]
Start = Callable[..., Running]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_profile_in_place_of_the_table(kperf: Run, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "a profile.folded"
    done = kperf("record", *CLOCK, "-g", "-o", place, "--", busy, "spin", ROUNDS)
    assert (done.status, done.out) == (0, "")
    assert f"wrote {place} (folded); quality: " in done.err
    lines = place.read_text().splitlines()
    assert any("busy;" in line and ";main;spin;sixty " in line for line in lines)
    assert files(tmp_path) == [place.name]


def test_a_dump_replaces_what_was_there(kperf: Run, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "prof.txt"
    place.write_text("old\n")
    kperf("record", *CLOCK, "-q", "-o", place, "--", busy, "spin", ROUNDS // 4)
    assert {line.split()[0] for line in place.read_text().splitlines()} <= {"busy", "kperf"}


@pytest.mark.parametrize(
    ("name", "form", "begins"),
    [
        ("a.data", "perf.data", b"PERFILE2"),
        ("a.speedscope.json", "speedscope", b'{"$schema"'),
        ("a.profile.json", "firefox", b'{"meta":'),
        ("a.profile.json.gz", "firefox", b"\x1f\x8b"),
        ("a.pb.gz", "pprof", b"\x1f\x8b"),
    ],
)
def test_each_suffix(
    kperf: Run, busy: Path, tmp_path: Path, name: str, form: str, begins: bytes
) -> None:
    place = tmp_path / name
    done = kperf("record", *CLOCK, "-g", "-o", place, "--", busy, "spin", ROUNDS // 8)
    assert (done.status, done.out) == (0, "")
    assert f"wrote {place} ({form}); " in done.err
    assert place.read_bytes().startswith(begins)


def test_quiet_says_nothing(kperf: Run, busy: Path, tmp_path: Path) -> None:
    done = kperf("record", *CLOCK, "-q", "-o", tmp_path / "a.txt", "--", busy, "spin", 100)
    assert (done.status, done.out, done.err) == (0, "", "")


def test_a_profile_beside_the_table(kperf: Run, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.folded"
    done = kperf("record", *CLOCK, "--save", place, "--json", "--", busy, "spin", ROUNDS)
    check_rows(done.rows())
    counted = sum(int(line.rpartition(" ")[2]) for line in place.read_text().splitlines())
    assert counted == done.document()["quality"]["samples"]


def test_a_table_and_a_profile_each_in_a_file(kperf: Run, busy: Path, tmp_path: Path) -> None:
    words = ("--csv", "-o", tmp_path / "a.txt", "--save", tmp_path / "b.txt")
    done = kperf("record", *CLOCK, *words, "--", busy, "spin", ROUNDS // 4)
    assert done.out == ""
    assert (tmp_path / "a.txt").read_text().startswith("symbol,module,event,")
    assert (tmp_path / "b.txt").read_text().split()[0] in ("busy", "kperf")


def test_a_format_by_name(kperf: Run, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "no suffix"
    done = kperf("record", *CLOCK, "-o", place, "--format", "folded", "--", busy, "spin", ROUNDS)
    assert done.status == 0
    assert place.read_text().rpartition(" ")[2].strip().isdecimal()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "a.xyz"], ".xyz stands for no format"),
        (["-o", "a"], "name the format"),
        (["--save", "a.json"], "a.json stands for no format"),
        (["--save", ""], "empty"),
        (["--format", "folded"], "-o FILE"),
        (["--json", "--format", "folded", "-o", "a"], "the profile of -o"),
        (["--format", "xml", "-o", "a"], "xml"),
    ],
)
def test_what_is_asked_for_wrongly(kperf: Run, tmp_path: Path, words: list[str], said: str) -> None:
    done = kperf("record", *words, "--", "touch", "ran", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert files(tmp_path) == []


def test_a_place_that_is_not_there_is_told_before_the_command_runs(
    kperf: Run, tmp_path: Path
) -> None:
    for option in ("-o", "--save"):
        words = ("record", *CLOCK, option, "below/a.txt")
        done = kperf(*words, "--", "touch", "ran", cwd=tmp_path)
        assert (done.status, done.out) == (1, "")
        assert "make its directory first" in done.error()
        assert files(tmp_path) == []


_FULL = """
mount -t tmpfs -o size=64k tmpfs "$1"
cd "$1"
echo old > kept.txt
shift
"$@" && exit 99
status=$?
test "$(ls -A)" = kept.txt && test "$(cat kept.txt)" = old && exit $status
ls -lA >&2
exit 98
"""


@rooted
def test_a_file_system_that_fills(busy: Path, tmp_path: Path) -> None:
    """The old file stays, nothing else is left, and the result is shown all the same."""
    words = ["record", *CLOCK, "-o", "kept.txt", "--", busy, "spin", ROUNDS * 2]
    done = subprocess.run(
        [*private_mounts(_FULL, "bash", str(tmp_path), str(KPERF), *map(str, words))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1, done
    assert "kept.txt (No space left on device): free some space" in done.stderr
    assert " sixty " in done.stdout
    assert "quality: " in done.stdout


@rooted
def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o ro tmpfs "$1"; cd "$1"; shift; exec "$@"'
    words = [KPERF, "record", *CLOCK, "-o", "a.txt", "--", "echo", "ran"]
    done = subprocess.run(
        private_mounts(script, "bash", str(tmp_path), *map(str, words)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Read-only file system" in done.stderr


def test_a_full_device_shows_the_table(kperf: Run, busy: Path) -> None:
    words = ("record", *CLOCK, "-o", "/dev/full", "--format", "dump")
    done = kperf(*words, "--", busy, "spin", ROUNDS)
    assert done.status == 1
    assert "No space left" in done.error()
    assert " sixty " in done.out


def test_a_json_document_survives_a_profile_that_does_not(kperf: Run, busy: Path) -> None:
    linked = ("--save", "/dev/full.folded")
    done = kperf("record", *CLOCK, "--json", *linked, "--", busy, "spin", ROUNDS)
    if done.status == 0:  # root may make files there
        os.unlink("/dev/full.folded")
    check_rows(done.rows())


# ---- how it ends ----


def test_ctrl_c_writes_what_was_sampled(start_kperf: Start, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.folded"
    with waiting(busy) as process:
        running = start_kperf("record", *CLOCK, "-p", process.pid, "-o", place)
        running.wait_for_counters()
        running.signal(signal.SIGINT)
        done = running.finish()
        let_go(process)
    assert done.status == 0
    assert "quality: 0 samples" in done.err
    assert place.read_text() == ""
    assert files(tmp_path) == [place.name]


def test_a_target_that_is_killed(start_kperf: Start, busy: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.folded"
    with waiting(busy, "spin", 10**9) as process:
        running = start_kperf("record", *CLOCK, "-p", process.pid, "-o", place)
        running.wait_for_counters()
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        subprocess.run([busy, "spin", str(ROUNDS // 2)], stdin=subprocess.DEVNULL, check=True)
        process.kill()
        done = running.finish()
    assert done.status == 0
    assert any(";sixty " in line or ";ten " in line for line in place.read_text().splitlines())


def test_a_failure_leaves_nothing(kperf: Run, tmp_path: Path) -> None:
    done = kperf("record", "-e", "no-such-event", "-o", "a.txt", "--", "true", cwd=tmp_path)
    assert done.status == 1
    assert files(tmp_path) == []
    done = kperf("record", *CLOCK, "-o", "a.txt", "--", "./no-such-command", cwd=tmp_path)
    assert done.status == 127
    assert files(tmp_path) == []


def test_a_reader_that_leaves(busy: Path) -> None:
    words = [KPERF, "record", *CLOCK, "-o", "/dev/stdout", "--format", "dump"]
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*map(str, words), "--", str(busy), "spin", str(ROUNDS * 2)],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    os.close(reader)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 141
    assert said == ""
