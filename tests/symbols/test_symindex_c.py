"""The symbol index under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import c_programs
import pytest

_HERE = Path(__file__).resolve().parent

pytestmark = c_programs.needs_compiler


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("fuzz") / "fuzz_symindex"
    return c_programs.build(program, [_HERE / "fuzz_symindex.c"], c_programs.MEMORY)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_damaged_tables_and_texts(fuzzer: Path, seed: int) -> None:
    result = subprocess.run([fuzzer, str(seed), "3000"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
