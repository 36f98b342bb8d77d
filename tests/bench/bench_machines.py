"""The CPU time that describing a large machine takes: 256 CPUs, 8 NUMA nodes, 64 memory channels.

Prints figures; asserts none. python tests/bench/bench_machines.py [RUNS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness import in_turn, show

sys.path.insert(0, str(Path(__file__).parents[1]))

from unit.trees import kunpeng2


def cpu_time(argv: Sequence[str]) -> float:
    """User and system time of one run, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        root = str(kunpeng2(Path(folder), cpus=256, nodes=8, channels=8).root)
        kperf = [str(Path(sys.executable).with_name("kperf")), "--sysroot", root]
        commands = {
            "kperf topo": [*kperf, "topo"],
            "kperf topo --json": [*kperf, "topo", "--json"],
            "kperf device --list": [*kperf, "device", "--list"],
            "kperf list devices": [*kperf, "list", "devices"],
        }
        contenders = {
            name: lambda argv=argv: cpu_time(argv)  # type: ignore[misc]
            for name, argv in commands.items()
        }
        show(in_turn("CPU time for 256 CPUs, 8 nodes, 64 channels", contenders, runs))


if __name__ == "__main__":
    main()
