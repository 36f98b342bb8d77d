"""Programs of names with blanks, new lines and bytes that are no text, from sample to file."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.processes import Done
from sampling.python.programs import ROUNDS, SHARES
from sampling.python.test_record_command import CLOCK

from kperf import export

Run = Callable[..., Done]

NAME = b"a b\nc\xff;d"
SHOWN = "a b\nc\ufffd;d"


@pytest.fixture
def odd(busy: Path, tmp_path: Path) -> bytes:
    path = os.fsencode(tmp_path) + b"/" + NAME
    shutil.copy(busy, path)
    return path


def test_its_functions_have_names_and_its_module_is_text(kperf: Run, odd: bytes) -> None:
    rows = kperf("record", *CLOCK, "--json", "--", odd, "spin", ROUNDS // 2).rows()
    hot = {row["symbol"]: row for row in rows}
    assert hot.keys() >= set(SHARES)
    assert {os.path.basename(hot[name]["module"]) for name in SHARES} == {SHOWN}


def test_a_table_stays_a_line_a_row(kperf: Run, odd: bytes) -> None:
    done = kperf("record", *CLOCK, "--top", 1, "--", odd, "spin", ROUNDS // 2)
    (line,) = (line for line in done.lines() if " sixty " in line)
    assert r"a b\nc" in line


def test_csv_quotes_it(kperf: Run, odd: bytes, tmp_path: Path) -> None:
    place = tmp_path / "hot.csv"
    done = kperf("record", *CLOCK, "--csv", "-o", place, "--", odd, "spin", ROUNDS // 2)
    assert done.status == 0
    records = list(csv.DictReader(io.StringIO(place.read_bytes().decode(), newline="")))
    assert records[0]["symbol"] == "sixty"
    assert records[0]["module"].endswith(SHOWN)


def test_every_format_takes_it(kperf: Run, odd: bytes, tmp_path: Path) -> None:
    for form, (suffix, *_) in export.FORMATS.items():
        place = tmp_path / ("out" + suffix)
        words = ("record", *CLOCK, "-g", "-q", "-o", place)
        assert kperf(*words, "--", odd, "spin", ROUNDS // 8).status == 0, form
        if suffix.endswith(".json"):
            json.loads(place.read_bytes())
    lines = (tmp_path / "out.txt").read_bytes().decode().splitlines()
    assert all(len(line.split()) == (4 if line.startswith("\t") else 11) for line in lines)
    assert NAME[:15] in (tmp_path / "out.data").read_bytes()
    folded = (tmp_path / "out.folded").read_bytes().decode().splitlines()
    assert any(line.startswith(r"a b\x0ac") for line in folded)
    assert all(line.rpartition(" ")[2].isdecimal() for line in folded)
