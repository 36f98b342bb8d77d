"""From an event list to what is opened: which events, and which of them together."""

from __future__ import annotations

from collections.abc import Sequence

from kperf.errors import Error, KperfError, error
from kperf.events import modifiers
from kperf.events.event import CORE, DEVICE, TRACEPOINT, Event, EventGroup
from kperf.events.grammar import EventText, GroupText
from kperf.events.names import resolve
from kperf.machine import Machine, format_cpu_list


def _resolve_member(member: EventText, machine: Machine) -> list[Event]:
    return [
        modifiers.exclude(
            event._replace(period=member.period, filter=member.filter),
            user=member.exclude_user,
            kernel=member.exclude_kernel,
        )
        for event in resolve(member.text, machine, member.group_modifiers)
    ]


def _mixed(members: Sequence[Event], why: str, hint: str) -> KperfError:
    names = ",".join(event.name for event in members)
    return error(Error.INVALID_GROUP, f"the group {{{names}}} mixes {why}", hint=hint)


def _check(members: Sequence[Event]) -> None:
    """One hardware PMU a group, and software events beside a core PMU only."""
    hardware = [event for event in members if event.kind in (CORE, DEVICE)]
    for event in hardware[1:]:
        first = hardware[0]
        if event.kind != first.kind or (event.pmu and first.pmu and event.pmu != first.pmu):
            raise _mixed(
                members,
                f"PMUs: {first.name} and {event.name} have counters of their own",
                "group events of one PMU only",
            )
    if hardware and hardware[0].kind == DEVICE and len(hardware) < len(members):
        cpus = format_cpu_list(hardware[0].cpus or ())
        raise _mixed(
            members,
            f"{hardware[0].name}, which is counted on CPU {cpus} alone, with events of every CPU",
            "group events of one device only",
        )


def _pmus(members: Sequence[list[Event]]) -> list[str]:
    """The PMUs that a group is made for: those of names that stand for several events.

    A member of one of them alone, such as cpu_core/cycles/, decides it for the others.
    """
    spread = [pmu for events in members if len(events) > 1 for pmu in (e.pmu for e in events)]
    lone = [events[0].pmu for events in members if len(events) == 1]
    pmus = list(dict.fromkeys(spread))
    return [pmu for pmu in pmus if pmu in lone] or pmus


def _variants(members: Sequence[list[Event]]) -> list[list[Event]]:
    """A group of names as groups of events: one for each PMU that its names stand for."""
    if all(event.kind == TRACEPOINT for events in members for event in events):
        return [[event for events in members for event in events]]  # a pattern is one group
    return [
        [event for events in members for event in events if len(events) == 1 or event.pmu == pmu]
        for pmu in _pmus(members) or [""]
    ]


def resolve_groups(groups: Sequence[GroupText], machine: Machine) -> list[EventGroup]:
    """All events of a list, by groups. A lone name that stands for many gives many lone events."""
    resolved: list[EventGroup] = []
    number = 0
    for group in groups:
        members = [_resolve_member(member, machine) for member in group.events]
        if len(members) == 1 and not group.braced:
            resolved += [EventGroup((event,), -1) for event in members[0]]
            continue
        for variant in _variants(members):
            _check(variant)
            resolved.append(EventGroup(tuple(variant), number))
            number += 1
    return resolved
