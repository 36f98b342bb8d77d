"""No test of tracing leaves an event, a thread or a child behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import support
from cli.conftest import kperf, start, start_kperf, user_kperf  # noqa: F401

_PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = support.perf_descriptors()
    yield
    assert support.perf_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture(scope="session")
def calls() -> Iterator[Callable[[str], Path]]:
    """The path of a program in programs/, compiled once."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler built kperf, and is gone"
    with tempfile.TemporaryDirectory(prefix="kperf-traced-") as folder:

        def compiled(name: str) -> Path:
            binary = Path(folder) / name
            if not binary.exists():
                flags = ["-O1", "-Wall", "-Wextra", "-pthread", "-fno-omit-frame-pointer"]
                source = _PROGRAMS / f"{name}.c"
                subprocess.run([compiler, *flags, "-o", binary, source], check=True)
            return binary

        yield compiled
