"""Decoders fed with mutated input under ASan and UBSan: no crash, no hang, no byte out of bounds.

Every `fuzz_NAME.c` here is a libFuzzer harness over the core; its seeds stand in `corpus/NAME`.
Each runs under a runner of our own, which does the same on every run, and under libFuzzer where
clang has it. `KPERF_FUZZ_SECONDS=600` looks longer. What made a harness fail is left in a file
that the failure names; put it into the corpus with the repair.
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
CORE = HERE.parent.parent / "csrc"
CORPUS = HERE / "corpus"
HARNESSES = sorted(HERE.glob("fuzz_*.c"))
COMPILER = os.environ.get("CC", "gcc").split()

FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", '-DKPERF_VERSION="test"', "-g", "-O1", f"-I{CORE}")
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}
SECONDS = float(os.environ.get("KPERF_FUZZ_SECONDS", "2"))
MOST_ROUNDS = 20_000 * max(1, round(SECONDS))
PATIENCE = SECONDS + 120  # a machine under load compiles, loads and stops late

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None, reason=f"no compiler: {COMPILER[0]} is not installed"
)


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(map(str, command)),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0 or not check, f"{command[0]}: {done.stdout}{done.stderr}"
    return done


def compile_core(directory: Path, *compiler: str) -> list[Path]:
    """The core's objects, which all harnesses share."""

    def compile_one(source: Path) -> Path:
        compiled = directory / f"{source.stem}.o"
        run(*compiler, "-c", source, "-o", compiled)
        return compiled

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sorted(CORE.glob("*.c"))))


# ---- our own runner ----


@pytest.fixture(scope="session")
def mutation_core(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return compile_core(
        tmp_path_factory.mktemp("mutation"), *COMPILER, *FLAGS, "-Wall", "-Wextra", *SANITIZERS
    )


def link(program: Path, source: Path, core: list[Path], *more: Path) -> Path:
    run(*COMPILER, *FLAGS, *SANITIZERS, source, *more, *core, "-o", program, "-pthread")
    return program


def mutate(program: Path, last: Path, seeds: list[Path]) -> subprocess.CompletedProcess[str]:
    return run(program, last, str(MOST_ROUNDS), str(SECONDS), *seeds, check=False)


def name_of(harness: Path) -> str:
    return harness.stem[len("fuzz_") :]


def seeds_of(harness: Path) -> list[Path]:
    return sorted((CORPUS / name_of(harness)).iterdir())


@pytest.mark.parametrize("harness", HARNESSES, ids=name_of)
def test_mutations(mutation_core: list[Path], tmp_path: Path, harness: Path) -> None:
    program = link(tmp_path / "fuzz", harness, mutation_core, HERE / "mutate.c")
    done = mutate(program, tmp_path / "last", seeds_of(harness))
    assert done.returncode == 0, f"the input is in {tmp_path / 'last'}\n{done.stderr}"
    found = re.search(r"(\d+) inputs", done.stdout)
    assert found is not None
    assert int(found[1]) > len(seeds_of(harness))


def test_the_runner_finds_a_fault(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(bytes(64))
    program = link(tmp_path / "fuzz", HERE / "planted.c", [], HERE / "mutate.c")
    done = mutate(program, tmp_path / "last", [seed])
    assert done.returncode != 0
    assert "planted.c" in done.stderr
    assert (tmp_path / "last").read_bytes()[8] == 0xFF  # behind the size


def test_seeds_of_this_machine(mutation_core: list[Path], tmp_path: Path) -> None:
    """What this kernel writes goes through the decoders too; the tool makes the seeds."""
    directories = {name: tmp_path / name for name in ("record", "ring")}
    for directory in directories.values():
        directory.mkdir()
    tool = link(tmp_path / "seeds", HERE / "seeds.c", mutation_core)
    run(tool, *directories.values())
    for name, directory in directories.items():
        seeds = sorted(directory.iterdir())
        assert len(seeds) > 4
        program = link(tmp_path / "fuzz", HERE / f"fuzz_{name}.c", mutation_core, HERE / "mutate.c")
        run(program, tmp_path / "last", "0", "1", *seeds)


# ---- libFuzzer ----


@pytest.fixture(scope="session")
def fuzzer_core(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("fuzzer")
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang is not installed")
    probe = ("clang", "-fsanitize=fuzzer,address", HERE / "planted.c", "-o", directory / "probe")
    if run(*probe, check=False).returncode != 0:
        pytest.skip("this clang has no libFuzzer: on Debian, apt-get install libclang-rt-14-dev")
    return compile_core(directory, "clang", *FLAGS, "-fsanitize=fuzzer-no-link", *SANITIZERS)


@pytest.mark.parametrize("harness", HARNESSES, ids=name_of)
def test_libfuzzer(fuzzer_core: list[Path], tmp_path: Path, harness: Path) -> None:
    program, new = tmp_path / "fuzz", tmp_path / "new"
    new.mkdir()
    run("clang", *FLAGS, "-fsanitize=fuzzer", *SANITIZERS, harness, *fuzzer_core, "-o", program)
    done = run(
        program,
        f"-max_total_time={max(1, round(SECONDS))}",
        "-seed=1",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={tmp_path}/",
        new,
        CORPUS / name_of(harness),
        check=False,
    )
    assert done.returncode == 0, f"the input is in {tmp_path}\n{done.stderr[-8000:]}"
    found = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert found is not None, done.stderr
    assert int(found[1]) > len(seeds_of(harness))
