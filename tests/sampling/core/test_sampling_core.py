"""The sampling half of the collection core by itself: plain, under ASan and UBSan, and valgrind.

Every `TEST(name)` of the C files here is a test of its own. `KPERF_TEST_PERCENT=1000` repeats ten
times as often what is repeated.
"""

from __future__ import annotations

from pathlib import Path

import c_programs
import pytest

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("test_*.c"))
NAMES = [name for source in SOURCES for name in c_programs.names_in(source)]
# These need no live perf events, so they may be run as slowly as valgrind does.
WITHOUT_KERNEL = [source for source in SOURCES if source.stem != "test_sampler"]

# Where what is slow is repeated less.
SANITIZED = {"KPERF_TEST_PERCENT": "20"}
UNDER_VALGRIND = {"KPERF_TEST_PERCENT": "2"}

pytestmark = c_programs.needs_compiler


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("plain") / "sampling_tests"
    return c_programs.build(program, [c_programs.CHECKS / "check.c", *SOURCES])


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("sanitized") / "sampling_tests"
    return c_programs.build(program, [c_programs.CHECKS / "check.c", *SOURCES], c_programs.MEMORY)


@pytest.mark.parametrize("name", NAMES)
def test_plain(plain: Path, name: str) -> None:
    c_programs.judge(c_programs.run(plain, name))


@pytest.mark.parametrize("name", NAMES)
def test_sanitized(sanitized: Path, name: str) -> None:
    c_programs.judge(c_programs.run(sanitized, name, **SANITIZED))


@c_programs.needs_valgrind
@pytest.mark.parametrize("source", WITHOUT_KERNEL, ids=lambda source: source.stem)
def test_valgrind(plain: Path, source: Path) -> None:
    """All tests of a file in one go, as valgrind takes long to start."""
    c_programs.run_under_valgrind(plain, *c_programs.names_in(source), **UNDER_VALGRIND)


def test_every_test_has_a_name_of_its_own() -> None:
    assert len(NAMES) > 40
    assert len(set(NAMES)) == len(NAMES)
