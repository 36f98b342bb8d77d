"""Test programs in C around the collection core, which is compiled once for all of a kind.

A kind is its flags: none, `MEMORY` (ASan and UBSan) or `THREADS` (TSan).
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parent / "csrc"
CHECKS = HERE / "core"  # check.h and check.c

COMPILER = tuple(os.environ.get("CC", "gcc").split())
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# It is told that gcc knows: fences are not seen, and the core orders by atomics besides.
THREADS = ("-fsanitize=thread", "-Wno-tsan")
_LANGUAGE = ("-std=gnu11", "-D_GNU_SOURCE", '-DKPERF_VERSION="test"', "-pthread")
_FLAGS = ("-Wall", "-Wextra", "-Werror", "-g", "-O1", *_LANGUAGE, f"-I{CORE}", f"-I{CHECKS}")

SKIPPED = 77  # as check.c has it
FOUND_BY_VALGRIND = 99
SECONDS = 120  # a test that hangs is a failure, not a wait

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None, reason=f"no compiler: {COMPILER[0]} is not installed"
)

# ---- building ----


def _compile(
    folder: Path, sources: Iterable[Path], flags: Sequence[str], compiler: Sequence[str]
) -> list[Path]:
    def compiled(source: Path) -> Path:
        out = folder / f"{source.parent.name}-{source.stem}.o"
        command = [*compiler, *_FLAGS, *flags, "-c", str(source), "-o", str(out)]
        subprocess.run(command, check=True, timeout=SECONDS)
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, sources))


@cache
def core(flags: tuple[str, ...] = (), compiler: tuple[str, ...] = COMPILER) -> tuple[Path, ...]:
    """The core's objects of a kind."""
    folder = tempfile.mkdtemp(prefix="kperf-core-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tuple(_compile(Path(folder), sorted(CORE.glob("*.c")), flags, compiler))


def build(
    program: Path,
    sources: Iterable[Path],
    flags: tuple[str, ...] = (),
    *,
    compiler: tuple[str, ...] = COMPILER,
    objects: Iterable[Path] | None = None,
) -> Path:
    """Builds a program of these sources around objects: the core's of that kind, if not others."""
    if objects is None:
        objects = core(flags, compiler)
    linked = [*_compile(program.parent, sources, flags, compiler), *objects]
    command = [*compiler, *flags, *map(str, linked), "-o", str(program), "-pthread"]
    subprocess.run(command, check=True, timeout=SECONDS)
    return program


def names_in(source: Path) -> list[str]:
    """Each `TEST(name)` of a file."""
    return re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)


# ---- running ----


def run(
    *command: str | Path, seconds: float = SECONDS, **environment: str
) -> subprocess.CompletedProcess[str]:
    # Memory that runs out is what some tests are about.
    asan = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **asan, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def run_under_valgrind(*command: str | Path, **environment: str) -> None:
    """Fails for an error, a leak or an open file."""
    done = run(
        "valgrind",
        f"--error-exitcode={FOUND_BY_VALGRIND}",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect,possible",
        "--track-fds=yes",
        "--child-silent-after-fork=yes",
        *command,
        **environment,
    )
    judge(done)
    files = re.search(r"FILE DESCRIPTORS: (\d+) open \((\d+) std\) at exit", done.stderr)
    assert files is not None, done.stderr
    assert files[1] == files[2], done.stderr


needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="valgrind is not installed"
)


def judge(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout, end="")
