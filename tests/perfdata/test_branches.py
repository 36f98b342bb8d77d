"""Hot branches of recordings with branch stacks, which are put beside real samples here."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run, kperf, start, start_kperf  # noqa: F401
from sampling.python.conftest import programs  # noqa: F401
from sampling.python.programs import ROOM_FOR_ALL, ROUNDS, Programs, sample
from support import privileged

from kperf.export import perfdata
from kperf.export.profile import Profile
from kperf.perfdata import read_recorded
from kperf.report.branches import HotBranch, hot_branches

pytestmark = privileged

MISPREDICTED, PREDICTED = 1, 2

# From and to, each a function and how far in it; whether it was mispredicted; cycles.
BRANCHES = (
    (("sixty", 4), ("thirty", 0), False, 0),
    (("sixty", 4), ("thirty", 0), True, 0),
    (("sixty", 4), ("thirty", 0), False, 10),
    (("thirty", 2), ("spin", 6), None, 20),
)


class Branching(Profile):
    """Real samples with these branches before every second one, of those within `spin`."""

    branch_filter = 9

    def _address(self, name: str, offset: int) -> int:
        symbol = next(s for s in self.symbols if s.symbolName == name)
        return int(symbol.codeMapAddr) + offset

    def extras(self) -> Iterator[bytes]:
        flags = {True: MISPREDICTED, False: PREDICTED, None: 0}
        entries = b"".join(
            struct.pack(
                "=QQQ", self._address(*origin), self._address(*target), flags[wrong] | cycles << 4
            )
            for origin, target, wrong, cycles in BRANCHES
        )
        chosen = set(self.chosen(self.samples))
        return iter([entries if row in chosen else b"" for row in range(len(self.samples))])

    @staticmethod
    def chosen(samples: Any) -> list[int]:
        return [row for row, sample in enumerate(samples) if "spin" in sample.names][::2]


@pytest.fixture(scope="module")
def recorded(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:  # noqa: F811
    """A perf.data file with branches, and how many samples have them."""
    data = sample([programs.busy, "spin", ROUNDS // 4], call_stack=True, buffer_bytes=ROOM_FOR_ALL)
    path = tmp_path_factory.mktemp("branches") / "branches.data"
    with path.open("wb") as out:
        perfdata.write(Branching(data, lines=False), out)
    return path, len(Branching.chosen(data))


def ends(branch: HotBranch) -> tuple[str, str]:
    return str(branch.origin), str(branch.target)


def test_what_they_add_up_to(recorded: tuple[Path, int]) -> None:
    path, times = recorded
    first, second = hot_branches(read_recorded(str(path)).data)
    assert ends(first) == ("sixty+0x4", "thirty+0x0")
    assert (first.taken, first.share) == (3 * times, 0.75)
    assert first.mispredicted == pytest.approx(1 / 3)
    assert first.cycles == 10  # of those that tell any
    assert ends(second) == ("thirty+0x2", "spin+0x6")
    assert (second.taken, second.share) == (times, 0.25)
    assert (second.mispredicted, second.cycles) == (None, 20)
    assert first.origin.module.endswith("busy")


def test_rows_have_their_records(recorded: tuple[Path, int]) -> None:
    data = read_recorded(str(recorded[0])).data
    rows: list[Any] = list(data)
    records = [row.ext.branchRecords for row in rows]
    assert {len(of) for of in records} == {0, 4}
    first = next(of for of in records if len(of))
    assert [record.cycles for record in first] == [0, 0, 10, 20]
    assert [record.misPred for record in first] == [False, True, False, False]


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed to judge")
def test_perf_names_them_the_same(recorded: tuple[Path, int]) -> None:
    path, _ = recorded
    shown = subprocess.run(
        ["perf", "script", "-i", path, "-F", "brstacksym"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = Counter(tuple(entry.split("/")[:2]) for entry in shown.split())
    ours = {ends(branch): branch.taken for branch in hot_branches(read_recorded(str(path)).data)}
    assert ours == {(origin, target): n for (origin, target), n in theirs.items()}


def test_the_command_shows_them(kperf: Run, recorded: tuple[Path, int]) -> None:  # noqa: F811
    path, times = recorded
    lines = kperf("report", path).lines()
    at = lines.index("Branches before the samples")
    titles = ["share", "taken", "mispredicted", "cycles", "from", "to", "module"]
    assert lines[at + 2].split() == titles
    assert lines[at + 3].split()[:6] == [
        *("75.0%", f"{3 * times:,}", "33.3%", "10.0", "sixty+0x4", "thirty+0x0"),
    ]
    assert lines[at + 4].split()[2:4] == ["-", "20.0"]
    document = json.loads(kperf("report", path, "--json").out)
    first, second = document["branches"]
    assert (first["from"]["symbol"], first["from"]["offset"]) == ("sixty", 4)
    assert (first["to"]["symbol"], first["to"]["file"]) == ("thirty", None)
    assert (second["mispredicted"], second["taken"]) == (None, times)
    few = kperf("report", path, "--top", "1").lines()
    assert "Branches before the samples, the first 1 of 2" in few


def test_lines_of_branches(kperf: Run, recorded: tuple[Path, int]) -> None:  # noqa: F811
    document = json.loads(kperf("report", recorded[0], "--lines", "--json").out)
    origin = document["branches"][0]["from"]
    assert origin["file"].endswith("busy.c")
    assert origin["line"] > 0


def test_without_branches_there_is_no_table(kperf: Run, programs: Programs, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "plain.data"
    kperf("record", "-o", path, "--", programs.busy, "spin", ROUNDS // 20)
    assert "Branches" not in kperf("report", path).out
    assert "branches" not in json.loads(kperf("report", path, "--json").out)
