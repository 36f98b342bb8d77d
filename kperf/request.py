"""What a caller asks to be collected, checked: events with their groups, pids, CPUs, a cgroup."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kperf.arguments import of_type
from kperf.errors import Error, KperfError, error
from kperf.events import grammar, modifiers
from kperf.events.event import DEVICE, TRACEPOINT, Event, EventGroup
from kperf.events.grammar import EventText, GroupText
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine, format_cpu_list

if TYPE_CHECKING:  # its enumerations cost a start-up that most commands need not pay
    from kperf.attrs import EvtAttr

# ---- events ----


class AskedGroup(NamedTuple):
    """A group as it was written. `number` is the caller's; None where braces make the group."""

    text: GroupText
    number: int | None = None


def ask_for(
    events: str | Sequence[str],
    groups: Sequence[int | EvtAttr] | None,
    filters: Sequence[str] = (),
) -> list[AskedGroup]:
    """Event texts as groups; `groups` gives each text's group number (-1: none) or attributes.

    `filters` gives each text's filter ("": none), which is that of all its events.
    """
    texts = [events] if isinstance(events, str) else list(events)
    for text in texts:
        of_type("an event", text, str)
    if filters and len(filters) != len(texts):
        raise error(
            Error.INVALID_FILTER,
            f"{len(texts)} event texts have {len(filters)} filters",
            hint='give one filter a text, "" for none',
        )
    if not texts:
        raise error(
            Error.INVALID_EVENT_LIST,
            "the event list is empty",
            hint="name at least one event, such as 'cycles' or 'task-clock'",
        )
    if groups is None:
        return [
            AskedGroup(_filtered(group, kept))
            for text, kept in zip(texts, filters or [""] * len(texts))
            for group in grammar.parse(text)
        ]
    if len(groups) != len(texts):
        raise error(
            Error.INVALID_EVENT_LIST,
            f"{len(texts)} events have {len(groups)} group numbers",
            hint="give one number an event, -1 for none",
        )
    from kperf.attrs import EvtAttr

    attrs = [group if isinstance(group, EvtAttr) else EvtAttr(group) for group in groups]
    return _gather(texts, attrs, filters or [""] * len(texts))


def _filtered(group: GroupText, kept: str) -> GroupText:
    return group._replace(events=tuple(event._replace(filter=kept) for event in group.events))


def _gather(
    texts: Sequence[str], attrs: Sequence[EvtAttr], filters: Sequence[str]
) -> list[AskedGroup]:
    """Events of one number become one group, at the place of its first."""
    lone = itertools.count()
    members: dict[tuple[str, int], list[EventText]] = {}
    for text, attr, kept in zip(texts, attrs, filters):
        key = ("lone", next(lone)) if attr.groupId == -1 else ("group", attr.groupId)
        members.setdefault(key, []).append(_single_event(text, attr)._replace(filter=kept))
    return [
        AskedGroup(GroupText(tuple(found), braced=len(found) > 1), -1 if kind == "lone" else number)
        for (kind, number), found in members.items()
    ]


def _single_event(text: str, attr: EvtAttr) -> EventText:
    parsed = grammar.parse(text)
    if len(parsed) > 1 or parsed[0].braced:
        raise error(
            Error.INVALID_EVENT_LIST,
            f"'{text}' is a list, where one event with a group number is wanted",
            hint="give each event an entry of its own",
        )
    check_exclusions(attr.excludeUser, attr.excludeKernel, text)
    check_period(attr.period, text)
    return (
        parsed[0]
        .events[0]
        ._replace(
            exclude_user=attr.excludeUser,
            exclude_kernel=attr.excludeKernel,
            period=attr.period,
        )
    )


def check_exclusions(exclude_user: bool, exclude_kernel: bool, name: str = "anything") -> None:
    if exclude_user and exclude_kernel:
        raise modifiers.nothing_left(name)


_MOST_PERIOD = (1 << 63) - 1  # the kernel's


def check_period(period: int, name: str = "this") -> None:
    """Raises for what cannot be a number of events between two samples; 0 asks for the default."""
    if not 0 <= period <= _MOST_PERIOD:
        raise error(
            Error.INVALID_SAMPLE_RATE,
            f"{name} cannot be sampled every {period} events",
            hint=f"give a period from 1 to {_MOST_PERIOD}, or 0 for the default",
        )


def resolve_asked(asked: Sequence[AskedGroup], machine: Machine) -> list[EventGroup]:
    """The events that the texts stand for. Raises one error that names every unknown one."""
    numbers = itertools.count()
    resolved: list[EventGroup] = []
    unknown: list[KperfError] = []
    for text, number in asked:
        try:
            groups = resolve_groups([text], machine)
        except KperfError as failure:
            unknown += _failures(text, failure, machine)
            continue
        for group in groups:
            if number is not None:
                resolved.append(group._replace(number=number))
            else:
                resolved.append(group._replace(number=-1 if group.number < 0 else next(numbers)))
    if unknown:
        raise _all_unknown(unknown)
    return resolved


def _failures(text: GroupText, failure: KperfError, machine: Machine) -> list[KperfError]:
    """A group's failure stopped at its first unknown event: those of all its members."""
    if failure.code != Error.INVALID_EVENT:
        raise failure
    found = []
    for member in text.events:
        try:
            resolve_groups([GroupText((member,))], machine)
        except KperfError as own:
            found.append(own)
    return found or [failure]


def _all_unknown(failures: Sequence[KperfError]) -> KperfError:
    hints = {failure.hint for failure in failures}
    if len(hints) == 1:
        message = "; ".join(dict.fromkeys(failure.message for failure in failures))
        return error(failures[0].code, message, hint=hints.pop())
    return error(failures[0].code, "; ".join(dict.fromkeys(map(str, failures))))


def check_filters(groups: list[EventGroup]) -> list[EventGroup]:
    """The groups, if none but tracepoints have filters."""
    for group in groups:
        for event in group.events:
            if event.filter and event.kind != TRACEPOINT:
                raise error(
                    Error.INVALID_FILTER,
                    f"{event.name} is no tracepoint, and cannot be filtered",
                    hint="put the filter behind a tracepoint, such as 'sched:sched_switch'",
                )
            if "\0" in event.filter:
                raise error(
                    Error.INVALID_FILTER,
                    f"the filter of {event.name} has a NUL byte",
                    hint="write it as text",
                )
    return groups


def exclude_levels(
    groups: Sequence[EventGroup], *, exclude_user: bool, exclude_kernel: bool
) -> list[EventGroup]:
    """The groups without what happens on a level; a device's events know no levels."""

    without = partial(modifiers.exclude, user=exclude_user, kernel=exclude_kernel)
    return [group._replace(events=tuple(map(without, group.events))) for group in groups]


# ---- whom and where ----


class Target(NamedTuple):
    """Whom to collect from, checked. Neither pids nor tids: everybody on the CPUs."""

    pids: list[int]
    tids: list[int]
    cpus: list[int]  # empty: wherever a task runs, or all that are online
    cgroup: str

    @property
    def has_tasks(self) -> bool:
        return bool(self.pids or self.tids)

    def cpus_of(self, event: Event, machine: Machine) -> list[int]:
        """The CPUs that an event is opened on; empty: wherever the task runs."""
        if event.kind == DEVICE and self.has_tasks:
            raise error(
                Error.INVALID_EVENT,
                f"{event.name} counts a device, not a process",
                hint="count it on the whole machine: -a (in Python: without pids)",
            )
        if self.has_tasks and not self.cpus:
            return []
        wanted = self.cpus or list(machine.online_cpus)
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


# Where version 1 has the controller for perf, and version 2 its one hierarchy, alone or beside 1.
_CGROUP_ROOTS = ("/sys/fs/cgroup/perf_event/", "/sys/fs/cgroup/unified/", "/sys/fs/cgroup/")


def _is_countable_cgroup(path: str) -> bool:
    """Of version 2, or of version 1's perf_event hierarchy; the kernel counts in no other."""
    controllers = os.path.realpath(path).replace("/", ",").split(",")
    return os.path.exists(f"{path}/cgroup.controllers") or "perf_event" in controllers


def open_cgroup(path: str) -> int:
    """A cgroup's directory, by path or by its name below the perf_event or unified hierarchy."""
    below = [root + path.strip("/") for root in _CGROUP_ROOTS]
    candidates = [path] if path.startswith("/sys/") else below
    candidates = [] if "\0" in path else candidates
    for candidate in filter(_is_countable_cgroup, candidates):
        try:
            return os.open(candidate, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
    raise error(
        Error.INVALID_CGROUP,
        f"there is no cgroup '{path}' whose tasks can be counted",
        hint="name one of version 2, or of version 1 below perf_event: see /sys/fs/cgroup",
    )
