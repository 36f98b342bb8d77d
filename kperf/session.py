"""Counting as a context manager that raises `KperfError`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kperf._native import EventStatus, Failure, NativeSession
from kperf.collection import Collection, Wanted
from kperf.command import Command
from kperf.data import PmuData, Quality
from kperf.errors import Error, KperfError, error

if TYPE_CHECKING:  # its enumerations cost a start-up that most commands need not pay
    from kperf.attrs import EvtAttr


class Counting(Collection):
    """Counts events. Opened by the constructor, disabled until `enable()`.

    events: an event list as the command line takes it, or several; groups in braces, or by a number
    an event in `groups` (-1: none). Whom: `pids` (with all their threads, present and future, and
    their children), `tids`, a held `command`, a `cgroup`; on `cpus` alone where given. Neither: all
    processes on every online CPU.
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
        unsupported: str = "error",
    ) -> None:
        if unsupported not in ("error", "row"):
            raise error(
                Error.INVALID_ARGUMENT,
                f"unsupported={unsupported!r} means nothing",
                hint="use 'error' or 'row'",
            )
        self._keeps_unsupported = unsupported == "row"
        self._include_new_fork = include_new_fork
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
            )
        )

    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSession:
        return NativeSession(explain)

    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        if not self._keeps_unsupported:
            self._require_all(statuses)

    def _own_notes(self) -> list[str]:
        if not self._include_new_fork:
            return []
        return ["new threads are counted in the row of the thread that made them"]

    def read(self) -> PmuData:
        """The counts since the last read (the first: since the opening), enabled or not."""
        counts = self._session.read()
        return PmuData(counts, self._infos, self.topology, time.monotonic_ns(), Quality(self.notes))

    def __enter__(self) -> Counting:
        return self
