"""Many threads that open, use and close collections, under sanitizers of memory and of threads.

A few seconds of it in CI; `make endure` (KPERF_ENDURE_S=600) is ten minutes of each.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import c_programs
import pytest
from support import PATIENCE_S, privileged

HERE = Path(__file__).parent

THREADS = 16
SECONDS = int(os.environ.get("KPERF_ENDURE_S", "3"))

KINDS = {"memory": c_programs.MEMORY, "threads": c_programs.THREADS}

pytestmark = [privileged, c_programs.needs_compiler]


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_threads(kind: str, tmp_path: Path) -> None:
    program = c_programs.build(tmp_path / "endure", [HERE / "endure.c"], KINDS[kind])
    # The sanitizer of threads wants addresses where older kernels put them.
    bare = ("setarch", platform.machine(), "-R")
    limit = PATIENCE_S + SECONDS * 2
    done = c_programs.run(*bare, program, str(THREADS), str(SECONDS), seconds=limit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = re.fullmatch(
        r"(\d+) collections, (\d+) samples, 0 descriptors left, 0 failures\n", done.stdout
    )
    assert told, done.stdout
    assert all(int(number) > THREADS for number in told.groups())
    print(done.stdout)
