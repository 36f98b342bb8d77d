"""What the tests of SPE share: the installed command."""

from __future__ import annotations

from cli.conftest import kperf, start, start_kperf  # noqa: F401
