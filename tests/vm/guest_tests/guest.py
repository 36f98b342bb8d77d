"""The guest's devices with the rates they are known to have, and ways to measure them."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import kperf
import kperf_cli.list
import kperf_cli.main
import kperf_cli.stat

EVENT_SOURCE = Path("/sys/bus/event_source/devices")

# Device: how fast it counts (module/rigsoc.c and rigpmu.c: `unit`), and the CPU it is read on.
DEVICES = {
    "hisi_sccl1_ddrc0": (1, 0),
    "hisi_sccl1_ddrc1": (2, 0),
    "hisi_sccl1_ddrc2": (3, 0),
    "hisi_sccl1_ddrc3": (4, 0),
    "hisi_sccl3_ddrc0": (5, 1),
    "hisi_sccl3_ddrc1": (6, 1),
    "hisi_sccl3_ddrc2": (7, 1),
    "hisi_sccl3_ddrc3": (8, 1),
    "hisi_sccl1_hha0": (1, 0),
    "hisi_sccl1_hha1": (2, 0),
    "hisi_sccl3_hha2": (3, 1),
    "hisi_sccl3_hha3": (4, 1),
    "hisi_sccl1_l3c0": (1, 0),
    "hisi_sccl3_l3c2": (2, 1),
    "smmuv3_pmcg_100020": (1, 0),
    "smmuv3_pmcg_100040": (2, 0),
    "hisi_pcie0_core0": (1, 0),
    "hisi_pcie0_core1": (2, 1),
}

# What stands in their place after `rig-pmus second`.
SECOND_GENERATION = {
    "hisi_sccl1_ddrc0_0": (1, 0),
    "hisi_sccl1_ddrc0_1": (2, 0),
    "hisi_sccl3_ddrc0_0": (3, 1),
    "hisi_sccl3_ddrc0_1": (4, 1),
    "hisi_sccl1_l3c0_0": (1, 0),
    "hisi_sccl3_l3c2_0": (2, 1),
    "hisi_sccl1_hha0_0": (1, 0),
    "hisi_sccl3_hha2_0": (2, 1),
}

_PR_SET_DUMPABLE = 4

# The devices advance their counters this often: one step may be missing at each end of a window.
TICK_US = 500

# Event: its code, of which a device counts (code & 0xff) + 1 times its unit in a microsecond.
_CODES = {
    "flux_wr": 0x0,
    "flux_rd": 0x1,
    "flux_wcmd": 0x2,
    "flux_rcmd": 0x3,
    "pre_cmd": 0x4,
    "act_cmd": 0x5,
    "rnk_chg": 0x6,
    "rw_chg": 0x7,
    "rx_ops_num": 0x0,
    "rd_ddr_64b": 0x1C,
    "rd_cpipe": 0x0,
    "back_invalid": 0x29,
    "transaction": 0x1,
    "tlb_miss": 0x2,
    "rx_mrd_cnt": 0x10210,
    "rx_mrd_latency": 0x210,
    "rx_mrd_flux": 0x804,
    "rx_mrd_time": 0x10804,
    "tx_mrd_flux": 0x405,
}

# What the second generation codes otherwise.
_CODES_2 = {
    "flux_wr": 0x83,
    "flux_rd": 0x84,
    "latency": 0x80,
    "l3c_ref": 0xB8,
    "other": 0xCE,
}


def _code(device: str, name: str) -> int:
    codes = {**_CODES, **_CODES_2} if device in SECOND_GENERATION else _CODES
    return codes[name]


def known_rate(event: str) -> float:
    """What an event of a device counts in a microsecond."""
    device, terms = event.split("/")[:2]
    name = terms.partition(",")[0]
    code, unit = _code(device, name), {**DEVICES, **SECOND_GENERATION}[device][0]
    sums = device.startswith("hisi_pcie") and not code & 0x10000
    return ((code & 0xFF) + 1) * unit * (100 if sums else 1)


class Count(NamedTuple):
    """A count with the time that it stands for."""

    count: int
    us: float

    @property
    def rate(self) -> float:
        return self.count / self.us

    def slack(self, per_us: float) -> float:
        """How far the rate may be off: 1% and one step of the counter at each end."""
        return per_us * (0.01 + 2 * TICK_US / self.us)


def counted(row: Any) -> Count:
    """A row of the library that was counted all the time."""
    assert (row.state, row.countPercent) == ("counted", 1.0), row
    return Count(row.count, row.timeEnabled / 1000)


def shown(row: dict[str, Any]) -> Count:
    """A row of `kperf stat --json` that was counted all the time."""
    assert (row["state"], row["running"]) == ("counted", 1.0), row
    return Count(row["count"], row["enabled_ns"] / 1000)


Wrong = dict[str, str]  # by event, in words


def wrong_rates(counts: Mapping[str, Count], factor: int = 1) -> Wrong:
    """The events that are not counted at their known rate."""
    known = {event: known_rate(event) * factor for event in counts}
    return {
        event: f"{count} where {known[event]} a microsecond are counted"
        for event, count in counts.items()
        if abs(count.rate - known[event]) > count.slack(known[event])
    }


def settle(attempt: Callable[[Sequence[str]], Wrong], events: Sequence[str]) -> None:
    """Measures until every event was right once, a few times at most.

    A busy host holds up the timers that move the devices' registers, and a window that ends in
    such a moment lacks more than one step. A wrong rate stays wrong.
    """
    wrong: Wrong = {}
    for _ in range(5):
        wrong = attempt(events)
        events = list(wrong)
        if not events:
            return
    raise AssertionError("; ".join(f"{event}: {words}" for event, words in wrong.items()))


def count(events: Any, seconds: float = 0.5, **target: Any) -> list[Any]:
    """The library's rows for a while of this machine, or of a target."""
    with kperf.Counting(events, **target) as counting:
        counting.enable()
        time.sleep(seconds)
        counting.disable()
        return list(counting.read())


def count_here(events: Any, work: Any, **options: Any) -> list[Any]:
    """The library's rows for a function that runs in this very process."""
    with kperf.Counting(events, pids=[os.getpid()], **options) as counting:
        counting.enable()
        work()
        counting.disable()
        return list(counting.read())


def spin(seconds: float = 0.3) -> None:
    """Uses the CPU for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """A command, with its output as text."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


def _become_kperf(arguments: tuple[str, ...], out: int, err: int, user: bool) -> NoReturn:
    """Turns a forked child into a `kperf` command, with what is imported already."""
    status: Any = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["kperf", *arguments]
        if user:
            os.setgroups([])
            os.setgid(1000)
            os.setuid(1000)
            # As after an exec: a process that changed its user is nobody's to look at, nor are the
            # commands it starts.
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        kperf_cli.main.main()
    except SystemExit as leaving:
        status = leaving.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def kperf_command(*arguments: str, user: bool = False) -> subprocess.CompletedProcess[str]:
    """`kperf ARGUMENTS`, as root or as an ordinary user.

    In a child of this process: a Python of its own takes seconds to start here.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            _become_kperf(arguments, out.fileno(), err.fileno(), user)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


def stat_lines(*arguments: str, user: bool = False) -> list[dict[str, Any]]:
    """The JSON documents of a `kperf stat` that went well."""
    done = kperf_command("stat", "--json", *arguments, user=user)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def stat(*arguments: str, user: bool = False) -> dict[str, Any]:
    """The JSON document of a `kperf stat`, with the rows by event under "events"."""
    (document,) = stat_lines(*arguments, user=user)
    document["events"] = {row["event"]: row for row in document["rows"]}
    return document


def perf_stat(*arguments: str) -> list[Count]:
    """The judge: what `perf stat` counts, in the order of the events."""
    done = run("perf", "stat", "-x", ";", *arguments)
    assert done.returncode == 0, done.stderr
    fields = [line.split(";") for line in done.stderr.splitlines() if line.count(";") > 3]
    assert fields, done.stderr
    return [Count(int(float(field[0])), int(field[3]) / 1000) for field in fields]
