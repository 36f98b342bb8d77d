"""Many threads that open, use and close collections, under sanitizers of memory and of threads.

A few seconds of it in CI; `make endure` (KPERF_ENDURE_S=600) is ten minutes of each.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import PATIENCE_S, privileged

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "csrc"
COMPILER = os.environ.get("CC", "gcc").split()
FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-pthread", "-D_GNU_SOURCE")

THREADS = 16
SECONDS = int(os.environ.get("KPERF_ENDURE_S", "3"))

# The second is told that gcc knows: fences are not seen, and the core orders by atomics besides.
SANITIZERS = {
    "memory": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "threads": ("-fsanitize=thread", "-Wno-tsan"),
}

pytestmark = [
    privileged,
    pytest.mark.skipif(
        shutil.which(COMPILER[0]) is None, reason=f"no compiler: {COMPILER[0]} is not installed"
    ),
]


def build(folder: Path, flags: tuple[str, ...]) -> Path:
    def compiled(source: Path) -> Path:
        out = folder / f"{source.stem}.o"
        words = [*COMPILER, *FLAGS, '-DKPERF_VERSION="test"', f"-I{CORE}", *flags]
        subprocess.run([*words, "-c", source, "-o", out], check=True, timeout=PATIENCE_S)
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, [*CORE.glob("*.c"), HERE / "endure.c"]))
    program = folder / "endure"
    words = [*COMPILER, *flags, *objects, "-o", program, "-pthread"]
    subprocess.run(words, check=True, timeout=PATIENCE_S)
    return program


@pytest.mark.parametrize("kind", SANITIZERS)
def test_sixteen_threads(kind: str, tmp_path: Path) -> None:
    program = build(tmp_path, SANITIZERS[kind])
    # The sanitizer of threads wants addresses where older kernels put them.
    done = subprocess.run(
        ["setarch", platform.machine(), "-R", program, str(THREADS), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S + SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = re.fullmatch(
        r"(\d+) collections, (\d+) samples, 0 descriptors left, 0 failures\n", done.stdout
    )
    assert told, done.stdout
    assert all(int(number) > THREADS for number in told.groups())
    print(done.stdout)
