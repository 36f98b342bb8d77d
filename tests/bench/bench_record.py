"""`kperf record` and the sampling library beside perf. Prints figures; asserts none.

python tests/bench/bench_record.py [RUNS]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import in_turn, show

import kperf

WRITE = "syscalls:sys_enter_write"
MANY = 1_000_000
KPERF = shutil.which("kperf") or "kperf"
HAS_PERF = shutil.which("perf") is not None


def build(folder: str) -> str:
    program = f"{folder}/sampled"
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"]
    source = Path(__file__).with_name("sampled.c")
    subprocess.run([shutil.which("cc") or "gcc", *flags, "-o", program, source], check=True)
    return program


def run(argv: list[str]) -> tuple[int, int]:
    """When the program beneath a command ended and what CPU time it took: ns."""
    for _ in range(5):  # perf 6.1 aborts now and then, with nothing to show
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        found = re.search(r"^ended (\d+) (\d+)$", done.stderr, re.M)
        if done.returncode == 0 and found:
            return int(found[1]), int(found[2])
    raise RuntimeError(f"{argv}: exit {done.returncode}\n{done.stderr}")


# ---- the command ----


def slowdown(program: str, folder: str, runs: int) -> None:
    """What sampling costs the program: its CPU time, which interrupts are charged to."""
    for rate in ("4000", "10000"):
        words = [program, "spin", "600000"]
        clock = ["-e", "cpu-clock", "-F", rate]
        commands = {"kperf record": [KPERF, "record", *clock, "--", *words], "alone": words}
        if HAS_PERF:
            output = ["-q", "-o", f"{folder}/perf.data"]
            commands["perf record"] = ["perf", "record", *clock, *output, "--", *words]
        contenders: dict[str, Callable[[], float]] = {
            name: lambda argv=argv: run(argv)[1] / 1e9 for name, argv in commands.items()
        }
        show(in_turn(f"the program's CPU time, sampled at {rate} Hz", contenders, runs))


def to_the_table(program: str, folder: str, runs: int) -> None:
    """From the end of the program to the end of the table."""
    words = ["-e", "cpu-clock", "-F", "4000"]
    command = [program, "spin", "600000"]

    def kperf_record() -> float:
        ended, _ = run([KPERF, "record", *words, "--", *command])
        return (time.monotonic_ns() - ended) / 1e9

    def perf_report() -> float:
        file = f"{folder}/perf.data"
        ended, _ = run(["perf", "record", *words, "-o", file, "-q", "--", *command])
        subprocess.run(["perf", "report", "--stdio", "-i", file], capture_output=True, check=True)
        return (time.monotonic_ns() - ended) / 1e9

    contenders: dict[str, Callable[[], float]] = {"kperf record": kperf_record}
    if HAS_PERF:
        contenders["perf record, perf report --stdio"] = perf_report
    show(in_turn("from the end of the program to the table", contenders, runs))


# ---- the library ----


def lost(program: str) -> None:
    with sampled([program, "spin", "600000"], "cpu-clock", frequency=10_000) as sampling:
        data = sampling.read()
    print(f"\nat 10,000 Hz with call stacks: {len(data)} samples, {data.quality.lost} lost")


@contextmanager
def sampled(argv: list[str], event: str, **options: Any) -> Iterator[kperf.Sampling]:
    """A sampling with call stacks of a command that has ended."""
    with (
        kperf.Command(argv) as command,
        kperf.Sampling(event, command=command, call_stack=True, **options) as sampling,
    ):
        sampling.enable()
        command.start()
        os.waitpid(command.pid, 0)
        sampling.disable()
        yield sampling


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def busy(action: Callable[[], Any]) -> float:
    """The CPU time of what waits for nothing: others may be using the machine."""
    begin = time.process_time()
    action()
    return time.process_time() - begin


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def touch_rows(data: Any) -> None:
    for row in data:
        row.pid, row.tid, row.cpu, row.evt, row.names[0]


def walk_names(data: Any) -> None:
    for row in data:
        for _ in row.names:
            pass


def walk_frames(data: Any) -> None:
    for row in data:
        for frame in row.frames:
            _ = frame.symbolName


# A program whose stacks differ: it calls itself to any depth, and from there libraries.
REAL = """
import json, random, re, sys, time
table = {str(i): [random.random() for _ in range(20)] for i in range(200)}
def work(depth):
    if depth:
        return work(depth - 1)
    text = json.dumps(table)
    json.loads(text), re.findall("[0-9]+", text), sorted(table, key=lambda key: str(table[key]))
end = time.time() + float(sys.argv[1])
while time.time() < end:
    work(random.randrange(15))
"""


def memory() -> None:
    """What the samples of a real program take, with their call stacks."""
    before = resident_bytes()
    argv = [sys.executable, "-c", REAL, "12"]
    with sampled(argv, "cpu-clock", period=25_000) as sampling:
        data = sampling.read()
        taken = resident_bytes() - before
    n = max(1, len(data))
    stacks = len(set(data.columns()["stack"]))
    print(f"\n{n:,} samples of CPython, {data.quality.lost} lost, {stacks:,} different stacks")
    print(f"  bytes a sample                     {taken / n:9.1f} by resident memory")


def a_million(program: str) -> None:
    before = resident_bytes()
    options = {"buffer_bytes": 1 << 25}
    with sampled([program, "write", str(MANY)], WRITE, **options) as sampling:
        spent, data = timed(sampling.read)
        after = resident_bytes()
    n = max(1, len(data))
    depth = len(data[0].names) if len(data) else 0
    print(f"\n{n:,} samples of {depth} frames, {data.quality.lost} lost")
    print(f"  read()                             {spent * 1e3:9.2f} ms")
    columns = sum(view.nbytes for view in data.columns().values())
    print(f"  bytes a sample                     {columns / n:9.1f} in columns")
    print(f"  with a tracepoint's own fields     {(after - before) / n:9.1f} by resident memory")
    for name, action in (
        ("pid, tid, cpu, evt, names[0]", touch_rows),
        ("for name in row.names", walk_names),
        ("for frame in row.frames: its name", walk_frames),
    ):
        spent = busy(lambda action=action: action(data))
        print(f"  {name:<34} {spent * 1e3:9.2f} ms CPU ({spent / n * 1e6:.2f} us a sample)")


def opening(program: str, runs: int) -> None:
    """A process's first event waits for the kernel (an RCU grace period): that is the baseline."""
    for threads in (1, 16):

        def opened(make: Callable[[int], Any], threads: int = threads) -> float:
            with subprocess.Popen(
                [program, "wait", str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                spent, session = timed(lambda: make(process.pid))
                session.close()
                assert process.stdin is not None
                process.stdin.close()
            return spent

        contenders: dict[str, Callable[[], float]] = {
            "kperf.Sampling": lambda: opened(lambda pid: kperf.Sampling("cpu-clock", pids=[pid])),
            "kperf.Counting, one event": lambda: opened(
                lambda pid: kperf.Counting("dummy", pids=[pid])
            ),
        }
        show(in_turn(f"opening, {threads} threads", contenders, runs))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        slowdown(program, folder, runs)
        to_the_table(program, folder, runs)
        lost(program)
        memory()
        a_million(program)
        opening(program, runs)


if __name__ == "__main__":
    main()
