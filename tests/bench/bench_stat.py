"""`kperf stat` and the counting library beside perf. Prints figures; asserts none.

python tests/bench/bench_stat.py [RUNS]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from harness import in_turn, show, wall_time

import kperf

THREADS = 200
COUNTERS = 10_000


def start_up(runs: int) -> None:
    """What a user waits for beside the command that is counted."""
    kperf_command = [sys.executable, "-m", "kperf_cli", "stat", "--", "true"]
    installed = shutil.which("kperf")
    if installed is not None:
        kperf_command = [installed, "stat", "--", "true"]
    contenders: dict[str, Callable[[], float]] = {
        "kperf stat -- true": lambda: wall_time(kperf_command),
        "python3 -c 'import click'": lambda: wall_time([sys.executable, "-c", "import click"]),
        "python3 -c pass": lambda: wall_time([sys.executable, "-c", "pass"]),
    }
    if shutil.which("perf"):
        contenders["perf stat -- true"] = lambda: wall_time(["perf", "stat", "--", "true"])
    show(in_turn("start-up", contenders, runs))


def attach(runs: int) -> None:
    """A process of many threads: every thread's counters, opened and closed again."""
    target = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import threading\n"
            "stop = threading.Event()\n"
            f"for _ in range({THREADS} - 1):\n"
            "    threading.Thread(target=stop.wait, daemon=True).start()\n"
            "print('ready', flush=True)\n"
            "input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert target.stdout is not None
    assert target.stdin is not None
    target.stdout.readline()
    events = "task-clock,context-switches,cpu-migrations,page-faults"

    def library() -> float:
        begin = time.perf_counter()
        kperf.Counting(events, pids=[target.pid]).close()
        return time.perf_counter() - begin

    pid = str(target.pid)
    kperf_command = [shutil.which("kperf") or "kperf", "stat", "-e", events, "-p", pid]
    contenders: dict[str, Callable[[], float]] = {
        "kperf.Counting(...).close()": library,
        "kperf stat -p PID -- true": lambda: wall_time([*kperf_command, "--", "true"]),
    }
    if shutil.which("perf"):
        perf_command = ["perf", "stat", "-e", events, "-p", pid, "--", "true"]
        contenders["perf stat -p PID -- true"] = lambda: wall_time(perf_command)
    show(in_turn(f"attach to {THREADS} threads, 4 events each", contenders, runs))
    target.stdin.write("\n")
    target.stdin.close()
    target.wait()


def read_many(runs: int) -> None:
    """One read of very many counters: all in one session, and the cost of a counter."""
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    tids = [thread.native_id for thread in threads if thread.native_id is not None]
    events = ["page-faults"] * (COUNTERS // len(tids))
    with kperf.Counting(events, tids=tids) as counting:
        counting.enable()

        def read() -> float:
            begin = time.perf_counter()
            data = counting.read()
            spent = time.perf_counter() - begin
            assert len(data) == len(tids) * len(events)
            return spent

        def iterate() -> float:
            data = counting.read()
            begin = time.perf_counter()
            total = sum(row.count for row in data)
            spent = time.perf_counter() - begin
            assert total >= 0
            return spent

        show(in_turn(f"{COUNTERS:,} counters", {"read()": read, "sum of row.count": iterate}, runs))
    stop.set()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    start_up(runs)
    attach(runs)
    read_many(runs)


if __name__ == "__main__":
    main()
