"""A disk that is full at any byte: one sentence, the old file as it was, and nothing beside it."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.processes import KPERF
from support import PATIENCE_S, privileged

OLD = b"old\n"
SHARES = (0.0, 0.01, 0.5, 0.9)  # of the bytes of a whole file: the next one may be a little shorter


class Done(NamedTuple):
    status: int
    out: bytes
    err: str


def run(folder: Path, *words: str, most: int | None = None) -> Done:
    """Runs kperf where no file may grow above so many bytes, as on a disk with as little room."""

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [KPERF, *words],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        timeout=PATIENCE_S,
        preexec_fn=limit,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    spin = "import os\nfor _ in range(300): os.listdir('/proc')"
    words = [
        "-e",
        "cpu-clock",
        "-F",
        "2000",
        "-g",
        "-o",
        "a.data",
        "--",
        sys.executable,
        "-c",
        spin,
    ]
    assert run(folder, "record", *words).status == 0
    return folder / "a.data"


PROFILES = ["a.txt", "a.folded", "a.speedscope.json", "a.profile.json", "a.profile.json.gz"]
TABLES = ["a.json", "a.csv"]


def check_at_each_byte(folder: Path, name: str, *words: str) -> None:
    """Where the command's file has no room, at some places of it."""
    place = folder / name
    whole = run(folder, *words)
    assert whole.status == 0, whole.err
    size = place.stat().st_size
    for share in SHARES:
        place.write_bytes(OLD)
        most = int(size * share)
        done = run(folder, *words, most=most)
        assert done.status == 1, (most, size, done)
        (said,) = done.err.splitlines()
        assert said.startswith("kperf: cannot write "), said
        assert f"{name} (File too large)" in said
        assert place.read_bytes() == OLD, (most, size)
        left = {path.name for path in folder.iterdir()} - {name, "cache"}
        assert left == set(), (most, size)


@pytest.mark.parametrize("name", [*PROFILES, "a.pb.gz", "b.data", *TABLES])
def test_a_report(recording: Path, tmp_path: Path, name: str) -> None:
    check_at_each_byte(tmp_path, name, "report", str(recording), "-o", name)


@privileged
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "words",
    [
        ("list", "software"),
        ("topo",),
        ("doctor",),
        ("stat", "-e", "page-faults", "--", "true"),
        ("trace", "--", "true"),
    ],
    ids=lambda words: words[0],
)
def test_a_table(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    check_at_each_byte(tmp_path, name, words[0], "-o", name, *words[1:])


def test_symbols_need_no_room(recording: Path, tmp_path: Path) -> None:
    """What is kept for the next time is not missed where it cannot be kept."""
    full = run(tmp_path, "report", str(recording), "--lines", "--csv", most=0)
    assert (full.status, full.out) == (
        0,
        run(tmp_path, "report", str(recording), "--lines", "--csv").out,
    )


# ---- lines that come one by one ----


def check_csv(text: str) -> None:
    header, *rows = csv.reader(text.splitlines())
    assert rows
    assert {len(row) for row in rows} == {len(header)}


def check_json(text: str) -> None:
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize(("name", "check"), [("a.csv", check_csv), ("a.json", check_json)])
def test_no_line_stays_in_half(
    tmp_path: Path, name: str, check: Callable[[str], None], old: bool
) -> None:
    """A number that is cut short is another number."""
    place = tmp_path / name
    words = ("stat", "-I", "5", "-e", "dummy", "-o", name, "--", "sleep", "1000")
    kept = []
    for most in (0, 30, 450, 700, 1100):
        if old:
            place.write_bytes(OLD)
        else:
            place.unlink(missing_ok=True)
        done = run(tmp_path, *words, most=most)
        assert done.status == 1
        assert f"kperf: cannot write {name} (File too large)" in done.err
        text = place.read_text() if place.exists() else ""
        assert place.exists() == (old or bool(text)), "an empty file stays"
        if text:
            assert text.endswith("\n"), most
            check(text)
        kept.append(len(text))
    assert kept[0] == kept[1] == 0 < kept[-1], kept


def test_a_temporary_file_without_room(recording: Path, tmp_path: Path) -> None:
    """Another place than that which was asked for is full, and it is the one that is told."""
    pipe = ("-o", "/dev/stdout", "--format", "perf.data")
    done = run(tmp_path, "report", str(recording), *pipe, most=4096)
    assert (done.status, b"PERFILE2" in done.out) == (1, False)
    (said,) = done.err.splitlines()
    assert said.startswith("kperf: cannot write a temporary file in /"), said
    assert "(File too large)" in said
    assert "TMPDIR" in said
