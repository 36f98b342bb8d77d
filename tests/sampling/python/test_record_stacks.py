"""`kperf record` with call stacks and branches: call trees in tables and in JSON."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.processes import Done
from sampling.python.programs import ROUNDS, SHARES
from sampling.python.test_record_command import CLOCK, NO_PMU, check_rows

Run = Callable[..., Done]

CALLERS = {"sixty": "spin", "thirty": "inner", "ten": "inner"}


def nodes(calls: list[dict[str, Any]], way: str) -> Iterator[dict[str, Any]]:
    for call in calls:
        yield call
        yield from nodes(call[way], way)


def test_callers_in_json(kperf: Run, busy: Path) -> None:
    rows = kperf("record", *CLOCK, "-g", "--json", "--", busy, "spin", ROUNDS).rows()
    check_rows(rows)
    for row in rows:
        assert list(row)[-1] == "callers"
        assert sum(call["share"] for call in row["callers"]) <= row["share"] * (1 + 1e-9)
        for call in nodes(row["callers"], "callers"):
            call.pop("cut", None)  # a stack deeper than the tree: the kernel went round in circles
            assert list(call) == ["symbol", "module", "share", "samples", "callers"]
    hot = {row["symbol"]: row for row in rows if row["symbol"] in SHARES}
    for name, row in hot.items():
        first = row["callers"][0]
        assert (first["symbol"], first["module"]) == (CALLERS[name], str(busy))
        assert first["share"] == pytest.approx(row["share"], rel=0.1)
        assert "main" in {call["symbol"] for call in nodes(row["callers"], "callers")}


def test_callees_in_json(kperf: Run, busy: Path) -> None:
    rows = kperf("record", *CLOCK, "--callees", "--json", "--", busy, "spin", ROUNDS).rows()
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    # A sample in a prologue shows a function somewhere else as well: there it has few samples.
    calls = sorted(nodes(rows, "callees"), key=lambda call: int(call["samples"]))
    by_name = {call["symbol"]: call for call in calls}
    assert {call["symbol"] for call in by_name["spin"]["callees"]} >= {"sixty", "inner"}
    assert {call["symbol"] for call in by_name["inner"]["callees"]} >= {"thirty", "ten"}
    assert by_name["spin"]["share"] > 0.8
    assert not set(SHARES) & {row["symbol"] for row in rows}


def test_a_tree_in_the_table(kperf: Run, busy: Path) -> None:
    lines = kperf("record", *CLOCK, "-g", "--", busy, "spin", ROUNDS).lines()
    at = next(i for i, line in enumerate(lines) if " sixty " in line)
    share, samples, _, module = lines[at].split()
    assert module == str(busy)
    assert re.search(r"^ *[\d.]+% +[\d,]+ +- spin$", lines[at + 1]), lines[at + 1]
    assert lines[at + 2].strip() == "main"
    assert lines[at + 2].index("main") == lines[at + 1].index("spin")
    assert float(share[:-1]) > 30
    assert int(samples.replace(",", "")) > 30


def test_rows_without_symbols_have_a_column_of_calls(kperf: Run, busy: Path) -> None:
    lines = kperf("record", *CLOCK, "-g", "--sort", "comm", "--", busy, "spin", ROUNDS).lines()
    head = next(line for line in lines if "share" in line)
    assert head.split() == ["share", "samples", "comm", "calls"]
    assert any(re.search(r"% +[\d,]+ +- sixty$", line) for line in lines)


def test_csv_has_no_trees(kperf: Run, busy: Path) -> None:
    records = kperf("record", *CLOCK, "-g", "--csv", "--", busy, "spin", ROUNDS // 4).records()
    assert list(records[0]) == ["symbol", "module", "event", "share", "samples", "period"]


def test_the_share_of_cut_stacks_is_told(kperf: Run, tmp_path: Path) -> None:
    """Of a program whose frame pointer register is used for something else."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler
    source, program = tmp_path / "cut.c", tmp_path / "cut"
    source.write_text(
        "__attribute__((noinline)) long work(long n) {\n"
        '    long kept; asm volatile("" ::: "memory");\n'
        "    for (kept = 1; n > 0; n--) kept = kept * 3 + n;\n"
        "    return kept;\n"
        "}\n"
        "__attribute__((noinline)) long over(long n) { return work(n) + 1; }\n"
        "int main(void) { return over(400000000) == 7; }\n"
    )
    frameless = ["-O1", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run([compiler, *frameless, "-o", program, source], check=True)
    done = kperf("record", *CLOCK, "-g", "--", program)
    found = re.search(r"([\d,]+) stacks cut \(([\d.]+)%\)", done.out)
    if found is None:  # the compiler's code happens to keep what the kernel follows
        pytest.skip("this compiler's code without frame pointers has whole stacks all the same")
    document = kperf("record", *CLOCK, "-g", "--json", "--", program).document()
    assert document["quality"]["truncated_stacks"] > 0
    if float(found[2]) > 5:
        assert "-fno-omit-frame-pointer" in done.out


def test_whole_stacks_need_no_word(kperf: Run, busy: Path) -> None:
    quality = kperf("record", *CLOCK, "-g", "--", busy, "spin", ROUNDS).lines()[-1]
    assert "-fno-omit-frame-pointer" not in quality


# ---- branches ----


@pytest.mark.parametrize("names", ["any,none-such", "", "any,,user", "ANY user"])
def test_branches_that_do_not_exist(kperf: Run, names: str) -> None:
    done = kperf("record", "--branch", names, "--", "true")
    assert (done.status, done.out) == (2, "")
    assert "branch" in done.err


@pytest.mark.skipif(not NO_PMU, reason="this machine may record branches")
@pytest.mark.parametrize("words", [(), ("-e", "cycles")])
def test_branches_are_never_left_out_silently(kperf: Run, words: tuple[str, ...]) -> None:
    done = kperf("record", *words, "--branch", "any,user", "--", "true")
    assert (done.status, done.out) == (1, "")
    assert "cycles" in done.error()


# ---- the buffer ----


@pytest.mark.parametrize("size", ["1M", "65536", "256K", "4MiB"])
def test_a_buffer_of_some_size(kperf: Run, busy: Path, size: str) -> None:
    assert kperf("record", *CLOCK, "-m", size, "--", busy, "spin", 100).status == 0


@pytest.mark.parametrize("size", ["", "0", "-1", "4X", "3G", "1.5M", "M", "9" * 30])
def test_a_size_that_is_none(kperf: Run, size: str) -> None:
    done = kperf("record", "-m", size, "--", "true")
    assert (done.status, done.out) == (2, "")
    assert "512K" in done.err
