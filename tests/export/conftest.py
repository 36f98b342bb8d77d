"""Programs whose samples are written. No test leaves a file, an event or a child behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sampling.python.conftest import nothing_left_behind, programs  # noqa: F401
from sampling.python.programs import ROOM_FOR_ALL, ROUNDS, Programs, sample

import kperf


@pytest.fixture(scope="session")
def stacks(programs: Programs) -> Any:  # noqa: F811
    """Samples with call stacks and source lines of a program whose functions are known."""
    return sample(
        [programs.busy, "spin", ROUNDS // 2],
        call_stack=True,
        symbol_mode=kperf.SymbolMode.RESOLVE_ELF_DWARF,
        buffer_bytes=ROOM_FOR_ALL,
    )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a profile"
