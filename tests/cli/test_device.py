"""`kperf device`: the time stamp counter of this machine, and descriptions of others.

Values of other devices are judged in tests/vm.
"""

from __future__ import annotations

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Open, Run, Start
from support import online_cpus
from unit.trees import BUILDERS, Tree

TSC = Path("/sys/bus/event_source/devices/msr/events/tsc")

needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="this machine shows no msr/tsc/")


def shows_clusters() -> bool:
    """Whether the kernel tells clusters: no such file, -1 and 65535 mean no."""
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/cluster_id")
    return any(file.read_text().strip() not in ("-1", "65535") for file in files)


@pytest.fixture(scope="module")
def gen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS["kunpeng-gen2"](tmp_path_factory.mktemp("gen2")).root


def document(kperf: Run, *arguments: str) -> dict[str, Any]:
    done = kperf(*arguments)
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


# ---- measuring ----


@needs_tsc
def test_a_table(kperf: Run) -> None:
    done = kperf("device", "tsc", "-d", "0.1")
    assert done.status == 0, done.err
    lines = done.lines()
    where = ["socket", "numa", *(["cluster"] if shows_clusters() else []), "core", "cpu"]
    assert lines[2].split() == ["metric", *where, "value", "total", "of", "max"]
    rows = lines[3 : 3 + len(online_cpus())]
    assert all(row.startswith("tsc ") and " G/s " in row for row in rows)
    assert "quality: every counter counted all the time" in lines[-1]


@needs_tsc
def test_a_document(kperf: Run) -> None:
    found = document(kperf, "device", "tsc", "-d", "0.1", "--json")
    assert (found["command"], found["schema"], found["interval"]) == ("device", 1, None)
    assert found["target"] == {"system": True}
    assert [row["cpu"] for row in found["rows"]] == list(online_cpus())
    for row in found["rows"]:
        assert (row["metric"], row["unit"], row["running"]) == ("tsc", "/s", 1.0)
        assert row["value"] > 1e8
        assert isinstance(row["amount"], int)
        assert (row["channel"], row["bdf"]) == (None, None)
    assert max(row["share"] for row in found["rows"]) == 1


@needs_tsc
def test_totals_are_the_rows(kperf: Run) -> None:
    found = document(kperf, "device", "tsc", "-d", "0.1", "--json")
    rows = found["rows"]
    if len(rows) < 2:
        assert found["totals"] == []
        return
    (total,) = found["totals"]
    assert total["amount"] == sum(row["amount"] for row in rows)
    assert total["value"] == pytest.approx(sum(row["value"] for row in rows))


@needs_tsc
def test_added_up(kperf: Run) -> None:
    found = document(kperf, "device", "tsc", "--by", "socket", "-d", "0.1", "--json")
    sockets = [row["socket"] for row in found["rows"]]
    assert sockets == sorted(set(sockets))
    assert all(row["cpu"] is None for row in found["rows"])


@needs_tsc
def test_intervals(kperf: Run) -> None:
    done = kperf("device", "tsc", "-I", "60", "--interval-count", "3", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["interval"] for row in rows[:: len(online_cpus())]] == ["0", "1", "2"]
    assert {row["unit"] for row in rows} == {"/s"}
    blocks = kperf("device", "tsc", "-I", "60", "--interval-count", "3")
    assert blocks.out.count("interval ") == 3
    assert "\x1b" not in blocks.out


@needs_tsc
def test_while_a_command_runs(kperf: Run) -> None:
    found = document(kperf, "device", "tsc", "--json", "--", "sleep", "0.2")
    assert found["duration_ns"] >= 200_000_000
    assert found["exit_status"] == 0
    assert found["target"] == {"argv": ["sleep", "0.2"], "system": True}
    assert kperf("device", "tsc", "-q", "--", "sh", "-c", "exit 7").status == 7
    assert kperf("device", "tsc", "--", "/nowhere/at-all").status == 127


@needs_tsc
def test_results_in_a_file(kperf: Run, tmp_path: Path) -> None:
    path = tmp_path / "tsc.json"
    done = kperf("device", "tsc", "-d", "0.05", "-o", str(path))
    assert (done.status, done.out) == (0, "")
    assert json.loads(path.read_text())["rows"]


@needs_tsc
def test_interrupted_shows_what_there_is(start_kperf: Start) -> None:
    running = start_kperf("device", "tsc", "-I", "100")
    running.wait_for_counters()
    running.signal(signal.SIGINT)
    done = running.finish()
    assert done.status == 0
    assert done.out.startswith("interval 0")


@needs_tsc
def test_duplicates_count_once(kperf: Run) -> None:
    found = document(kperf, "device", "tsc,tsc", "PMU_TSC", "-d", "0.05", "--json")
    assert len(found["rows"]) == len(online_cpus())


@needs_tsc
def test_a_terminal_is_drawn_in_place(terminal: Open) -> None:
    from cli.processes import KPERF

    shown = terminal(KPERF, "device", "tsc", "-I", "100", "--interval-count", "3")
    done = shown.finish()
    assert done.status == 0
    assert done.out.count("history") >= 3
    assert "\x1b[1A" in done.out  # back up to draw again
    assert done.out.rstrip().endswith("\x1b[?25h")  # and the cursor is back


@needs_tsc
@pytest.mark.parametrize(
    ("arguments", "env"), [((), {"TERM": "dumb"}), (("--", "sleep", "0.35"), {})]
)
def test_a_terminal_that_cannot_be_drawn_over_has_blocks(
    terminal: Open, arguments: tuple[str, ...], env: dict[str, str]
) -> None:
    """One that knows no way back, and one that a command writes to as well."""
    from cli.processes import KPERF

    call = [KPERF, "device", "tsc", "-I", "100", "--interval-count", "2", *arguments]
    done = terminal(*call, env=env).finish()
    assert "\x1b[1A" not in done.out
    assert done.out.count("quality: ") == 2
    assert "\n\n" in done.out.partition("quality: ")[2]


@needs_tsc
def test_in_place_without_colour(terminal: Open) -> None:
    from cli.processes import KPERF

    done = terminal(
        KPERF, "--no-color", "device", "tsc", "-I", "100", "--interval-count", "2"
    ).finish()
    assert "\x1b[1A" in done.out
    assert "\x1b[1m" not in done.out


# ---- refusals ----


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "there is nothing to measure"),
        (["ddr-raed-bw"], 1, "did you mean ddr-read-bw"),
        (["tsc", "--bdf", "00:00.0", "hha-cross-numa"], 1, "cannot be measured here"),
        (["--bdf", "zz", "pcie-rx-mrd-bw"], 1, "'zz' is no BDF"),
        (["pcie-rx-mrd-bw"], 1, "cannot be measured here"),
        (["tsc", "--by", "planet"], 2, "--by"),
        (["tsc", "--interval-count", "3"], 2, "add -I"),
        (["tsc", "-v"], 2, "-v goes with --list"),
        (["--list", "-d", "1"], 2, "--list measures nothing"),
        (["--list", "no-such-metric"], 1, "unknown metric"),
        (["tsc", "--"], 2, "no command after --"),
    ],
)
def test_refused(kperf: Run, arguments: list[str], status: int, words: str) -> None:
    done = kperf("device", *arguments)
    assert (done.status, done.out) == (status, "")
    assert words in done.error()


@needs_tsc
def test_sums_that_cannot_be(kperf: Run) -> None:
    done = kperf("device", "tsc", "--by", "channel", "-d", "0.1")
    assert done.status == 1
    assert "tsc is measured by core, and cannot be shown by channel" in done.error()


def test_other_machines_are_described_only(kperf: Run, gen2: Path) -> None:
    done = kperf("--sysroot", str(gen2), "device", "ddr-read-bw")
    assert (done.status, done.out) == (2, "")


# ---- the catalog ----


def listed(kperf: Run, root: Path) -> dict[str, dict[str, Any]]:
    found = document(kperf, "--sysroot", str(root), "device", "--list", "--json")
    return {row["name"]: row for row in found["rows"]}


def test_what_a_kunpeng_has(kperf: Run, gen2: Path) -> None:
    found = listed(kperf, gen2)
    here = {name for name, row in found.items() if row["available"]}
    assert here == {
        *("ddr-read-bw", "ddr-write-bw", "ddr-bw", "l3-traffic", "l3-miss", "l3-ref", "l3-lat"),
        *("pcie-rx-mrd-bw", "pcie-rx-mwr-bw", "pcie-tx-mrd-bw", "pcie-tx-mwr-bw", "smmu-tran"),
        *("pcie-rx-mrd-lat", "pcie-rx-mwr-lat", "pcie-tx-mrd-lat"),
        *("hha-cross-numa", "hha-cross-socket", "l3-mean-lat"),
    }
    reads = found["ddr-read-bw"]
    assert len(reads["pmus"]) == 16
    assert reads["formula"] == "flux_rd (flux_rd x 32)"
    assert reads["confirmed"] is False
    assert found["smmu-tran"]["devices"] == ["7a:00.0", "b9:00.0"]
    assert found["hha-cross-numa"]["confirmed"] is True
    assert "modprobe" not in str(found["slc-ref"]["reason"])
    assert found["energy-pkg"]["reason"] == "not on this kind of machine: it takes power"


@pytest.mark.parametrize(
    ("name", "metric", "available"),
    [
        ("kunpeng-96", "ddr-read-bw", True),
        ("kunpeng-96", "l3-lat", False),
        ("xeon", "ddr-write-bw", True),
        ("xeon", "energy-ram", True),
        ("epyc", "ddr-read-bw", True),
        ("grace", "l3-miss", True),
        ("hybrid", "ddr-read-bw", True),
        ("guest", "ddr-read-bw", False),
    ],
)
def test_what_others_have(
    kperf: Run, tmp_path: Path, name: str, metric: str, available: bool
) -> None:
    row = listed(kperf, BUILDERS[name](tmp_path).root)[metric]
    assert row["available"] is available
    assert (row["reason"] is None) is available


def test_list_as_a_table(kperf: Run, gen2: Path) -> None:
    done = kperf("--sysroot", str(gen2), "device", "--list", "ddr-read-bw,slc-ref", "-v")
    assert "1 of 2 metrics can be measured here" in done.out
    assert "UNCONFIRMED: codes: drivers/perf/hisilicon" in done.out
    assert "not on this kind of machine" in done.out


def test_list_names_what_cannot_be_read(kperf: Run, tmp_path: Path) -> None:
    tree: Tree = BUILDERS["kunpeng-gen2"](tmp_path)
    tree.pmu_file("hisi_sccl1_ddrc0_0", "events/flux_rd", "rubbish=1")
    done = kperf("--sysroot", str(tree.root), "device", "--list", "ddr-read-bw")
    assert done.status == 0
    assert "left out: hisi_sccl1_ddrc0_0: events/flux_rd says 'rubbish=1'" in done.out
    assert "from 15 PMUs" in done.out


@needs_tsc
def test_users_without_permission_are_told(user_kperf: Run) -> None:
    done = user_kperf("device", "--list", "tsc")
    level = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    if level > 0:
        assert "no permission" in done.out
    done = user_kperf("device", "tsc", "-d", "0.1")
    if level > 0:
        assert done.status == 1
        assert "no permission" in done.error()
