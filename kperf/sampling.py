"""Sampling as a context manager that raises `KperfError`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from kperf import notes
from kperf._native import EventStatus, Failure, probe
from kperf._native_sampling import NativeSampler, SampleOptions
from kperf.arguments import size
from kperf.attrs import BranchSampleFilter, EvtAttr, SymbolMode
from kperf.collection import Collection, Wanted
from kperf.command import Command
from kperf.errors import Error, KperfError, error
from kperf.events.event import TRACEPOINT, Event, EventGroup
from kperf.events.tracking import TRACKING
from kperf.machine import Machine
from kperf.request import check_period
from kperf.samples import SampleData, Shown

DEFAULT_FREQUENCY = 4000
DEFAULT_BUFFER_BYTES = 1 << 19

_BRANCH_FILTER = sum(set(map(int, BranchSampleFilter)))

# What must be joined by other bits of a branch filter: the levels alone select no branches.
_LEVELS = int(
    BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER
    | BranchSampleFilter.KPERF_SAMPLE_BRANCH_KERNEL
    | BranchSampleFilter.KPERF_SAMPLE_BRANCH_HV
)


class Rate(NamedTuple):
    """How often samples are taken: every `period` events, or `frequency` times a second."""

    period: int = 0
    frequency: int = 0


def _check_rate(rate: Rate, machine: Machine) -> None:
    check_period(rate.period)
    if rate.frequency < 0 or (rate.period and rate.frequency):
        raise error(
            Error.INVALID_SAMPLE_RATE,
            f"a period of {rate.period} with a frequency of {rate.frequency} Hz means nothing",
            hint="give one of them, above 0",
        )
    limit = machine.max_sample_rate
    if limit is not None and rate.frequency > limit:
        raise error(
            Error.INVALID_SAMPLE_RATE,
            f"{rate.frequency} samples a second are above the system's limit of {limit}",
            hint=f"ask for less, or: sysctl kernel.perf_event_max_sample_rate={rate.frequency}",
        )


def _rated(event: Event, rate: Rate, machine: Machine) -> Event:
    """An event with its rate; by default each hit of a tracepoint, else 4,000 times a second."""
    if event.period:
        return event  # the caller's for this event alone
    if rate.period or (event.kind == TRACEPOINT and not rate.frequency):
        return event._replace(period=rate.period or 1)
    most = machine.max_sample_rate or DEFAULT_FREQUENCY
    return event._replace(period=rate.frequency or min(DEFAULT_FREQUENCY, most), by_frequency=True)


def _check_branches(branch_filter: int) -> None:
    if branch_filter & ~_BRANCH_FILTER:
        raise error(
            Error.INVALID_BRANCH_FILTER,
            f"{branch_filter:#x} is no branch filter",
            hint="combine members of kperf.BranchSampleFilter",
        )
    if branch_filter and not branch_filter & ~_LEVELS:
        raise error(
            Error.INVALID_BRANCH_FILTER,
            "the branch filter names whose branches, but not which",
            hint="add KPERF_SAMPLE_BRANCH_ANY, or another kind of branch",
        )


def on_each_cpu(event: Event, cpus: Sequence[int], machine: Machine) -> Sequence[int]:
    """A ring that children inherit needs an event on one CPU: so each task on every CPU."""
    cpus = cpus or machine.online_cpus
    return cpus if event.cpus is None else [cpu for cpu in cpus if cpu in event.cpus]


class Sampling(Collection):
    """Samples events: where they happen. Opened by the constructor, disabled until `enable()`.

    events, filters, pids, tids, cpus, command, cgroup, groups: as for `Counting`. How often: every
    `period` events, or `frequency` times a second (default: tracepoints each time, else 4,000 Hz,
    or what the system allows). `call_stack` records who called; `symbol_mode` says how far
    addresses are named.

    A thread of this library empties the kernel's buffers (`buffer_bytes` a CPU) while the program
    does something else; `store_bytes` limits what it keeps (default: a quarter of the memory), and
    what is beyond is counted as lost. Raises `KperfError`.
    """

    def __init__(
        self,
        events: str | Sequence[str],
        *,
        pids: Sequence[int] = (),
        tids: Sequence[int] = (),
        cpus: Sequence[int] = (),
        command: Command | None = None,
        cgroup: str = "",
        groups: Sequence[int | EvtAttr] | None = None,
        exclude_user: bool = False,
        exclude_kernel: bool = False,
        inherit: bool = True,
        enable_on_exec: bool = False,
        filters: Sequence[str] = (),
        period: int = 0,
        frequency: int = 0,
        call_stack: bool = False,
        symbol_mode: int = SymbolMode.RESOLVE_ELF,
        branch_filter: int = 0,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        store_bytes: int = 0,
    ) -> None:
        _check_branches(branch_filter)
        self._rate = Rate(period, frequency)
        self._shown = Shown(symbol_mode, call_stack, branch_filter)
        self._options = SampleOptions(
            call_chain=call_stack,
            branch_types=branch_filter,
            ring_bytes=size("buffer_bytes", buffer_bytes),
            store_bytes=size("store_bytes", store_bytes) or quarter_of_memory(),
        )
        super().__init__(
            Wanted(
                events,
                groups,
                exclude_user,
                exclude_kernel,
                pids,
                tids,
                cpus,
                command,
                cgroup,
                inherit,
                enable_on_exec,
                filters,
            )
        )

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSampler:
        self._sampler = NativeSampler(partial(self._explain, explain), self._options)
        return self._sampler

    def _explain(self, explain: Callable[[Failure], KperfError], failure: Failure) -> KperfError:
        """The core's failure in words; of what can be counted and not sampled, all at once."""
        if failure.code == Error.INVALID_EVENT and 0 <= failure.event < len(self.events):
            refused = self.events[failure.event]
            alike = [event for event in self.events if event.pmu == refused.pmu]
            if refused.pmu and not refused.precise and probe(refused) == 0:
                return self._not_sampled(alike)
        return explain(failure)

    def _not_sampled(self, events: Sequence[Event]) -> KperfError:
        names = ", ".join(dict.fromkeys(event.name for event in events))
        if self._shown.branches:
            return error(
                Error.NOT_SUPPORTED_BY_CPU,
                f"no branch records of {names}: this machine has none (LBR, BRBE), or not of the "
                "kinds that are asked for",
                hint="leave the branch filter out, or sample cycles where the CPU records branches",
            )
        return error(
            Error.NOT_SUPPORTED_BY_CPU,
            f"{names} can be counted, but not sampled: its PMU raises no interrupt",
            hint="count it (PmuTaskType.COUNTING, kperf stat), or sample another event",
        )

    def _shape(self, groups: list[EventGroup]) -> list[EventGroup]:
        """The events at their rate, and before them the one that tells of processes and maps."""
        _check_rate(self._rate, self.machine)
        rated = [
            group._replace(
                events=tuple(_rated(event, self._rate, self.machine) for event in group.events)
            )
            for group in groups
        ]
        raw = any(event.kind == TRACEPOINT for group in rated for event in group.events)
        self._options = self._options._replace(raw=raw)
        return [TRACKING, *rated]

    def _cpus_of(self, event: Event) -> Sequence[int]:
        return on_each_cpu(event, super()._cpus_of(event), self.machine)

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        missing = [event for event, status in zip(self.events, statuses) if not status.supported]
        if missing and all(probe(event) == 0 for event in missing):
            raise self._not_sampled(missing)
        self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        return [*self._told_of_rate(), *notes.of_choosing(self._sampler.choosing())]

    def _told_of_rate(self) -> list[str]:
        limit = self.machine.max_sample_rate
        lowered = limit is not None and limit < DEFAULT_FREQUENCY and not self._rate.frequency
        if lowered and any(event.by_frequency for event in self.events):
            return [f"sampled at {limit} Hz: kernel.perf_event_max_sample_rate allows no more"]
        return []

    def count(self) -> int:
        """How many samples came since the last read; may be called while enabled."""
        return self._sampler.count()

    def read(self) -> SampleData:
        """The samples since the last read, in order of time; may be called while enabled."""
        raw = self._sampler.read()
        told = [*self.notes, *self._told_of_rings(raw.ring_bytes)]
        return SampleData(raw, self._infos, self.machine, self.topology, self._shown, told)

    def _told_of_rings(self, size: int) -> list[str]:
        wanted = self._options.ring_bytes
        if not 0 < size < wanted:
            return []
        return [
            f"buffers of {size >> 10} KiB a CPU instead of {wanted >> 10} KiB, as "
            "kernel.perf_event_mlock_kb and 'ulimit -l' allow no more"
        ]


def quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
