"""The symbol index under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
_CORE = _HERE.parent.parent / "csrc"


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("fuzz") / "fuzz_symindex"
    sources = [_HERE / "fuzz_symindex.c", _CORE / "symindex.c", _CORE / "error.c"]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", '-DKPERF_VERSION="test"']
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{_CORE}"]
    subprocess.run(["gcc", *flags, *sources, "-o", program], check=True)
    return program


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_damaged_tables_and_texts(fuzzer: Path, seed: int) -> None:
    result = subprocess.run([fuzzer, str(seed), "3000"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
