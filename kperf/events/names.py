"""From one event's name to what perf_event_open wants.

A name may stand for several events: `cycles` for one on each kind of core, a pattern of PMU or
tracepoint names for all that it matches. What the usual names do not need is imported where it is
used, as every start of a command pays for the rest.
"""

from __future__ import annotations

from kperf.errors import Error, KperfError, error
from kperf.events import generic, modifiers
from kperf.events.event import SOFTWARE, Event
from kperf.machine import Machine


def _spread(name: str, base: Event, machine: Machine) -> list[Event]:
    """A core event on every kind of core that the machine has."""
    placed = base._replace(host_by_default=True)
    if len(machine.core_pmus) < 2:
        return [placed]
    from kperf.events.pmus import on_each

    # One that no PMU takes stays as it is: the kernel refuses it, and a row shows that.
    return on_each(name, base, machine) or [placed]


def _bare(name: str, machine: Machine) -> list[Event]:
    """A name without slashes and colons; nothing if it is none."""
    event = generic.event_of(name)
    if event is not None:
        return [event] if event.kind == SOFTWARE else _spread(name, event, machine)
    from kperf.events.pmus import core_named

    return core_named(name, machine)


def _tracepoints(text: str, machine: Machine) -> tuple[list[Event], str]:
    from kperf.events.tracepoints import tracepoint_events

    system, _, rest = text.partition(":")
    name, _, letters = rest.partition(":")
    events = tracepoint_events(system, name, machine)
    if not events:
        raise _unknown(text, machine)
    return events, letters


def _plain(text: str, machine: Machine) -> tuple[list[Event], str]:
    name, _, rest = text.partition(":")
    events = _bare(name, machine)
    if events:
        return events, rest
    if not rest or modifiers.is_modifiers(rest):
        raise _unknown(name, machine)
    return _tracepoints(text, machine)


def _unknown(name: str, machine: Machine) -> KperfError:
    from kperf.events.listing import all_names
    from kperf.events.nearest import meant

    return error(
        Error.INVALID_EVENT,
        f"unknown event '{name}'",
        hint=meant(
            name, all_names(machine), otherwise="see 'kperf list' for the events of this machine"
        ),
    )


def _slashed(text: str, machine: Machine) -> tuple[list[Event], str]:
    from kperf.events.pmus import pmu_events

    parts = text.split("/")
    if len(parts) != 3:
        raise error(
            Error.INVALID_EVENT,
            f"the event '{text}' cannot be read",
            hint="write a PMU's event between two slashes, such as cpu/event=0x11/",
        )
    return pmu_events(parts[0], parts[1], machine), parts[2].lstrip(":")


def _find(text: str, machine: Machine) -> tuple[list[Event], str]:
    """The events of a name, and its modifiers."""
    if text.startswith("mem:"):
        from kperf.events.breakpoint import breakpoint_event

        event, letters = breakpoint_event(text)
        return [event], letters
    return _slashed(text, machine) if "/" in text else _plain(text, machine)


def resolve(text: str, machine: Machine, more: str = "") -> list[Event]:
    """The events that a name stands for; `more` are the modifiers of its group.

    Raises `KperfError` with the nearest names if there is none.
    """
    events, own = _find(text, machine)
    return [modifiers.modify(event, text, own, more) for event in events]
