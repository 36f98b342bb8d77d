"""No test of tracing leaves an event, a thread or a child behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import support


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = support.perf_descriptors()
    yield
    assert support.perf_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
