"""The collection core by itself: plain, under ASan and UBSan, and under valgrind.

Every `TEST(name)` of the C files here is a test of its own. `KPERF_TEST_PERCENT=1000` repeats ten
times as often what is repeated, such as attaching to a process that makes threads all the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import c_programs
import pytest

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("test_*.c"))
NAMES = [name for source in SOURCES for name in c_programs.names_in(source)]

# Where what is slow is repeated less.
SANITIZED = {"KPERF_TEST_PERCENT": "10"}
UNDER_VALGRIND = {"KPERF_TEST_PERCENT": "1", "KPERF_TEST_SLOWED": "1"}

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


pytestmark = c_programs.needs_compiler


@pytest.fixture(scope="session", autouse=True)
def churn() -> Iterator[None]:
    """The program to attach to: not instrumented, as it is to be fast; any user may run it."""
    with tempfile.TemporaryDirectory(prefix="kperf-churn-") as folder:
        program = c_programs.build(Path(folder) / "churn", [HERE / "churn.c"], objects=())
        Path(folder).chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KPERF_TEST_CHURN", str(program))
            yield


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("plain") / "core_tests"
    return c_programs.build(program, [HERE / "check.c", *SOURCES])


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("sanitized") / "core_tests"
    return c_programs.build(program, [HERE / "check.c", *SOURCES], c_programs.MEMORY)


@pytest.mark.parametrize("name", NAMES)
def test_plain(plain: Path, name: str) -> None:
    c_programs.judge(c_programs.run(plain, name))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLAIN_ONLY])
def test_sanitized(sanitized: Path, name: str) -> None:
    c_programs.judge(c_programs.run(sanitized, name, **SANITIZED))


@c_programs.needs_valgrind
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_valgrind(plain: Path, source: Path) -> None:
    """All tests of a file in one go, as valgrind takes long to start."""
    left_out = PLAIN_ONLY | NOT_UNDER_VALGRIND
    names = [name for name in c_programs.names_in(source) if name not in left_out]
    c_programs.run_under_valgrind(plain, *names, **UNDER_VALGRIND)


def test_every_test_has_a_name_of_its_own() -> None:
    assert len(NAMES) > 50
    assert len(set(NAMES)) == len(NAMES)
