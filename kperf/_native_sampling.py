"""The core's samplers: opened, owned and closed as `_native.NativeSession` does with counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf._native import Failure, NativeSession
from kperf.errors import KperfError


class SampleOptions(NamedTuple):
    """How samples are taken and kept."""

    call_chain: bool = False
    addresses: bool = False
    raw: bool = False
    branch_types: int = 0
    ring_bytes: int = 1 << 19
    store_bytes: int = 1 << 30
    max_stack: int = 0


_FLAGS = (
    ("call_chain", lib.KP_SAMPLING_CALLCHAIN),
    ("addresses", lib.KP_SAMPLING_ADDR),
    ("raw", lib.KP_SAMPLING_RAW),
)


class NativeSampler(NativeSession):
    """Owns one of the core's samplers, with its rings and the thread that empties them."""

    _enable = staticmethod(lib.kp_sampler_enable)
    _disable = staticmethod(lib.kp_sampler_disable)
    _destroy = staticmethod(lib.kp_sampler_destroy)
    abandon = staticmethod(lib.kp_sampler_abandon)

    @staticmethod
    def _session_of(raw: Any) -> Any:
        return lib.kp_sampler_session(raw)

    def __init__(self, explain: Callable[[Failure], KperfError], options: SampleOptions) -> None:
        super().__init__(explain)
        self._options = options

    def _out(self) -> Any:
        return ffi.new("struct kp_sampler **")

    def _create(self, events: Any, target: Any, flags: int, out: Any) -> int:
        raw = ffi.new("struct kp_sampling *")
        options = self._options
        raw.flags = sum(bit for field, bit in _FLAGS if getattr(options, field))
        raw.max_stack = options.max_stack
        raw.branch_sample_type = options.branch_types
        raw.ring_bytes = options.ring_bytes
        raw.store_bytes = options.store_bytes
        return int(lib.kp_sampler_create(events, len(events), target, raw, flags, out))

    def count(self) -> int:
        """How many samples came since the last read."""
        out = ffi.new("uint64_t *")
        self._call(lib.kp_sampler_count, out)
        return int(out[0])

    def read(self) -> Any:
        """The samples since the last read: a kp_samples, which the caller destroys."""
        out = ffi.new("struct kp_samples **")
        self._call(lib.kp_sampler_read, out)
        return out[0]
