"""The core's counters that follow newborn threads and children with counters of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf._native import NativeSession


class OffspringReport(NamedTuple):
    """How many newborn have no rows since the opening, by the reason."""

    gone: int
    beyond: int
    refused: int
    lost: int


class NativeOffspring(NativeSession):
    """Owns one of the core's, with the thread that opens counters for newborns."""

    _enable = staticmethod(lib.kp_offspring_enable)
    _disable = staticmethod(lib.kp_offspring_disable)
    _destroy = staticmethod(lib.kp_offspring_destroy)
    abandon = staticmethod(lib.kp_offspring_abandon)
    hold = staticmethod(lib.kp_offspring_hold)
    go_on = staticmethod(lib.kp_offspring_go_on)

    @staticmethod
    def _session_of(raw: Any) -> Any:
        return lib.kp_offspring_session(raw)

    def _out(self) -> Any:
        return ffi.new("struct kp_offspring **")

    def _create(self, events: Any, target: Any, flags: int, out: Any) -> int:
        return int(lib.kp_offspring_create(events, len(events), target, flags, out))

    def read(self) -> Any:
        """The counts since the last read: a kp_counts, which the caller destroys."""
        out = ffi.new("struct kp_counts **")
        self._call(lib.kp_offspring_read, out)
        return out[0]

    def report(self) -> OffspringReport:
        raw = ffi.new("struct kp_offspring_report *")
        self._call(lib.kp_offspring_report, raw)
        return OffspringReport(raw.gone, raw.beyond, raw.refused, raw.lost)
