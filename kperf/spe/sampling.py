"""SPE sampling as a context manager that raises `KperfError`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial
from operator import index

from kperf._native import EventStatus, Failure
from kperf._native_sampling import NativeSampler, SampleOptions
from kperf.arguments import of_type, size
from kperf.attrs import SpeFilter, SymbolMode
from kperf.collection import Collection, Wanted
from kperf.command import Command
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup
from kperf.events.tracking import TRACKING
from kperf.samples import Shown
from kperf.sampling import on_each_cpu, quarter_of_memory
from kperf.spe.data import Cores, SpeData
from kperf.spe.decode import Keep
from kperf.spe.events import event_names
from kperf.spe.request import KIND, SpeRequest, spe_event

_ROWS = Keep()

# Sizes of a CPU's AUX area: the larger one needs privilege, and is halved where there is none.
_AUX_BYTES = 1 << 22


class SpeSampling(Collection):
    """Samples operations with Arm SPE: what they touched, what it cost, where the data came from.

    pids, tids, cpus, command, inherit: as for `Counting`; neither: the whole machine.
    data_filter: `SpeFilter` bits (none of the three operation filters: all operations). Records
    have all events of `event_filter` (`SpeEventFilter`, or bits); `any_events` keeps those that
    have one of these bits, in software. min_latency: cycles. period: operations between two
    samples (default: the hardware's least, at least 4,096).

    `keep` chooses rows, or sums that do not grow with the number of records. `aux_bytes` a CPU is
    what the hardware writes into before the library's thread empties it. `spool_fd`: all records
    are also written to this descriptor, as the data of a perf.data. Raises `KperfError`.
    """

    def __init__(
        self,
        *,
        pids: Sequence[int] = (),
        tids: Sequence[int] = (),
        cpus: Sequence[int] = (),
        command: Command | None = None,
        exclude_user: bool = False,
        exclude_kernel: bool = False,
        inherit: bool = True,
        enable_on_exec: bool = False,
        period: int = 0,
        data_filter: int = 0,
        event_filter: int = 0,
        any_events: int = 0,
        min_latency: int = 0,
        keep: Keep = _ROWS,
        symbol_mode: int = SymbolMode.RESOLVE_ELF,
        aux_bytes: int = _AUX_BYTES,
        buffer_bytes: int = 1 << 19,
        store_bytes: int = 0,
        spool_fd: int = -1,
    ) -> None:
        of_type("keep", keep, Keep)
        self._request = SpeRequest(
            index(data_filter),
            index(event_filter),
            min_latency,
            period,
            exclude_user,
            exclude_kernel,
        )
        self._has_clock = not data_filter & SpeFilter.PCT_ENABLE
        self._options = SampleOptions(
            raw=True,
            ring_bytes=size("buffer_bytes", buffer_bytes),
            store_bytes=size("store_bytes", store_bytes) or quarter_of_memory(),
            spe=keep._replace(any_events=any_events or keep.any_events),
            aux_bytes=size("aux_bytes", aux_bytes),
            other_timer=not self._has_clock,
            spool_fd=spool_fd,
        )
        self._shown = Shown(symbol_mode, call_stack=False, branches=False)
        super().__init__(
            Wanted(
                events=(),
                exclude_user=exclude_user,
                exclude_kernel=exclude_kernel,
                pids=pids,
                tids=tids,
                cpus=cpus,
                command=command,
                inherit=inherit,
                enable_on_exec=enable_on_exec,
            )
        )

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSampler:
        self._sampler = NativeSampler(partial(self._explain, explain), self._options)
        return self._sampler

    def _explain(self, explain: Callable[[Failure], KperfError], failure: Failure) -> KperfError:
        """The core's failure in words."""
        is_spe = 0 <= failure.event < len(self.events) and self.events[failure.event].kind == KIND
        action = self._EXPLAINED.get(failure.code) if is_spe else None
        return action(self, failure) if action else explain(failure)

    def _no_permission(self, failure: Failure) -> KperfError:
        physical = self._request.data_filter & (SpeFilter.PA_ENABLE | SpeFilter.PCT_ENABLE)
        why = (
            "physical addresses and counters are the kernel's secret"
            if physical
            else "SPE shows what other programs do"
        )
        fix = "leave them out, or run as root" if physical else "run as root"
        return error(
            Error.NO_PERMISSION,
            f"no permission for {self.events[failure.event].name}: {why}",
            hint=f"{fix}, with CAP_PERFMON, or: sysctl kernel.perf_event_paranoid=-1",
            errno=failure.errno,
        )

    def _busy(self, failure: Failure) -> KperfError:
        where = f" on CPU {failure.cpu}" if failure.cpu >= 0 else ""
        return error(
            Error.DEVICE_BUSY,
            f"{self.events[failure.event].name} is in use{where}: SPE serves one session at a time",
            hint="end the other kperf or perf that uses it, or wait for it",
            errno=failure.errno,
        )

    def _refused(self, errno_: int) -> KperfError:
        request = self._request
        asked = [bit.name for bit in SpeFilter if bit.name and request.data_filter & bit]
        asked += event_names(request.event_filter)
        asked += [f"min_latency={request.min_latency}"] if request.min_latency else []
        return error(
            Error.INVALID_FILTER,
            f"{self.events[-1].name} refuses these filters: {', '.join(asked) or 'none'}",
            hint="leave out what this chip's SPE lacks, or filter events in software "
            "(any_events, 'kperf spe --any-event')",
            errno=errno_,
        )

    _EXPLAINED: dict[Error, Callable[[SpeSampling, Failure], KperfError]] = {  # noqa: RUF012
        Error.NO_PERMISSION: _no_permission,
        Error.DEVICE_BUSY: _busy,
        Error.INVALID_EVENT: lambda self, failure: self._refused(failure.errno),
    }

    def _resolve(self, wanted: Wanted) -> list[EventGroup]:
        return [EventGroup((spe_event(self._request, self.machine),), -1)]

    def _shape(self, groups: list[EventGroup]) -> list[EventGroup]:
        self._options = self._options._replace(period=groups[0].events[0].period)
        return [TRACKING, *groups]

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        status = statuses[-1]
        if not status.supported and status.errno == errno.EOPNOTSUPP:
            raise self._refused(status.errno)
        self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        if self._has_clock:
            return []
        return ["time stamps are of the physical counter, not of a clock: ts is -1"]

    def _cpus_of(self, event: Event) -> Sequence[int]:
        return on_each_cpu(event, super()._cpus_of(event), self.machine)

    def read(self) -> SpeData:
        """The records since the last read, in order of time; may be called while enabled."""
        raw = self._sampler.read()
        return SpeData(
            raw,
            self._infos,
            self.machine,
            self.topology,
            self._shown,
            self.notes,
            Cores(self.machine),
            has_clock=self._has_clock,
        )
