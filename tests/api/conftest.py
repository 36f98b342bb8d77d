"""Every test of the library leaves the process as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import support


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a counter open, or a child."""
    before = support.perf_descriptors()
    yield
    assert support.perf_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def worker() -> Iterator[support.Worker]:
    with support.worker() as running:
        yield running
