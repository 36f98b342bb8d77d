"""Decoding Arm SPE beside `perf report -D` and `perf script`. Prints figures; asserts none.

python tests/bench/bench_spe.py [RUNS [MEGABYTES]]

Times are CPU time, as a busy machine changes all others. perf gets the beginning of the stream,
as it takes minutes for all of it; its figure is for as many bytes.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

from harness import in_turn, show
from spe import perf_judge, streams

from kperf.machine import Machine
from kperf.spe.decode import Chunk, Keep, Recorded, decode

MADE_RECORDS = 20_000
FOR_PERF = 1 << 20
MEGA = 1_000_000


def cpu_time(action: Callable[[], object]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def child_time(argv: list[str]) -> float:
    before = os.times()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def throughput(stream: bytes, runs: int) -> None:
    machine, scale = Machine(), len(stream) / FOR_PERF
    kinds = {
        "records alone": Keep(rows=False),
        "sums": Keep(rows=False, sums=True),
        "sums with cache lines": Keep(rows=False, sums=True, lines=True),
        "rows": Keep(),
    }
    contenders: dict[str, Callable[[], float]] = {
        name: lambda keep=keep: cpu_time(  # type: ignore[misc]
            lambda: decode(Recorded([Chunk(0, 0, stream)]), keep, machine).free()
        )
        for name, keep in kinds.items()
    }
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "spe.data")
        Path(path).write_bytes(perf_judge.wrapped(stream[:FOR_PERF]))
        if shutil.which("perf"):
            script = ["perf", "script", "--itrace=i1iM", "-F", "tid,event,ip", "-i", path]
            contenders["perf report -D"] = lambda: (
                child_time(["perf", "report", "-D", "-i", path]) * scale
            )
            contenders["perf script"] = lambda: child_time(script) * scale
        figure = in_turn(f"{len(stream) / MEGA:.0f} MB of SPE records, CPU time", contenders, runs)
    show(figure)
    for name, times in figure.runs.items():
        print(f"  {name:<34} {len(stream) / MEGA / sorted(times)[len(times) // 2]:9.1f} MB/s")


def memory(stream: bytes) -> None:
    """How much more the sums of a stream take than those of its first tenth."""
    machine, keep = Machine(), Keep(rows=False, sums=True)
    print("\nmemory of sums, largest resident size")
    for part in (len(stream) // 10, len(stream)):
        decode(Recorded([Chunk(0, 0, memoryview(stream)[:part])]), keep, machine).free()
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  behind {part / MEGA:6.0f} MB: {largest / 1000:9.1f} MB")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    size = int(sys.argv[2]) * MEGA if len(sys.argv) > 2 else 100 * MEGA
    made = b"".join(streams.records(MADE_RECORDS))
    stream = made * (size // len(made) + 1)
    memory(stream)
    throughput(stream, runs)


if __name__ == "__main__":
    main()
