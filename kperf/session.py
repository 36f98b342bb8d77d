"""Collections as context managers that raise `KperfError`."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf._native import events_array, last_failure
from kperf.attrs import EvtAttr
from kperf.command import Command
from kperf.data import EventInfo, PmuData, Quality
from kperf.errors import Error, KperfError, error
from kperf.events import grammar
from kperf.events.grammar import EventText, GroupText
from kperf.events.resolve import CORE, DEVICE, Event, EventGroup, resolve_groups
from kperf.explain import Attempt, explain, kernel_hidden, unsupported
from kperf.machine import Machine, format_cpu_list
from kperf.topo import Topology

_live: weakref.WeakSet[Counting] = weakref.WeakSet()


def _abandon_in_child() -> None:
    for session in list(_live):
        session._abandon()


os.register_at_fork(after_in_child=_abandon_in_child)


# ---- arguments ----


def parse_events(
    events: str | Sequence[str], groups: Sequence[int | EvtAttr] | None
) -> list[GroupText]:
    """Event texts as groups; `groups` gives each text's group number (-1: none) or attributes."""
    texts = [events] if isinstance(events, str) else list(events)
    if not texts:
        raise error(
            Error.INVALID_EVENT_LIST,
            "the event list is empty",
            hint="name at least one event, such as 'cycles' or 'task-clock'",
        )
    if groups is None:
        return [group for text in texts for group in grammar.parse(text)]
    if len(groups) != len(texts):
        raise error(
            Error.INVALID_EVENT_LIST,
            f"{len(texts)} events have {len(groups)} group numbers",
            hint="give one number an event, -1 for none",
        )
    attrs = [group if isinstance(group, EvtAttr) else EvtAttr(group) for group in groups]
    return _group_by_number(texts, attrs)


def _own_exclusion(text: str, attr: EvtAttr) -> str:
    """An event's own exclusions as a modifier."""
    if attr.excludeUser and attr.excludeKernel:
        raise _nothing_left(text)
    return "k" if attr.excludeUser else "u" if attr.excludeKernel else ""


def _nothing_left(name: str) -> KperfError:
    return error(
        Error.INVALID_ARGUMENT,
        f"user space and the kernel are both excluded, so nothing is left to count of {name}",
        hint="exclude one of them",
    )


def _group_by_number(texts: Sequence[str], attrs: Sequence[EvtAttr]) -> list[GroupText]:
    gathered: list[list[EventText]] = []
    place: dict[int, int] = {}
    for text, attr in zip(texts, attrs):
        number = attr.groupId
        parsed = grammar.parse(text)
        if len(parsed) > 1 or parsed[0].braced:
            raise error(
                Error.INVALID_EVENT_LIST,
                f"'{text}' is a list, where one event with a group number is wanted",
                hint="give each event an entry of its own",
            )
        member = EventText(parsed[0].events[0].text, _own_exclusion(text, attr))
        if number == -1 or number not in place:
            if number != -1:
                place[number] = len(gathered)
            gathered.append([member])
        else:
            gathered[place[number]].append(member)
    return [GroupText(tuple(members), braced=len(members) > 1) for members in gathered]


def check_pids(pids: Sequence[int], what: str = "process") -> list[int]:
    """Each number once. Raises for what cannot be one; whether it lives, the kernel tells."""
    for pid in pids:
        if not 0 < pid < 1 << 31:
            raise error(
                Error.INVALID_PID_LIST,
                f"{pid} is no {what} number",
                hint="see 'ps -e' for those that run",
            )
    return list(dict.fromkeys(pids))


def check_cpus(cpus: Sequence[int], machine: Machine) -> list[int]:
    """Each number once, in order. Raises for CPUs that are not there or not online."""
    online, present = set(machine.online_cpus), set(machine.present_cpus)
    for cpu in cpus:
        if cpu not in present:
            raise error(
                Error.INVALID_CPU_LIST,
                f"there is no CPU {cpu} here",
                hint=f"the CPUs are {format_cpu_list(machine.online_cpus)}",
            )
        if cpu not in online:
            raise error(
                Error.INVALID_CPU_LIST,
                f"CPU {cpu} is offline",
                hint=f"bring it up (echo 1 > /sys/devices/system/cpu/cpu{cpu}/online), "
                "or leave it out",
            )
    return sorted(set(cpus))


def _open_cgroup(path: str) -> int:
    """A cgroup's directory, by path or by its name below the perf_event or unified hierarchy."""
    roots = ("/sys/fs/cgroup/perf_event/", "/sys/fs/cgroup/")
    candidates = [path] if path.startswith("/sys/") else [root + path.strip("/") for root in roots]
    for candidate in candidates:
        try:
            return os.open(candidate, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
    raise error(
        Error.INVALID_CGROUP,
        f"there is no cgroup '{path}'",
        hint="see /sys/fs/cgroup for those there are",
    )


class _Target(NamedTuple):
    """Whom to count, checked."""

    pids: list[int]
    tids: list[int]
    cpus: list[int]  # empty: wherever a task runs, or all that are online
    cgroup: str

    @property
    def has_tasks(self) -> bool:
        return bool(self.pids or self.tids)


def _cpus_of(event: Event, target: _Target, machine: Machine) -> list[int]:
    """The CPUs that an event is opened on; empty: wherever the task runs."""
    if event.kind == DEVICE and target.has_tasks:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name} counts a device, not a process",
            hint="count it on the whole machine: -a (in Python: without pids)",
        )
    if target.has_tasks and not target.cpus:
        return []
    wanted = target.cpus or list(machine.online_cpus)
    if event.cpus is None:
        return wanted
    possible = [cpu for cpu in wanted if cpu in event.cpus]
    if not possible:
        raise error(
            Error.INVALID_CPU_LIST,
            f"{event.name} is counted on CPU {format_cpu_list(event.cpus)}, "
            f"and CPU {format_cpu_list(tuple(wanted))} was asked for",
            hint="leave the CPU list out, or name one of its CPUs",
        )
    return possible


# ---- counting ----


class Counting:
    """Counts events. Opened by the constructor, disabled until `enable()`.

    events: an event list as the command line takes it, or several; groups in braces, or by a number
    an event in `groups` (-1: none). Whom: `pids` (with all their threads, present and future, and
    their children), `tids`, a held `command`, a `cgroup`; on `cpus` alone where given. Neither: all
    processes on every online CPU.
    unsupported: "error" raises `NotSupportedError` naming every event that the machine lacks, "row"
    gives rows in that state.

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
        if exclude_user and exclude_kernel:
            raise _nothing_left("anything")
        self._session: Any = None
        self._lock = threading.RLock()
        self.machine = Machine()
        self.topology = Topology(self.machine)
        self._include_new_fork = include_new_fork
        self._groups = self._resolve(parse_events(events, groups), exclude_user, exclude_kernel)
        self.events: list[Event] = [event for group in self._groups for event in group.events]
        self.groups: list[int] = [group.number for group in self._groups for _ in group.events]
        pid_list = check_pids(pids) + ([command.pid] if command else [])
        self._target = _Target(
            pid_list,
            check_pids(tids, "thread"),
            check_cpus(cpus, self.machine),
            cgroup,
        )
        self._infos = [
            EventInfo(event.name, group, event.unit, event.scale)
            for event, group in zip(self.events, self.groups)
        ]
        self._open(inherit, enable_on_exec)
        _live.add(self)
        try:
            self._check_supported(unsupported)
            self.notes = self._open_notes()
        except BaseException:
            self.close()
            raise

    # ---- opening ----

    def _resolve(
        self, texts: Sequence[GroupText], exclude_user: bool, exclude_kernel: bool
    ) -> list[EventGroup]:
        groups = resolve_groups(texts, self.machine)
        if not exclude_user and not exclude_kernel:
            return groups

        def without(event: Event) -> Event:
            if event.kind == DEVICE:
                return event
            return event._replace(
                exclude_user=event.exclude_user or exclude_user,
                exclude_kernel=event.exclude_kernel or exclude_kernel,
            )

        return [group._replace(events=tuple(map(without, group.events))) for group in groups]

    def _open(self, inherit: bool, enable_on_exec: bool) -> None:
        target = self._target
        array, kept = events_array(
            self._groups, lambda event: _cpus_of(event, target, self.machine)
        )
        pids, tids = ffi.new("int32_t[]", target.pids), ffi.new("int32_t[]", target.tids)
        raw = ffi.new("struct kp_target *")
        raw.pids, raw.n_pids = pids, len(target.pids)
        raw.tids, raw.n_tids = tids, len(target.tids)
        raw.cgroup_fd = _open_cgroup(target.cgroup) if target.cgroup else -1
        flags = lib.KP_KEEP_UNSUPPORTED
        if target.has_tasks:
            flags |= lib.KP_USER_FALLBACK | (lib.KP_INHERIT if inherit else 0)
        if enable_on_exec:
            flags |= lib.KP_ENABLE_ON_EXEC
        out = ffi.new("struct kp_session **")
        try:
            failed = lib.kp_session_create(array, len(self.events), raw, flags, out) != 0
            if failed:
                raise explain(last_failure(), self._attempt)
        finally:
            if raw.cgroup_fd >= 0:
                os.close(raw.cgroup_fd)
        del kept
        self._session = out[0]

    @property
    def _attempt(self) -> Attempt:
        return Attempt(self.events, self.machine, self._target.has_tasks)

    def _statuses(self) -> list[Any]:
        statuses = ffi.new("struct kp_event_status[]", len(self.events))
        for index in range(len(self.events)):
            lib.kp_session_event_status(self._session, index, ffi.addressof(statuses, index))
        return list(statuses)

    def _check_supported(self, mode: str) -> None:
        if mode not in ("error", "row"):
            raise ValueError(f"unsupported is 'error' or 'row', not {mode!r}")
        statuses = list(zip(self.events, self._statuses()))
        missing = [event for event, status in statuses if not status.supported]
        if missing and mode == "error":
            hidden = [event for event, status in statuses if status.sys_errno == errno.EACCES]
            raise (
                kernel_hidden(hidden, self.machine)
                if hidden
                else unsupported(missing, self.machine)
            )

    def _open_notes(self) -> list[str]:
        """What was given up while opening, in words."""
        statuses = list(zip(self.events, self._statuses()))
        notes = []
        user_only = [event.name for event, status in statuses if status.user_only]
        hidden = [event.name for event, status in statuses if status.sys_errno == errno.EACCES]
        empty = [event.name for event in self.events if event.kernel_only and event.exclude_kernel]
        lone = [event.name for event, status in statuses if status.lone_reads]
        level = f"kernel.perf_event_paranoid is {self.machine.paranoid}"
        if user_only:
            notes.append(f"user space only, as {level}: {', '.join(user_only)}")
        if hidden:
            notes.append(f"hidden, as they happen in the kernel and {level}: {', '.join(hidden)}")
        if lone:
            notes.append(
                f"read one by one, as this kernel cannot read inherited groups: {', '.join(lone)}"
            )
        if empty:
            notes.append(f"nothing to count, as they happen in the kernel only: {', '.join(empty)}")
        if not self.machine.core_pmus and any(
            event.kind == CORE and not status.supported for event, status in statuses
        ):
            notes.append("this machine shows no hardware PMU, as many virtual machines")
        if self._include_new_fork:
            notes.append("new threads are counted in the row of the thread that made them")
        return notes + self._attach_notes()

    def _attach_notes(self) -> list[str]:
        report = ffi.new("struct kp_attach_report *")
        lib.kp_session_attach_report(self._session, report)
        counted = (
            (report.uncertain, "threads were born while their maker was attached"),
            (report.missed, "threads were not attached: they are made faster than that"),
            (report.lost, "births of threads went unseen while attaching"),
        )
        return [
            f"{number} {words}; counts may be off by theirs" for number, words in counted if number
        ]

    # ---- use ----

    def _opened(self) -> Any:
        if self._session is None:
            raise error(
                Error.INVALID_DESCRIPTOR,
                "this collection was closed",
                hint="open it again",
            )
        return self._session

    def enable(self) -> None:
        """Counts from now on, without forgetting what was counted before."""
        with self._lock:
            if lib.kp_session_enable(self._opened()) != 0:
                raise explain(last_failure(), self._attempt)

    def disable(self) -> None:
        """Stops counting until `enable()`."""
        with self._lock:
            if lib.kp_session_disable(self._opened()) != 0:
                raise explain(last_failure(), self._attempt)

    def read(self) -> PmuData:
        """The counts since the last read (the first: since the opening), enabled or not."""
        out = ffi.new("struct kp_counts **")
        with self._lock:
            if lib.kp_session_read(self._opened(), out) != 0:
                raise explain(last_failure(), self._attempt)
            now = time.monotonic_ns()
        return PmuData(out[0], self._infos, self.topology, now, Quality(self.notes))

    def close(self) -> None:
        """Closes the counters. Data already read stays valid. May be called again."""
        with self._lock:
            session, self._session = self._session, None
            _live.discard(self)
            if session is not None:
                lib.kp_session_destroy(session)

    def _abandon(self) -> None:
        """In a forked child. No lock: its holder may be a thread that the child does not have."""
        if self._session is not None:
            lib.kp_session_abandon(self._session)

    def __del__(self) -> None:
        if getattr(self, "_session", None) is not None:
            self.close()

    def __enter__(self) -> Counting:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()
