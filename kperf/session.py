"""Counting as a context manager that raises `KperfError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kperf import notes
from kperf._native import EventStatus, Failure, NativeSession
from kperf._native_offspring import NativeOffspring
from kperf.collection import Collection, Wanted
from kperf.command import Command
from kperf.data import PmuData, Quality
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup
from kperf.events.tracking import TRACKING
from kperf.request import Target

if TYPE_CHECKING:  # its enumerations cost a start-up that most commands need not pay
    from kperf.attrs import EvtAttr


class Counting(Collection):
    """Counts events. Opened by the constructor, disabled until `enable()`.

    events: an event list as the command line takes it, or several; groups in braces, or by a number
    an event in `groups` (-1: none). Whom: `pids` (with all their threads, present and future, and
    their children), `tids`, a held `command`, a `cgroup`; on `cpus` alone where given. Neither: all
    processes on every online CPU.
    `include_new_fork` gives threads and children that are born meanwhile rows of their own; what
    they do before the kernel's word of their birth arrives stays in the row of the thread they come
    from, so that the rows add up to the exact total.
    filters: which hits of tracepoints count, one text an event text ("": all), in the kernel's
    words: `prev_pid == 17 && prev_comm ~ "kw*"`.
    unsupported: "error" raises `NotSupportedError` naming every event that the machine lacks, "row"
    gives rows in that state.

    `events` and `groups` are what was opened, in the order of a read's `event` column; `notes` says
    what was given up for it. Usable from any thread, by the process that opened it.
    Raises `KperfError`; the kernel's reason is in its `errno`.
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
        include_new_fork: bool = False,
        enable_on_exec: bool = False,
        filters: Sequence[str] = (),
        unsupported: str = "error",
    ) -> None:
        if unsupported not in ("error", "row"):
            raise error(
                Error.INVALID_ARGUMENT,
                f"unsupported={unsupported!r} means nothing",
                hint="use 'error' or 'row'",
            )
        if include_new_fork and not inherit:
            raise error(
                Error.INVALID_ARGUMENT,
                "include_new_fork asks for the newborn, and inherit=False leaves them out",
                hint="leave one of them out",
            )
        self._keeps_unsupported = unsupported == "row"
        self._follows = include_new_fork
        self._not_followed = ""
        wanted = Wanted(
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
        try:
            super().__init__(wanted)
        except KperfError as failure:
            if not include_new_fork or failure.code != Error.TOO_MANY_FILES:
                raise
            self._follows = False
            self._not_followed = (
                "new threads are counted in the row of the thread they come from, as following "
                f"them takes too much: {failure.message}"
            )
            super().__init__(wanted)

    def _check_target(self, wanted: Wanted) -> Target:
        target = super()._check_target(wanted)
        self._follows = self._follows and target.has_tasks
        return target

    def _shape(self, groups: list[EventGroup]) -> list[EventGroup]:
        return [TRACKING, *groups] if self._follows else groups

    def _cpus_of(self, event: Event) -> Sequence[int]:
        return self.machine.online_cpus if event.tracks else super()._cpus_of(event)

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSession:
        self._offspring = NativeOffspring(explain) if self._follows else None
        return self._offspring or NativeSession(explain)

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        if not self._keeps_unsupported:
            self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        return [self._not_followed] if self._not_followed else []

    def read(self) -> PmuData:
        """The counts since the last read (the first: since the opening), enabled or not."""
        counts = self._session.read()
        told = (
            [*self.notes, *notes.of_newborns(self._offspring.report())]
            if self._offspring
            else (self.notes)
        )
        return PmuData(counts, self._infos, self.topology, time.monotonic_ns(), Quality(told))
