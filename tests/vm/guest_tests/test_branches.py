"""Branch records, from a stand-in of LBR and BRBE (module/rigpmu.c): rows, hot branches, files.

Before a sample at `pc`, called from before `lr`: pc - 4 to pc, predicted, in 3 cycles; lr - 4 to
pc, mispredicted in every fourth sample; lr to lr + 8, of whose prediction nothing is known.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import guest
import pytest

import kperf

BUSY = Path(__file__).with_name("busy")
EVENT = "rig_branches/event=0x1/"
ANY_USER = (
    kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY
    | kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER
)


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    """The samples of `busy` with their branches."""
    with (
        kperf.Command([str(BUSY), "spin", "400"]) as command,
        kperf.Sampling(
            EVENT, period=500_000, command=command, enable_on_exec=True, branch_filter=ANY_USER
        ) as sampling,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        sampling.disable()
        return list(sampling.read())


def test_each_sample_has_its_branches(rows: list[Any]) -> None:
    assert len(rows) > 100
    for row in rows:
        first, second, third = row.ext.branchRecords
        pc = row.stack.symbol.addr
        assert (first.fromAddr, first.toAddr) == (pc - 4, pc)
        assert (first.predicted, first.misPred, first.cycles) == (True, False, 3)
        assert second.toAddr == pc
        assert second.predicted is not second.misPred
        assert third.toAddr == third.fromAddr + 8 == second.fromAddr + 12
        assert (third.predicted, third.misPred) == (False, False)
    wrong = sum(list(row.ext.branchRecords)[1].misPred for row in rows)
    assert wrong / len(rows) == pytest.approx(1 / 4, abs=0.05)


def test_hot_branches_of_the_command_and_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "branches.data"
    record = ("record", "-e", EVENT, "-c", "500000", "--branch", "any,user", "--save", path)
    done = guest.kperf_command(*map(str, record), "--json", "--", str(BUSY), "spin", "400")
    assert done.returncode == 0, done.stderr
    live = json.loads(done.stdout)["branches"]
    again = guest.kperf_command("report", str(path), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["branches"] == live
    within = [one for one in live if one["cycles"] is not None]
    assert {one["cycles"] for one in within} == {3.0}
    assert {one["mispredicted"] for one in within} == {0.0}
    assert {one["to"]["symbol"] for one in within} >= {"sixty", "thirty", "ten"}
    assert sum(one["share"] for one in live) == pytest.approx(1)


def test_levels_alone_and_what_records_none() -> None:
    with pytest.raises(kperf.KperfError) as alone:
        kperf.Sampling(EVENT, branch_filter=kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER)
    assert alone.value.code == kperf.Error.INVALID_BRANCH_FILTER
    with pytest.raises(kperf.KperfError, match="no branch records"):
        kperf.Sampling("cycles", branch_filter=ANY_USER)
