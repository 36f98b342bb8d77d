"""What counting and sampling have in common: events and targets, checked, opened and closed."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kperf import notes
from kperf._core import lib
from kperf._native import EventStatus, Failure, NativeSession
from kperf.arguments import of_type
from kperf.closing import Closing
from kperf.command import Command
from kperf.data import EventInfo, PmuData
from kperf.errors import KperfError
from kperf.events.event import Event, EventGroup
from kperf.explain import Attempt, explain, kernel_hidden, unsupported
from kperf.machine import Machine
from kperf.request import (
    Target,
    ask_for,
    check_cpus,
    check_exclusions,
    check_filters,
    check_pids,
    exclude_levels,
    open_cgroup,
    resolve_asked,
)
from kperf.topo import Topology

if TYPE_CHECKING:  # its enumerations cost a start-up that most commands need not pay
    from kperf.attrs import EvtAttr


class Wanted(NamedTuple):
    """What a caller asks for, unchecked: the arguments that every collection takes."""

    events: str | Sequence[str]
    groups: Sequence[int | EvtAttr] | None = None
    exclude_user: bool = False
    exclude_kernel: bool = False
    pids: Sequence[int] = ()
    tids: Sequence[int] = ()
    cpus: Sequence[int] = ()
    command: Command | None = None
    cgroup: str = ""
    inherit: bool = True
    enable_on_exec: bool = False
    filters: Sequence[str] = ()


class Collection(Closing):
    """An opened set of events. Usable from any thread, by the process that opened it.

    `events` and `groups` are what was opened, in the order of a read's `event` column; `notes` says
    what was given up for it.
    """

    def __init__(self, wanted: Wanted) -> None:
        check_exclusions(wanted.exclude_user, wanted.exclude_kernel)
        self.machine = Machine()
        self.topology = Topology(self.machine)
        self._target = self._check_target(wanted)
        opened = self._shape(self._resolve(wanted))
        self.events: list[Event] = [event for group in opened for event in group.events]
        self.groups: list[int] = [group.number for group in opened for _ in group.events]
        self._infos = [
            EventInfo(event.name, group, event.unit, event.scale, event)
            for event, group in zip(self.events, self.groups)
        ]
        attempt = Attempt(self.events, self.machine, self._target.has_tasks)
        self._session = self._make_session(partial(explain, attempt=attempt))
        self._open(opened, _flags(wanted, self._target))
        try:
            self.notes = self._after_opening(self._session.statuses())
        except BaseException:
            self.close()
            raise

    # ---- what differs ----

    @abstractmethod
    def _make_session(self, explain: Callable[[Failure], KperfError]) -> NativeSession:
        """The core's part, not yet opened."""

    @abstractmethod
    def _accept(self, statuses: Sequence[EventStatus]) -> None:
        """Raises where the events did not open as they must."""

    def _shape(self, groups: list[EventGroup]) -> list[EventGroup]:
        """The groups as they are opened."""
        return groups

    def _cpus_of(self, event: Event) -> Sequence[int]:
        """The CPUs that an event is opened on; empty: wherever the task runs."""
        return self._target.cpus_of(event, self.machine)

    def _own_notes(self) -> list[str]:
        return []

    @abstractmethod
    def read(self) -> PmuData:
        """What came since the last read."""

    # ---- opening ----

    def _check_target(self, wanted: Wanted) -> Target:
        return target_of(wanted, self.machine)

    def _resolve(self, wanted: Wanted) -> list[EventGroup]:
        return exclude_levels(
            check_filters(
                resolve_asked(ask_for(wanted.events, wanted.groups, wanted.filters), self.machine)
            ),
            exclude_user=wanted.exclude_user,
            exclude_kernel=wanted.exclude_kernel,
        )

    def _open(self, groups: Sequence[EventGroup], flags: int) -> None:
        target = self._target
        cgroup_fd = open_cgroup(target.cgroup) if target.cgroup else -1
        try:
            self._session.open(groups, self._cpus_of, target.pids, target.tids, cgroup_fd, flags)
        finally:
            if cgroup_fd >= 0:
                os.close(cgroup_fd)

    def _after_opening(self, statuses: Sequence[EventStatus]) -> list[str]:
        self._accept(statuses)
        self.hidden = [event for event, status in zip(self.events, statuses) if status.is_hidden]
        return [
            *notes.of_events(self.events, statuses, self.machine),
            *self._own_notes(),
            *notes.of_attaching(self._session.attach_report()),
        ]

    def _require_all(self, statuses: Sequence[EventStatus]) -> None:
        """Raises one error that names every event that did not open."""
        pairs = list(zip(self.events, statuses))
        hidden = [event for event, status in pairs if status.is_hidden]
        if hidden:
            raise kernel_hidden(hidden, self.machine)
        missing = [event for event, status in pairs if not status.supported]
        if missing:
            raise unsupported(missing, self.machine)

    # ---- use ----

    def check_usable(self) -> None:
        """Raises `KperfError` where it was closed, and in a forked child of its opener."""
        self._session.check_usable()

    def enable(self) -> None:
        """Collects from now on, without forgetting what was collected before."""
        self._session.enable()

    def disable(self) -> None:
        """Stops collecting until `enable()`."""
        self._session.disable()

    def close(self) -> None:
        """Closes the events. Data already read stays valid. May be called again."""
        self._session.close()


def target_of(wanted: Wanted, machine: Machine) -> Target:
    """Whom to collect from, checked."""
    of_type("command", wanted.command, Command, type(None))
    of_type("cgroup", wanted.cgroup, str)
    return Target(
        pids=check_pids(wanted.pids) + ([wanted.command.pid] if wanted.command else []),
        tids=check_pids(wanted.tids, "thread"),
        cpus=check_cpus(wanted.cpus, machine),
        cgroup=wanted.cgroup,
    )


def _flags(wanted: Wanted, target: Target) -> int:
    flags: int = lib.KP_KEEP_UNSUPPORTED
    if target.has_tasks:
        flags |= lib.KP_USER_FALLBACK
    if target.has_tasks and wanted.inherit:
        flags |= lib.KP_INHERIT
    if wanted.enable_on_exec:
        flags |= lib.KP_ENABLE_ON_EXEC
    return flags
