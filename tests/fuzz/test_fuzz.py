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
from pathlib import Path

import c_programs
import pytest
from c_programs import MEMORY

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
HARNESSES = sorted(HERE.glob("fuzz_*.c"))

SECONDS = float(os.environ.get("KPERF_FUZZ_SECONDS", "2"))
MOST_ROUNDS = 20_000 * max(1, round(SECONDS))
PATIENCE = SECONDS + 120  # a machine under load compiles, loads and stops late

pytestmark = c_programs.needs_compiler


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = c_programs.run(*command, seconds=PATIENCE)
    assert done.returncode == 0 or not check, f"{command[0]}: {done.stdout}{done.stderr}"
    return done


# ---- our own runner ----


def mutator(folder: Path, harness: Path) -> Path:
    return c_programs.build(folder / "fuzz", [harness, HERE / "mutate.c"], MEMORY)


def mutate(program: Path, last: Path, seeds: list[Path]) -> subprocess.CompletedProcess[str]:
    return run(program, last, str(MOST_ROUNDS), str(SECONDS), *seeds, check=False)


def name_of(harness: Path) -> str:
    return harness.stem[len("fuzz_") :]


def seeds_of(harness: Path) -> list[Path]:
    return sorted((CORPUS / name_of(harness)).iterdir())


@pytest.mark.parametrize("harness", HARNESSES, ids=name_of)
def test_mutations(tmp_path: Path, harness: Path) -> None:
    done = mutate(mutator(tmp_path, harness), tmp_path / "last", seeds_of(harness))
    assert done.returncode == 0, f"the input is in {tmp_path / 'last'}\n{done.stderr}"
    found = re.search(r"(\d+) inputs", done.stdout)
    assert found is not None
    assert int(found[1]) > len(seeds_of(harness))


def test_the_runner_finds_a_fault(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(bytes(64))
    done = mutate(mutator(tmp_path, HERE / "planted.c"), tmp_path / "last", [seed])
    assert done.returncode != 0
    assert "planted.c" in done.stderr
    assert (tmp_path / "last").read_bytes()[8] == 0xFF  # behind the size


def test_seeds_of_this_machine(tmp_path: Path) -> None:
    """What this kernel writes goes through the decoders too; the tool makes the seeds."""
    directories = {name: tmp_path / name for name in ("record", "ring")}
    for directory in directories.values():
        directory.mkdir()
    tool = c_programs.build(tmp_path / "seeds", [HERE / "seeds.c"], MEMORY)
    run(tool, *directories.values())
    for name, directory in directories.items():
        seeds = sorted(directory.iterdir())
        assert len(seeds) > 4
        run(mutator(tmp_path, HERE / f"fuzz_{name}.c"), tmp_path / "last", "0", "1", *seeds)


# ---- libFuzzer ----


CLANG = ("clang",)
FUZZER = ("-fsanitize=fuzzer", *MEMORY)


@pytest.fixture(scope="session")
def fuzzer_core(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    probe = tmp_path_factory.mktemp("fuzzer") / "probe"
    if run(*CLANG, *FUZZER, HERE / "planted.c", "-o", probe, check=False).returncode != 0:
        pytest.skip("this clang has no libFuzzer: on Debian, apt-get install libclang-rt-14-dev")
    return c_programs.core(("-fsanitize=fuzzer-no-link", *MEMORY), CLANG)


@pytest.mark.parametrize("harness", HARNESSES, ids=name_of)
def test_libfuzzer(fuzzer_core: tuple[Path, ...], tmp_path: Path, harness: Path) -> None:
    program, new = tmp_path / "fuzz", tmp_path / "new"
    new.mkdir()
    c_programs.build(program, [harness], FUZZER, compiler=CLANG, objects=fuzzer_core)
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
