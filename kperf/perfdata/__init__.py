"""perf.data files: what they hold, and samples out of them."""

from __future__ import annotations

from kperf.perfdata.recorded import Recorded, read_recorded

__all__ = ["Recorded", "read_recorded"]
