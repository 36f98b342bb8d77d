"""Programs whose hot functions are known. No test leaves an event, a thread or a child behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from cli.conftest import kperf, start, start_kperf, user_kperf  # noqa: F401
from sampling.python.programs import Programs, compile_programs


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves an event open, or a child."""
    before = support.perf_descriptors()
    yield
    assert support.perf_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    # Not in pytest's own folder, which it closes to other users whenever it starts.
    with tempfile.TemporaryDirectory(prefix="kperf-sampled-") as folder:
        yield compile_programs(Path(folder))


@pytest.fixture
def busy(programs: Programs) -> Path:
    return programs.busy
