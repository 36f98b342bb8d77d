"""Who made a system call: call stacks, sampled where calls return, and found again by the call.

A second set of events records them, so that calls without stacks cost as little as they can.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from kperf.sampling import Sampling
from kperf.symbols.symbol import Symbol

if TYPE_CHECKING:
    from kperf.calls import FindStack
    from kperf.samples import SampleData
    from kperf.trace_wanted import TraceWanted

_EVENT = "raw_syscalls:sys_exit"

# Both sets of events tell of a return one after the other, with the time of each.
_MOST_APART_NS = 1_000_000

_KERNEL_BEGINS = 1 << 63  # the upper half of the addresses, on every 64-bit architecture


class _Read:
    """The samples of one read, by thread."""

    def __init__(self, samples: SampleData) -> None:
        self._samples = samples
        columns = samples.columns()
        self._times: dict[int, list[int]] = {}
        self._rows: dict[int, list[int]] = {}
        for row, (tid, time) in enumerate(zip(columns["tid"], columns["time"])):
            self._times.setdefault(tid, []).append(time)
            self._rows.setdefault(tid, []).append(row)

    def frames(self, tid: int, start_ns: int, end_ns: int, ret: int) -> tuple[Symbol, ...] | None:
        """Those of the first return of a thread behind `start_ns`, if it is that of this call."""
        times = self._times.get(tid, [])
        at = bisect_right(times, start_ns)
        if at == len(times) or abs(times[at] - end_ns) > _MOST_APART_NS:
            return None
        row: Any = self._samples[self._rows[tid][at]]
        if row.fields["ret"] != ret:
            return None
        return tuple(symbol for symbol in row.frames if symbol.addr < _KERNEL_BEGINS)


class CallStacks:
    """Samples the returns of calls, with their stacks. Raises `KperfError`."""

    def __init__(self, wanted: TraceWanted, exit_filter: str) -> None:
        whom = wanted.whom
        self._sampling = Sampling(
            _EVENT,
            pids=whom.pids,
            tids=whom.tids,
            cpus=whom.cpus,
            command=whom.command,
            cgroup=whom.cgroup,
            inherit=whom.inherit,
            enable_on_exec=whom.enable_on_exec,
            filters=[exit_filter] if exit_filter else (),
            call_stack=True,
            store_bytes=wanted.store_bytes,
        )
        self._last: list[_Read] = []
        self._lost = 0

    def enable(self) -> None:
        self._sampling.enable()

    def disable(self) -> None:
        self._sampling.disable()

    def close(self) -> None:
        self._sampling.close()

    def take(self) -> FindStack:
        """Takes the stacks of the calls that were read by now; returns what finds them.

        A call may be handed out some time after its return, so the read before is searched as well.
        """
        samples = self._sampling.read()
        self._lost += samples.quality.lost or 0
        before, self._last = self._last, [_Read(samples)]
        return partial(_find, [*before, *self._last])

    def losses(self) -> list[str]:
        """What was lost since this was last asked, in words."""
        lost, self._lost = self._lost, 0
        return [f"{lost:,} calls without a stack, as a buffer was full"] if lost else []


def _find(
    reads: Sequence[_Read], tid: int, start_ns: int, elapsed_ns: int, ret: int
) -> tuple[Symbol, ...]:
    """Who made a call, from the innermost out, without the kernel; () where none is known."""
    for read in reads:
        frames = read.frames(tid, start_ns, start_ns + elapsed_ns, ret)
        if frames is not None:
            return frames
    return ()
