"""Writing samples as files of each format, beside `perf script` that prints as many.

Usage: bench_export.py [RUNS] [SAMPLES]
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import in_turn, show, wall_time

import kperf
from kperf import export

_PERIOD_NS = 10_000

_PROGRAM = """
import sys, threading
def inner(n):
    return sum(i * i for i in range(n))
def outer(end):
    import time
    while time.process_time() < end:
        inner(300)
outer(float(sys.argv[1]))
"""


def sample(seconds: float) -> kperf.PmuData:
    """Call stacks of a Python program that runs for some time of a CPU."""
    words = [sys.executable, "-c", _PROGRAM, str(seconds)]
    with (
        kperf.Command(words) as command,
        kperf.Sampling(
            "cpu-clock",
            command=command,
            call_stack=True,
            period=_PERIOD_NS,
            buffer_bytes=1 << 25,
        ) as sampling,
    ):
        sampling.enable()
        command.start()
        os.waitpid(command.pid, 0)
        sampling.disable()
        return sampling.read()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    data = sample(wanted * _PERIOD_NS / 1e9)
    quality = data.quality
    assert quality.unresolved is not None  # looked up once, and not in the figures
    with tempfile.TemporaryDirectory(prefix="kperf-bench-") as folder:

        def write(form: str) -> float:
            begin = time.perf_counter()
            export.write(data, Path(folder, "out"), form)
            return time.perf_counter() - begin

        contenders = {form: lambda form=form: write(form) for form in export.FORMATS}
        if shutil.which("perf"):
            file = Path(folder, "perf.data")
            export.write(data, file, "perf.data")
            words = ["perf", "script", "-i", str(file)]
            subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            contenders = {"perf script": lambda: wall_time(words), **contenders}
        show(in_turn(f"{len(data):,} samples with call stacks", contenders, runs))
        for form in export.FORMATS:
            write(form)
            size = os.path.getsize(Path(folder, "out")) / len(data)
            print(f"  {form:<34} {size:9.1f} bytes a sample")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"  {quality.lost} samples lost; the most memory: {most:,} MiB")


if __name__ == "__main__":
    main()
