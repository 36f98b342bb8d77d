"""The core's traces: opened, owned and closed as `_native.NativeSession` does with counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_SPECIAL = ("restart", "restart_32", "sigreturn", "sigreturn_32", "rt_sigreturn_32")


class CallOptions(NamedTuple):
    """Which calls are taken, and how they are kept."""

    selection: Selection
    special: dict[str, int]  # numbers that mean something to the pairing, by the core's field
    by: str
    with_list: bool
    list_bytes: int


class RingOptions(NamedTuple):
    """The kernel's events behind the calls."""

    ring_bytes: int
    types: tuple[int, int, int]  # of sys_enter, sys_exit and sched_process_exec


def _fill(raw: Any, options: CallOptions) -> Any:
    """Fills one kp_call_options; returns what must live as long as it."""
    numbers = ffi.new("uint32_t[]", list(options.selection.numbers))
    numbers_32 = ffi.new("uint32_t[]", list(options.selection.numbers_32))
    raw.numbers, raw.n_numbers = numbers, len(numbers)
    raw.numbers_32, raw.n_numbers_32 = numbers_32, len(numbers_32)
    for field in _SPECIAL:
        setattr(raw, field, options.special.get(field, _NO_CALL))
    raw.key = KEYS[options.by]
    raw.with_list = options.with_list
    raw.list_bytes = options.list_bytes
    return numbers, numbers_32


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
        self,
        explain: Callable[[Failure], KperfError],
        calls: CallOptions,
        rings: Callable[[], RingOptions],
    ) -> None:
        super().__init__(explain)
        self._calls = calls
        self._rings = rings

    def _out(self) -> Any:
        return ffi.new("struct kp_tracer **")

    def _create(self, events: Any, target: Any, flags: int, out: Any) -> int:
        rings = self._rings()
        raw = ffi.new("struct kp_tracing *")
        kept = _fill(raw.calls, self._calls)
        raw.ring_bytes = rings.ring_bytes
        raw.enter_type, raw.exit_type, raw.exec_type = rings.types
        code = int(lib.kp_tracer_create(events, len(events), target, raw, flags, out))
        del kept
        return code

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


class NativeBpfCalls(NativeSession):
    """Owns the BPF programs that add calls up in the kernel, and their maps."""

    _enable = staticmethod(lib.kp_bpf_calls_enable)
    _disable = staticmethod(lib.kp_bpf_calls_disable)
    _destroy = staticmethod(lib.kp_bpf_calls_destroy)
    _abandon = staticmethod(lib.kp_bpf_calls_abandon)

    def __init__(
        self, explain: Callable[[Failure], KperfError], calls: CallOptions, cpus: Sequence[int]
    ) -> None:
        super().__init__(explain)
        self._calls = calls
        self._cpus = list(cpus)

    def _out(self) -> Any:
        return ffi.new("struct kp_bpf_calls **")

    def _create(self, _events: Any, target: Any, flags: int, out: Any) -> int:
        raw = ffi.new("struct kp_call_options *")
        kept = _fill(raw, self._calls)
        cpus = ffi.new("int32_t[]", self._cpus)
        code = int(lib.kp_bpf_calls_create(raw, target, cpus, len(cpus), flags, out))
        del kept
        return code

    def read_summary(self) -> Any:
        """The summary since its last read: a kp_call_summary, which the caller destroys."""
        out = ffi.new("struct kp_call_summary **")
        self._call(lib.kp_bpf_calls_read, out)
        return out[0]
