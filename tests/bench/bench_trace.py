"""`kperf trace` beside perf. Prints figures; asserts none.

python tests/bench/bench_trace.py [RUNS]

The program does 1,000,000 pairs of a one-byte write and read, and tells how long that took it:
what a tracer adds to that is its cost to the program. What the tracer needs besides, before and
after, is in the time of the whole command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import in_turn, show, wall_time

import kperf

PAIRS = 1_000_000
_SOURCE = Path(__file__).parents[1] / "trace" / "programs" / "pairs.c"
_TRACEPOINTS = ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit")


class _Program:
    """The program, compiled, and where it tells its time."""

    def __init__(self, folder: Path) -> None:
        self._binary = folder / "pairs"
        self._told = folder / "told"
        compiler = shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-O1", "-o", self._binary, _SOURCE], check=True)

    def argv(self, pairs: int = PAIRS) -> list[str]:
        return [str(self._binary), str(pairs), str(self._told)]

    def told(self) -> float:
        """How long its pairs took, in seconds."""
        return int(self._told.read_text()) / 1e9


def _through_library(program: _Program, *, keep_calls: bool) -> tuple[int, int]:
    """Traces one run; returns how many calls were taken and how many lost."""
    with (
        kperf.Command(program.argv()) as command,
        kperf.SyscallTrace(
            ["read", "write"], command=command, enable_on_exec=True, keep_calls=keep_calls
        ) as trace,
    ):
        command.start()
        os.waitpid(command.pid, 0)
        trace.disable()
        quality = trace.read().quality
    return quality.samples or 0, quality.lost or 0


def _perf_record(program: _Program, data: Path) -> list[str]:
    numbers = kperf.Machine().arch
    wanted = {"x86_64": "id == 0 || id == 1", "aarch64": "id == 63 || id == 64"}[numbers]
    events = [word for name in _TRACEPOINTS for word in ("-e", name, "--filter", wanted)]
    return ["perf", "record", "-q", "-m", "8M", *events, "-o", str(data), "--", *program.argv()]


def cost(program: _Program, folder: Path, runs: int) -> None:
    """What tracing costs the program, and the whole command."""
    kperf_command = shutil.which("kperf") or "kperf"
    summary = [kperf_command, "trace", "read,write", "--", *program.argv()]
    through_rings = [*summary[:3], "--engine", "ring", *summary[3:]]
    losses: list[int] = []

    def in_program(run: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            run()
            return program.told()

        return measure

    def to_memory() -> None:
        losses.append(_through_library(program, keep_calls=True)[1])

    def run(argv: Sequence[str]) -> Callable[[], object]:
        return lambda: wall_time(argv)

    own = {
        "kperf trace read,write": in_program(run(summary)),
        "the same with --engine ring": in_program(run(through_rings)),
        "kperf.SyscallTrace, all calls kept": in_program(to_memory),
        "untraced": in_program(run(program.argv())),
    }
    whole = {
        "kperf trace read,write": lambda: wall_time(summary),
        "untraced": lambda: wall_time(program.argv()),
    }
    if shutil.which("perf"):
        record = _perf_record(program, folder / "perf.data")
        own["perf record of both tracepoints"] = in_program(run(record))
        whole["perf record of both tracepoints"] = lambda: wall_time(record)
    show(in_turn(f"{PAIRS:,} pairs of write and read: the program's own time", own, runs))
    print(f"  calls lost in {len(losses)} runs that kept all: {sum(losses):,}")
    show(in_turn("the same: the whole command", whole, runs))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory(program: _Program) -> None:
    """The summary of 10,000,000 calls: what the tracing process grows by."""
    print("\nmemory over 10,000,000 calls in the summary")
    with kperf.SyscallTrace(
        ["read", "write"], cpus=list(kperf.Machine().online_cpus), keep_calls=False
    ) as trace:
        trace.enable()
        for part in range(5):
            subprocess.run(program.argv(PAIRS), check=True)
            print(f"  after {2 * PAIRS * (part + 1):>10,} calls {_resident() / 1e6:9.1f} MB")
        trace.disable()
        summary = trace.summary()
    taken = sum(row.count for row in summary.rows)
    print(f"  calls taken {taken:,}, lost {summary.quality.lost or 0:,}")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="kperf-bench-") as name:
        program = _Program(Path(name))
        cost(program, Path(name), runs)
        memory(program)


if __name__ == "__main__":
    main()
