"""The sampling half of the collection core by itself: plain, under ASan and UBSan, and valgrind.

Every `TEST(name)` of the C files here is a test of its own. `KPERF_TEST_PERCENT=1000` repeats ten
times as often what is repeated.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "core"  # check.h and check.c
CORE = HERE.parent.parent.parent / "csrc"
SOURCES = sorted(HERE.glob("test_*.c"))
# These need no live perf events, so they may be run as slowly as valgrind does.
WITHOUT_KERNEL = [source for source in SOURCES if source.stem != "test_sampler"]
COMPILER = os.environ.get("CC", "gcc").split()

FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", '-DKPERF_VERSION="test"', "-Wall", "-Wextra", "-Werror")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
SKIPPED = 77  # as check.c has it
FOUND_BY_VALGRIND = 99
SECONDS = 120  # a test that hangs is a failure, not a wait

# Where what is slow is repeated less.
PERCENT_SANITIZED = 20
PERCENT_VALGRIND = 2


def names_in(source: Path) -> list[str]:
    return re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)


NAMES = [name for source in SOURCES for name in names_in(source)]

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None, reason=f"no compiler: {COMPILER[0]} is not installed"
)


def compile_one(directory: Path, source: Path, flags: tuple[str, ...]) -> Path:
    compiled = directory / f"{source.parent.name}-{source.stem}.o"
    includes = (f"-I{CORE}", f"-I{SHARED}")
    command = [*COMPILER, *FLAGS, "-g", "-pthread", *includes, *flags, "-c", str(source)]
    subprocess.run([*command, "-o", str(compiled)], check=True, timeout=SECONDS)
    return compiled


def build(directory: Path, *flags: str) -> Path:
    """Builds the test program in a directory; returns its path."""
    program = directory / "sampling_tests"
    sources = [*sorted(CORE.glob("*.c")), SHARED / "check.c", *SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda source: compile_one(directory, source, flags), sources))
    command = [*COMPILER, *flags, *map(str, objects), "-o", str(program), "-pthread"]
    subprocess.run(command, check=True, timeout=SECONDS)
    return program


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("plain"), "-O1")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"), *SANITIZERS)


def run(*command: str | Path, percent: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command of test programs, by default as often as its environment says."""
    # Memory that runs out is what some tests are about.
    environment = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}
    if percent is not None:
        environment["KPERF_TEST_PERCENT"] = str(percent)
    return subprocess.run(
        list(map(str, command)),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def judge(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_plain(plain: Path, name: str) -> None:
    judge(run(plain, name))


@pytest.mark.parametrize("name", NAMES)
def test_sanitized(sanitized: Path, name: str) -> None:
    judge(run(sanitized, name, percent=PERCENT_SANITIZED))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.parametrize("source", WITHOUT_KERNEL, ids=lambda source: source.stem)
def test_valgrind(plain: Path, source: Path) -> None:
    """All tests of a file in one go, as valgrind takes long to start: no error, no leak."""
    done = run(
        "valgrind",
        f"--error-exitcode={FOUND_BY_VALGRIND}",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect,possible",
        plain,
        *names_in(source),
        percent=PERCENT_VALGRIND,
    )
    judge(done)


def test_every_test_has_a_name_of_its_own() -> None:
    assert len(NAMES) > 40
    assert len(set(NAMES)) == len(NAMES)
