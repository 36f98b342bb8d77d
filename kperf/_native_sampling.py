"""The core's samplers: opened, owned and closed as `_native.NativeSession` does with counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from kperf._core import ffi, lib
from kperf._native import Failure, NativeSession
from kperf.errors import KperfError

if TYPE_CHECKING:
    from kperf.spe.decode import Keep


class SampleOptions(NamedTuple):
    """How samples are taken and kept."""

    call_chain: bool = False
    addresses: bool = False
    raw: bool = False
    branch_types: int = 0
    ring_bytes: int = 1 << 19
    store_bytes: int = 1 << 30
    max_stack: int = 0
    spe: Keep | None = None  # the last event is SPE's, and what is kept of its records
    period: int = 0  # SPE: operations between two records
    aux_bytes: int = 0
    other_timer: bool = False  # SPE's timestamps are of a counter that does not become perf time
    spool_fd: int = -1


class Choosing(NamedTuple):
    """File descriptors: what an event for each thread on each CPU takes, and how many may be."""

    needed: int
    limit: int


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
        spe = self._spe_options(options)
        raw.spe = spe
        return int(lib.kp_sampler_create(events, len(events), target, raw, flags, out))

    def choosing(self) -> Choosing | None:
        """Why all CPUs are sampled and the samples chosen from these; None where they are not."""
        raw = ffi.new("struct kp_choosing *")
        self._call(lib.kp_sampler_choosing, raw)
        return Choosing(raw.needed, raw.limit) if raw.needed else None

    def count(self) -> int:
        """How many samples came since the last read."""
        out = ffi.new("uint64_t *")
        self._call(lib.kp_sampler_count, out)
        return int(out[0])

    @staticmethod
    def _spe_options(options: SampleOptions) -> Any:
        if options.spe is None:
            return ffi.NULL
        raw = ffi.new("struct kp_spe_options *")
        raw.period = options.period
        raw.any_events = options.spe.any_events
        raw.aux_bytes = options.aux_bytes
        raw.flags = options.spe.flags
        if options.other_timer:
            raw.flags |= lib.KP_SPE_OTHER_TIMER
        raw.spool_fd = options.spool_fd
        return raw

    def read(self) -> Any:
        """The samples since the last read: a kp_samples, which the caller destroys."""
        out = ffi.new("struct kp_samples **")
        self._call(lib.kp_sampler_read, out)
        return out[0]
