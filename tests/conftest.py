"""The tests run against the installed kperf: the source tree beside them has no extension."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the working directory first, and only Python 3.11 has -P against that.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _TOP]


# perf by way of what asks it again where it fell over.
if shutil.which("perf"):
    os.environ["PATH"] = f"{_TOP / 'tests' / 'judges'}:{os.environ['PATH']}"


def pytest_configure() -> None:
    try:
        import kperf
    except ImportError as failure:
        pytest.exit(f"kperf is not installed ({failure}): run 'make test', or 'pip install .'", 4)
    if Path(kperf.__file__).resolve().parent == _TOP / "kperf":
        pytest.exit("the source tree's kperf comes before the installed one: check PYTHONPATH", 4)
