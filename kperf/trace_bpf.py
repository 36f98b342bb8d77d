"""System calls added up in the kernel, by BPF programs that the core makes."""

from __future__ import annotations

from kperf._core import lib
from kperf._native import Failure, plain_error
from kperf._native_tracing import CallOptions, NativeBpfCalls
from kperf.calls import CallSummary, summary_of
from kperf.collection import target_of
from kperf.errors import KperfError
from kperf.machine import Machine
from kperf.trace_wanted import TraceWanted


class BpfTrace:
    """Counts and times of calls, without a record a call: there is no list of them."""

    mechanism = "BPF"

    def __init__(self, wanted: TraceWanted) -> None:
        self._names = wanted.names
        self.notes = ["added up in the kernel by BPF programs"]
        whom = wanted.whom
        target = target_of(whom, Machine())
        options = CallOptions(
            wanted.selection, wanted.special, wanted.by, with_list=False, list_bytes=0
        )
        self._session = NativeBpfCalls(_explain, options, target.cpus)
        flags = (lib.KP_INHERIT if whom.inherit else 0) | (
            lib.KP_ENABLE_ON_EXEC if whom.enable_on_exec else 0
        )
        self._session.open([], lambda _event: (), target.pids, target.tids, -1, flags)
        if whom.enable_on_exec:
            self.enable()

    def check_usable(self) -> None:
        self._session.check_usable()

    def enable(self) -> None:
        self._session.enable()

    def disable(self) -> None:
        self._session.disable()

    def close(self) -> None:
        self._session.close()

    def summary(self) -> CallSummary:
        return summary_of(self._session.read_summary(), self._names, self.notes)


def _explain(failure: Failure) -> KperfError:
    return plain_error(failure)
