"""One recording of `kperf record`: opening the events, launching, waiting, reading."""

from __future__ import annotations

from typing import NamedTuple

import kperf
from kperf.samples import SampleData
from kperf.sampling import DEFAULT_BUFFER_BYTES
from kperf_cli.progress import Progress
from kperf_cli.target import Ended, Launched, Signals, Target, Waiter
from kperf_cli.window import collect


class Settings(NamedTuple):
    """What one recording was asked for. Times in ns; 0 and None: not asked for."""

    target: Target
    events: list[str]
    filters: list[str]
    period: int
    frequency: int
    inherit: bool
    call_stack: bool
    branches: int
    lines: bool
    buffer_bytes: int
    duration: int | None
    delay: int
    with_progress: bool


class Recorded(NamedTuple):
    """What one recording gave."""

    data: SampleData
    duration_ns: int
    start: float
    ended: Ended | None


def _open(settings: Settings, events: list[str], launched: Launched | None) -> kperf.Sampling:
    target = settings.target
    cpus = target.cpus
    if target.system and (target.pids or target.tids):
        cpus = list(kperf.Machine().online_cpus)
    mode = kperf.SymbolMode.RESOLVE_ELF_DWARF if settings.lines else kperf.SymbolMode.RESOLVE_ELF
    return kperf.Sampling(
        events,
        filters=settings.filters,
        pids=target.pids,
        tids=target.tids,
        cpus=cpus,
        command=launched.held if launched and target.counts_command else None,
        cgroup=target.cgroup,
        inherit=settings.inherit,
        enable_on_exec=target.counts_command and not settings.delay,
        period=settings.period,
        frequency=settings.frequency,
        call_stack=settings.call_stack,
        branch_filter=settings.branches,
        symbol_mode=mode,
        buffer_bytes=settings.buffer_bytes or DEFAULT_BUFFER_BYTES,
    )


def _open_or_fall_back(settings: Settings, launched: Launched | None) -> kperf.Sampling:
    """With the events that were asked for; by default cycles, or the clock where there are none."""
    if settings.events:
        return _open(settings, settings.events, launched)
    try:
        return _open(settings, ["cycles"], launched)
    except kperf.NotSupportedError:
        if settings.branches:  # only the PMU records them
            raise
        sampling = _open(settings, ["cpu-clock"], launched)
        sampling.notes.append("cpu-clock instead of cycles, which this machine does not count")
        return sampling


def record(settings: Settings, signals: Signals) -> Recorded:
    """Samples until the target's end, the end of the duration, or a signal."""
    target = settings.target
    launched = Launched(target.argv, signals) if target.argv else None
    try:
        with _open_or_fall_back(settings, launched) as sampling:
            return _run(settings, signals, launched, sampling)
    finally:
        if launched is not None:
            launched.close()


def _run(
    settings: Settings, signals: Signals, launched: Launched | None, sampling: kperf.Sampling
) -> Recorded:
    target = settings.target
    watched = [launched.held.pid] if launched else [*target.pids, *target.tids]
    progress = Progress(sampling.count, "samples")
    waiter = Waiter(signals, watched, progress.show if settings.with_progress else None)
    try:
        window = collect(
            sampling, target, launched, waiter, duration=settings.duration, delay=settings.delay
        )
    finally:
        progress.clear()
        waiter.close()
    return Recorded(sampling.read(), window.duration_ns, window.start, window.ended)
