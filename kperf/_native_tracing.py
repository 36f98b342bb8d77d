"""The core's tracers: opened, owned and closed as `_native.NativeSession` does with counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf._native import Failure, NativeSession
from kperf.errors import KperfError
from kperf.syscalls import Selection

KEYS = {
    "": lib.KP_CALLS_TOGETHER,
    "process": lib.KP_CALLS_BY_PROCESS,
    "thread": lib.KP_CALLS_BY_THREAD,
}

_NO_CALL = (1 << 32) - 1


class TraceOptions(NamedTuple):
    """Which calls are taken, and how they are kept."""

    selection: Selection
    special: dict[str, int]  # numbers that mean something to the pairing, by the core's field
    by: str
    with_list: bool
    ring_bytes: int
    list_bytes: int
    types: tuple[int, int, int]  # of sys_enter, sys_exit and sched_process_exec


SPECIAL = {
    "restart": ("restart_syscall", 64),
    "restart_32": ("restart_syscall", 32),
    "sigreturn": ("rt_sigreturn", 64),
    "sigreturn_32": ("sigreturn", 32),
    "rt_sigreturn_32": ("rt_sigreturn", 32),
}


class NativeTracer(NativeSession):
    """Owns one of the core's tracers, with its rings and the thread that empties them."""

    _enable = staticmethod(lib.kp_tracer_enable)
    _disable = staticmethod(lib.kp_tracer_disable)
    _destroy = staticmethod(lib.kp_tracer_destroy)
    _abandon = staticmethod(lib.kp_tracer_abandon)

    @staticmethod
    def _session_of(raw: Any) -> Any:
        return lib.kp_tracer_session(raw)

    def __init__(
        self, explain: Callable[[Failure], KperfError], options: Callable[[], TraceOptions]
    ) -> None:
        super().__init__(explain)
        self._options = options

    def _out(self) -> Any:
        return ffi.new("struct kp_tracer **")

    def _create(self, events: Any, target: Any, flags: int, out: Any) -> int:
        options = self._options()
        raw = ffi.new("struct kp_tracing *")
        numbers = ffi.new("uint32_t[]", list(options.selection.numbers))
        numbers_32 = ffi.new("uint32_t[]", list(options.selection.numbers_32))
        raw.calls.numbers, raw.calls.n_numbers = numbers, len(numbers)
        raw.calls.numbers_32, raw.calls.n_numbers_32 = numbers_32, len(numbers_32)
        for field in SPECIAL:
            setattr(raw.calls, field, options.special.get(field, _NO_CALL))
        raw.calls.key = KEYS[options.by]
        raw.calls.with_list = options.with_list
        raw.calls.list_bytes = options.list_bytes
        raw.ring_bytes = options.ring_bytes
        raw.enter_type, raw.exit_type, raw.exec_type = options.types
        return int(lib.kp_tracer_create(events, len(events), target, raw, flags, out))

    def ring_bytes(self) -> int:
        """The size of the smallest ring."""
        self.check_usable()
        return int(lib.kp_tracer_ring_bytes(self._raw))

    def read_summary(self) -> Any:
        """The summary since its last read: a kp_call_summary, which the caller destroys."""
        out = ffi.new("struct kp_call_summary **")
        self._call(lib.kp_tracer_read_summary, out)
        return out[0]

    def read_calls(self) -> Any:
        """The calls since their last read: a kp_calls, which the caller destroys."""
        out = ffi.new("struct kp_calls **")
        self._call(lib.kp_tracer_read_calls, out)
        return out[0]
