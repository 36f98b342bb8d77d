"""The collection core by itself: plain, under ASan and UBSan, and under valgrind.

Every `TEST(name)` of the C files here is a test of its own. `KPERF_TEST_PERCENT=1000` repeats ten
times as often what is repeated, such as attaching to a process that makes threads all the time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parent.parent / "csrc"
SOURCES = sorted(HERE.glob("test_*.c"))
COMPILER = os.environ.get("CC", "gcc").split()

FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-pthread")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
SKIPPED = 77  # as check.c has it
FOUND_BY_VALGRIND = 99
SECONDS = 120  # a test that hangs is a failure, not a wait

# Where what is slow is repeated less.
PERCENT_SANITIZED = 10
PERCENT_VALGRIND = 1

# It makes 12,000 threads, which only the plain program does in reasonable time.
PLAIN_ONLY = {"watch_counts_what_is_lost"}
NOT_UNDER_VALGRIND = {
    # It loads a command's interpreter by itself, and ends the child where it cannot.
    "child_of_a_script_whose_interpreter_is_missing",
    # A child that ends as a copy of its parent owns what that had allocated: a leak, to it.
    "child_of_a_program_that_ends",
    # It keeps the descriptor limits for itself.
    "child_gets_its_limits",
    "descriptors_beyond_the_limit",
    "descriptors_up_to_the_hard_limit",
    # It makes calls that valgrind does not pass on.
    "bpf_calls_all",
    "bpf_calls_without_room",
    "bpf_calls_of_32_bits",
    # Each reads the kernel's own types, which takes seconds there: two others do as well.
    "bpf_calls_by_process",
    "bpf_calls_by_thread",
    "bpf_calls_exec_by_a_thread",
    "bpf_calls_in_a_pid_namespace",
    "bpf_calls_interrupted",
    "bpf_calls_of_a_family",
    "bpf_calls_of_a_held_command",
    "bpf_calls_of_a_killed_tracer",  # whose memory valgrind would miss
    "bpf_calls_of_everybody",
    "bpf_calls_over_the_edges",
    "bpf_calls_on_some_cpus",
    "bpf_calls_read_at_full_speed",
    "bpf_calls_refused",
    "bpf_calls_stopped_and_continued",
    "bpf_calls_without_heirs",
    # The program makes threads faster than the core looks at them when it is 50 times as slow.
    "attach_one_event_at_full_speed",
}


def names_in(source: Path) -> list[str]:
    return re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)


NAMES = [name for source in SOURCES for name in names_in(source)]

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None, reason=f"no compiler: {COMPILER[0]} is not installed"
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def compile_one(directory: Path, source: Path, flags: tuple[str, ...]) -> Path:
    compiled = directory / f"{source.parent.name}-{source.stem}.o"
    command = [*COMPILER, *FLAGS, f"-I{CORE}", *flags, "-c", str(source), "-o", str(compiled)]
    subprocess.run(command, check=True, timeout=SECONDS)
    return compiled


def build(directory: Path, *flags: str) -> Path:
    """Builds the test program in a directory; returns its path."""
    program = directory / "core_tests"
    core = [(source, ('-DKPERF_VERSION="test"', *flags)) for source in CORE.glob("*.c")]
    tests = [(source, ("-D_GNU_SOURCE", *flags)) for source in (HERE / "check.c", *SOURCES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda job: compile_one(directory, *job), core + tests))
    command = [*COMPILER, *flags, *map(str, objects), "-o", str(program), "-pthread"]
    subprocess.run(command, check=True, timeout=SECONDS)
    return program


@pytest.fixture(scope="session")
def churn() -> Iterator[Path]:
    """The program to attach to: not instrumented, as it is to be fast; any user may run it."""
    with tempfile.TemporaryDirectory(prefix="kperf-churn-") as directory:
        program = Path(directory) / "churn"
        source = str(HERE / "churn.c")
        command = [*COMPILER, *FLAGS, "-O1", "-D_GNU_SOURCE", source, "-o", str(program)]
        subprocess.run(command, check=True, timeout=SECONDS)
        Path(directory).chmod(0o755)
        yield program


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("plain"), "-O1")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"), *SANITIZERS)


@pytest.fixture
def run(churn: Path) -> Run:
    """Runs a command of test programs, by default as often as its environment says."""

    def run(
        *command: str | Path, percent: int | None = None, slowed: bool = False
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KPERF_TEST_CHURN": str(churn)}
        if percent is not None:
            environment["KPERF_TEST_PERCENT"] = str(percent)
        if slowed:
            environment["KPERF_TEST_SLOWED"] = "1"
        return subprocess.run(
            list(map(str, command)),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


def judge(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout, end="")


@pytest.mark.parametrize("name", NAMES)
def test_plain(run: Run, plain: Path, name: str) -> None:
    judge(run(plain, name))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLAIN_ONLY])
def test_sanitized(run: Run, sanitized: Path, name: str) -> None:
    judge(run(sanitized, name, percent=PERCENT_SANITIZED))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_valgrind(run: Run, plain: Path, source: Path) -> None:
    """All tests of a file in one go, as valgrind takes long to start: no error, leak, open file."""
    left_out = PLAIN_ONLY | NOT_UNDER_VALGRIND
    names = [name for name in names_in(source) if name not in left_out]
    done = run(
        "valgrind",
        f"--error-exitcode={FOUND_BY_VALGRIND}",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect,possible",
        "--track-fds=yes",
        "--child-silent-after-fork=yes",
        plain,
        *names,
        percent=PERCENT_VALGRIND,
        slowed=True,
    )
    judge(done)
    files = re.search(r"FILE DESCRIPTORS: (\d+) open \((\d+) std\) at exit", done.stderr)
    assert files is not None, done.stderr
    assert files[1] == files[2], done.stderr


def test_every_test_has_a_name_of_its_own() -> None:
    assert len(NAMES) > 50
    assert len(set(NAMES)) == len(NAMES)
