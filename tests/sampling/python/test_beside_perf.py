"""`perf record` and kperf at once on the same process: each function's share is the same."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sampling.python.programs import ROUNDS, Programs, let_go, top, waiting
from support import PATIENCE_S

import kperf

pytestmark = pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")

CLOCK = "cpu-clock:u"
FEWEST = 0.02  # a function with less than this share tells little


@contextmanager
def perf_recording(pid: int, file: Path) -> Iterator[None]:
    """perf, attached and enabled; it has ended when the block does."""
    control, asks = os.pipe()
    answers, acknowledge = os.pipe()
    # Kernels mark records of mappings as telling a build-id for all events if one of them, such as
    # kperf's, asks for it; perf aborts where its own have none.
    words = ["perf", "record", "-q", "--buildid-mmap", "-D", "-1", "-e", CLOCK, "-F", "2000"]
    words += ["-m", "1024"]
    words += ["-p", str(pid), "-o", str(file), "--control", f"fd:{control},{acknowledge}"]
    with subprocess.Popen(words, pass_fds=(control, acknowledge)) as perf:
        os.close(control)
        os.close(acknowledge)
        os.write(asks, b"enable\n")
        assert os.read(answers, 4) == b"ack\n"
        try:
            yield
        finally:
            assert perf.wait(PATIENCE_S) == 0
            os.close(asks)
            os.close(answers)


def names_by_perf(file: Path) -> Counter[str]:
    words = ["perf", "script", "-i", str(file), "-F", "ip,sym"]
    script = subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
    lines = (line.split(maxsplit=1) for line in script.stdout.splitlines())
    return Counter(words[1] for words in lines if len(words) == 2 and words[1] != "[unknown]")


def check_alike(ours: Counter[str], theirs: Counter[str], *, named: set[str]) -> None:
    """Each function's share within 5 sigma of the difference."""
    n1, n2 = sum(ours.values()), sum(theirs.values())
    assert min(n1, n2) >= 100, (n1, n2)
    shares = {name: (ours[name] + theirs[name]) / (n1 + n2) for name in ours.keys() | theirs.keys()}
    compared = {name for name, p in shares.items() if p >= FEWEST}
    assert named <= compared, (ours.most_common(9), theirs.most_common(9))
    for name in compared:
        p = shares[name]
        sigma = math.sqrt(p * (1 - p) * (1 / n1 + 1 / n2))
        assert abs(ours[name] / n1 - theirs[name] / n2) <= 5 * sigma, (name, ours, theirs)


def compare(tmp_path: Path, argv: list[object], named: set[str]) -> None:
    file = tmp_path / "perf.data"
    with (
        waiting(*argv) as process,
        kperf.Sampling(CLOCK, pids=[process.pid], frequency=2000) as sampling,
    ):
        with perf_recording(process.pid, file):
            sampling.enable()
            let_go(process)
        ours = Counter(top(row) for row in sampling.read() if row.frames[0].resolved)
    check_alike(ours, names_by_perf(file), named=named)


def test_known_shares(busy: Path, tmp_path: Path) -> None:
    compare(tmp_path, [busy, "spin", ROUNDS], {"sixty", "thirty", "ten"})


def test_two_hundred_threads(busy: Path, tmp_path: Path) -> None:
    compare(tmp_path, [busy, "threads", 200, ROUNDS // 200], {"sixty", "thirty", "ten"})


def test_a_program_that_loads_and_execs(programs: Programs, tmp_path: Path) -> None:
    n = ROUNDS // 2
    argv = [programs.busy, "library", programs.library, n, "exec", programs.other, n]
    compare(tmp_path, argv, {"after_exec", "in_the_library"})


def test_an_interpreter(tmp_path: Path) -> None:
    source = "import sys; sys.stdin.read(); print(sum(hash((i, str(i))) for i in range(900000)))"
    compare(tmp_path, [sys.executable, "-c", source], set())
