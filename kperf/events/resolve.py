"""From an event's name to what perf_event_open wants.

A name may stand for several events: `cycles` for one on each kind of core, a pattern of PMU or
tracepoint names for all that it matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.events import generic
from kperf.events.grammar import EventText, GroupText
from kperf.machine import Machine, Pmu, format_cpu_list

CORE = "core"
DEVICE = "device"
SOFTWARE = "software"
TRACEPOINT = "tracepoint"
BREAKPOINT = "breakpoint"


class Event(NamedTuple):
    """One event as it is opened."""

    name: str
    kind: str
    type: int
    config: int = 0
    config1: int = 0
    config2: int = 0
    config3: int = 0
    bp_type: int = 0
    pmu: str = ""
    cpus: tuple[int, ...] | None = None  # where it can be opened; None: on any CPU
    unit: str = ""
    scale: float = 1.0
    kernel_only: bool = False
    exclude_user: bool = False
    exclude_kernel: bool = False
    exclude_hv: bool = False
    exclude_host: bool = False
    exclude_guest: bool = False
    host_by_default: bool = False
    pinned: bool = False
    precise: int = 0

    @property
    def is_scaled(self) -> bool:
        """Whether a count is multiplied by the machine's `.scale`, and so becomes a float."""
        return self.scale != 1.0


class EventGroup(NamedTuple):
    """Events that the kernel schedules together; `number` is -1 for a lone event."""

    events: tuple[Event, ...]
    number: int


# ---- modifiers ----

_MODIFIER_LETTERS = frozenset("ukhGHpPD")
_PRECISE_MOST = 3


def _is_modifiers(text: str) -> bool:
    return bool(text) and set(text) <= _MODIFIER_LETTERS


def apply_modifiers(event: Event, letters: str) -> Event:
    """`u k h`: only these levels; `G H`: guests, host; `p`: precise, `P`: most; `D`: pinned."""
    levels = {"u": "exclude_user", "k": "exclude_kernel", "h": "exclude_hv"}
    sides = {"H": "exclude_host", "G": "exclude_guest"}
    changes: dict[str, bool | int] = {}
    if set(letters) & set(levels):
        changes.update({field: letter not in letters for letter, field in levels.items()})
    if set(letters) & set(sides):
        changes.update({field: letter not in letters for letter, field in sides.items()})
        changes["host_by_default"] = False
    if event.kind == DEVICE and changes:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name} counts a device, which knows neither user and kernel nor guests",
            hint=f"leave the modifier ':{letters}' out",
        )
    precise = _PRECISE_MOST if "P" in letters else letters.count("p")
    if precise > _PRECISE_MOST:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name} asks for precision {precise}, and there is none above {_PRECISE_MOST}",
            hint="write at most ':ppp'",
        )
    if precise:
        changes["precise"] = precise
    if "D" in letters:
        changes["pinned"] = True
    return event._replace(**changes)  # type: ignore[arg-type]


def _check_modifiers(name: str, letters: str) -> None:
    unknown = sorted(set(letters) - _MODIFIER_LETTERS)
    if unknown:
        raise error(
            Error.INVALID_EVENT,
            f"{name} has an unknown modifier '{''.join(unknown)}'",
            hint="the modifiers are u k h (user, kernel, hypervisor), H G (host, guest), "
            "p P (precise), D (pinned)",
        )


# ---- generic, raw and breakpoint events ----

_RAW = re.compile(r"r([0-9a-fA-F]{1,16})")
_BREAKPOINT = re.compile(
    r"mem:(?P<address>0x[0-9a-fA-F]+|\d+)(/(?P<length>\d+))?(:(?P<access>[rwx]{1,3}))?"
    r"(:(?P<modifiers>[A-Za-z]+))?"
)
_ACCESS = {"r": 1, "w": 2, "x": 4}


def _breakpoint(text: str) -> Event:
    match = _BREAKPOINT.fullmatch(text)
    if match is None:
        raise error(
            Error.INVALID_EVENT,
            f"the breakpoint '{text}' cannot be read",
            hint="write mem:ADDRESS[/LENGTH][:rwx], such as mem:0x404000/8:w",
        )
    access = match["access"] or "rw"
    executes = "x" in access
    event = Event(
        text,
        BREAKPOINT,
        generic.TYPE_BREAKPOINT,
        config1=int(match["address"], 0),
        config2=int(match["length"] or (8 if executes else 4)),
        bp_type=sum(_ACCESS[letter] for letter in set(access)),
    )
    modifiers = match["modifiers"] or ""
    _check_modifiers(text, modifiers)
    return apply_modifiers(event, modifiers)


def _spread(name: str, base: Event, machine: Machine) -> list[Event]:
    """A core event on every kind of core that the machine has."""
    pmus = machine.core_pmus
    if len(pmus) < 2:
        return [base._replace(host_by_default=True)]
    own = [(pmu, _own_encoding(pmu, base)) for pmu in pmus]
    return [event._replace(name=f"{pmu.name}/{name}/") for pmu, event in own if event is not None]


def _own_encoding(pmu: Pmu, base: Event) -> Event | None:
    """A generic or raw event on one of several core PMUs; None where that has no such event."""
    placed = base._replace(pmu=pmu.name, cpus=pmu.cpus, host_by_default=True)
    if base.type == generic.TYPE_RAW:
        return placed._replace(type=pmu.type)
    if pmu.name != "cpu" and pmu.machine.midr is not None:
        canonical = generic.ALIASES.get(base.name.lower(), base.name.lower())
        names = generic.ARM_NAMES.get(canonical, ())
        found = [name for name in names if name in pmu.event_names]
        return _pmu_event(pmu, found[0], base.name) if found else None
    # The upper half of config chooses the PMU of a generic event (Intel hybrid).
    return placed._replace(config=base.config | pmu.type << 32)


def _generic(name: str) -> Event | None:
    """An event that every machine knows by name, or a raw code."""
    lower = name.lower()
    lower = generic.ALIASES.get(lower, lower)
    if lower in generic.HARDWARE:
        return Event(name, CORE, generic.TYPE_HARDWARE, generic.HARDWARE[lower].config)
    if lower in generic.SOFTWARE:
        row = generic.SOFTWARE[lower]
        event = Event(name, SOFTWARE, generic.TYPE_SOFTWARE, row.config)
        return event._replace(unit=row.unit, kernel_only=row.kernel_only)
    cache = generic.cache_config(name)
    if cache is not None:
        return Event(name, CORE, generic.TYPE_HW_CACHE, cache)
    raw = _RAW.fullmatch(name)
    return Event(name, CORE, generic.TYPE_RAW, int(raw[1], 16)) if raw is not None else None


# ---- PMU events ----

_CONFIGS = ("config", "config1", "config2", "config3")
_Fields = dict[str, int]


def _number(pmu: Pmu, term: str, text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: the term '{term}={text}' has no number of up to 64 bits",
            hint=f"write it as in {term}=0x11",
        )
    return value


def _bit_ranges(pmu: Pmu, term: str, layout: str) -> tuple[str, list[tuple[int, int]]]:
    """'config:0-7,32-35' as ('config', [(0, 7), (32, 35)])."""
    field, _, bits = layout.partition(":")
    ranges: list[tuple[int, int]] = []
    try:
        for part in bits.split(","):
            low, dash, high = part.partition("-")
            ranges.append((int(low), int(high) if dash else int(low)))
    except ValueError:
        ranges = []
    if field not in _CONFIGS or not ranges or any(not 0 <= lo <= hi < 64 for lo, hi in ranges):
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: format/{term} says '{layout}', which is no layout of bits",
            hint="report it to the driver's authors, or write config=VALUE instead",
        )
    return field, ranges


def _put(pmu: Pmu, term: str, value: int, fields: _Fields) -> None:
    """Spreads a term's value over the bits that format/ gives it."""
    field, ranges = _bit_ranges(pmu, term, pmu.formats[term])
    rest = value
    for low, high in ranges:
        mask = (1 << (high - low + 1)) - 1
        fields[field] = fields.get(field, 0) & ~(mask << low) | (rest & mask) << low
        rest >>= high - low + 1
    if rest:
        most = (1 << sum(high - low + 1 for low, high in ranges)) - 1
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: {term}={value:#x} does not fit its {most.bit_length()} bits",
            hint=f"the largest value is {most:#x}",
        )


def _arm_code(pmu: Pmu, name: str) -> int | None:
    """A named event that the kernel does not list, from the tables of Arm cores."""
    if not pmu.is_core or pmu.name == "cpu" or pmu.machine.midr is None:
        return None
    from kperf.events.arm import core_events

    core = core_events(*pmu.machine.midr)
    codes = {event.name: event.code for event in core.events} if core else {}
    return codes.get(name)


def _named_terms(pmu: Pmu, name: str) -> str | None:
    if name in pmu.event_names:
        return pmu.event_terms(name)
    code = _arm_code(pmu, name)
    return f"event={code:#x}" if code is not None and "event" in pmu.formats else None


def _unknown_term(pmu: Pmu, term: str) -> KperfError:
    known = [*pmu.formats, *pmu.event_names, *_CONFIGS]
    near = _nearest(term, known)
    return error(
        Error.INVALID_EVENT,
        f"the PMU {pmu.name} knows no term or event '{term}'",
        hint=f"did you mean {near}?" if near else f"its terms are {', '.join(sorted(known)[:12])}",
    )


def _take_terms(pmu: Pmu, terms: str, fields: _Fields, *, expand: bool) -> list[str]:
    """Applies comma-separated terms; returns the named events among them."""
    named: list[str] = []
    for term in filter(None, (part.strip() for part in terms.split(","))):
        key, equals, value = term.partition("=")
        if equals and key in _CONFIGS:
            fields[key] = fields.get(key, 0) | _number(pmu, key, value)
        elif equals and key in pmu.formats:
            if value == "?":
                raise error(
                    Error.INVALID_EVENT,
                    f"the event of {pmu.name} needs a value for '{key}'",
                    hint=f"add {key}=VALUE between the slashes",
                )
            _put(pmu, key, _number(pmu, key, value), fields)
        elif not equals and expand and (meaning := _named_terms(pmu, key)) is not None:
            named.append(key)
            given = {part.partition("=")[0].strip() for part in terms.split(",")}
            kept = [t for t in meaning.split(",") if t.partition("=")[0].strip() not in given]
            _take_terms(pmu, ",".join(kept), fields, expand=False)
        elif not equals and key in pmu.formats:
            _put(pmu, key, 1, fields)
        else:
            raise _unknown_term(pmu, key)
    return named


def _pmu_event(pmu: Pmu, terms: str, name: str) -> Event:
    fields: _Fields = {}
    named = _take_terms(pmu, terms, fields, expand=True)
    is_own = bool(named) and named[0] in pmu.event_names
    return Event(
        name,
        CORE if pmu.is_core else DEVICE if pmu.is_device else SOFTWARE,
        pmu.type,
        config=fields.get("config", 0),
        config1=fields.get("config1", 0),
        config2=fields.get("config2", 0),
        config3=fields.get("config3", 0),
        pmu=pmu.name,
        cpus=pmu.cpus if pmu.is_core else pmu.cpumask,
        unit=pmu.event_unit(named[0]) if is_own else "",
        scale=pmu.event_scale(named[0]) if is_own else 1.0,
        host_by_default=pmu.is_core,
    )


def _matching_pmus(pattern: str, machine: Machine) -> list[str]:
    """The PMU of that name; else all that the pattern matches; else all NAME_0, NAME_1 or NAME0."""
    if pattern in machine.pmu_names:
        return [pattern]
    if any(c in pattern for c in "*?["):
        return [name for name in machine.pmu_names if fnmatchcase(name, pattern)]
    instance = re.compile(re.escape(pattern) + r"_?\d+")
    return [name for name in machine.pmu_names if instance.fullmatch(name)]


def _pmu_events(text: str, machine: Machine) -> list[Event]:
    pattern, terms, modifiers = text.split("/", 2)
    modifiers = modifiers.lstrip(":")
    _check_modifiers(text, modifiers)
    names = _matching_pmus(pattern, machine)
    if not names:
        near = _nearest(pattern, machine.pmu_names)
        raise error(
            Error.INVALID_EVENT,
            f"there is no PMU '{pattern}' here (in the event {text})",
            hint=f"did you mean {near}?" if near else "see 'kperf list' for what there is",
        )
    events = []
    for name in names:
        own = f"{name}/{terms}/{modifiers}" if len(names) > 1 else text
        event = _generic_on(machine.pmu(name), terms) or _pmu_event(machine.pmu(name), terms, own)
        events.append(apply_modifiers(event._replace(name=own), modifiers))
    return events


def _generic_on(pmu: Pmu, name: str) -> Event | None:
    """A generic or raw event of a core PMU, as in cpu_core/cycles/."""
    if not pmu.is_core or name in pmu.event_names:
        return None
    base = _generic(name)
    if base is None or base.kind != CORE:
        return None
    return base if len(pmu.machine.core_pmus) < 2 else _own_encoding(pmu, base)


def _core_named(name: str, machine: Machine) -> list[Event] | None:
    """A bare name from a core PMU's events/ or from the tables."""
    pmus = [pmu for pmu in machine.core_pmus if _named_terms(pmu, name) is not None]
    many = len(machine.core_pmus) > 1
    return [_pmu_event(pmu, name, f"{pmu.name}/{name}/" if many else name) for pmu in pmus] or None


# ---- tracepoints ----


def _tracepoints(text: str, system: str, name: str, machine: Machine) -> list[Event]:
    if any(c in system + name for c in "*?["):
        pairs = [
            (found_system, found)
            for found_system in machine.trace_systems()
            if fnmatchcase(found_system, system)
            for found in machine.trace_names(found_system)
            if fnmatchcase(found, name)
        ]
    else:
        pairs = [(system, name)]
    events = []
    for found_system, found in pairs:
        number = machine.trace_id(found_system, found)
        if number is not None:
            events.append(
                Event(
                    f"{found_system}:{found}",
                    TRACEPOINT,
                    generic.TYPE_TRACEPOINT,
                    number,
                    kernel_only="probe" not in found_system,
                )
            )
    if not events:
        raise _unknown(text, machine)
    return events


# ---- unknown names ----


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return ", ".join(by_lower[candidate] for candidate in close)


def _unknown(name: str, machine: Machine) -> KperfError:
    from kperf.events.listing import all_names

    near = _nearest(name, all_names(machine))
    return error(
        Error.INVALID_EVENT,
        f"unknown event '{name}'",
        hint=f"did you mean {near}?" if near else "see 'kperf list' for the events of this machine",
    )


# ---- the whole ----


def _bare(name: str, machine: Machine) -> list[Event] | None:
    event = _generic(name)
    if event is None:
        return _core_named(name, machine)
    return [event] if event.kind == SOFTWARE else _spread(name, event, machine)


def resolve(text: str, machine: Machine) -> list[Event]:
    """The events that a name stands for. Raises `KperfError` with the nearest names if none."""
    if text.startswith("mem:"):
        return [_breakpoint(text)]
    if "/" in text:
        return _pmu_events(text, machine)
    name, _, rest = text.partition(":")
    if not rest:
        events = _bare(name, machine)
        if events is None:
            raise _unknown(text, machine)
        return events
    known = _bare(name, machine)
    if known is not None:
        _check_modifiers(name, rest)
        return [
            apply_modifiers(event, rest)._replace(name=_with_modifiers(event.name, rest))
            for event in known
        ]
    point, _, modifiers = rest.partition(":")
    _check_modifiers(text, modifiers)
    return [
        apply_modifiers(event, modifiers)._replace(name=_with_modifiers(event.name, modifiers))
        for event in _tracepoints(text, name, point, machine)
    ]


def _with_modifiers(name: str, letters: str) -> str:
    if not letters:
        return name
    return f"{name}{letters}" if name.endswith("/") else f"{name}:{letters}"


def _resolve_member(member: EventText, machine: Machine) -> list[Event]:
    letters = member.group_modifiers
    events = resolve(member.text, machine)
    if not letters:
        return events
    _check_modifiers(member.text, letters)
    return [apply_modifiers(event, letters) for event in events]


def _check_group(members: Sequence[Event]) -> None:
    """One hardware PMU a group, and software events beside a core PMU only."""
    names = ",".join(event.name for event in members)
    hardware = [event for event in members if event.kind in (CORE, DEVICE)]
    for event in hardware[1:]:
        if event.kind != hardware[0].kind or (
            event.pmu and hardware[0].pmu and event.pmu != hardware[0].pmu
        ):
            raise error(
                Error.INVALID_GROUP,
                f"the group {{{names}}} mixes PMUs: {hardware[0].name} and {event.name} have "
                "counters of their own",
                hint="group events of one PMU only",
            )
    if hardware and hardware[0].kind == DEVICE and len(hardware) < len(members):
        raise error(
            Error.INVALID_GROUP,
            f"the group {{{names}}} mixes {hardware[0].name}, which is counted on CPU "
            f"{format_cpu_list(hardware[0].cpus or ())} alone, with events of every CPU",
            hint="group events of one device only",
        )


def _variants(members: Sequence[list[Event]]) -> list[list[Event]]:
    """A group of names as groups of events: one for each PMU that its names stand for."""
    pmus = sorted({event.pmu for events in members for event in events if len(events) > 1})
    if not pmus:
        return [[event for events in members for event in events]]
    variants = []
    for pmu in pmus:
        chosen = [
            [event for event in events if event.pmu == pmu] if len(events) > 1 else events
            for events in members
        ]
        variants.append([event for events in chosen for event in events])
    return variants


def resolve_groups(groups: Sequence[GroupText], machine: Machine) -> list[EventGroup]:
    """All events of a list, by groups. A lone name that stands for many gives many lone events."""
    resolved: list[EventGroup] = []
    number = 0
    for group in groups:
        members = [_resolve_member(member, machine) for member in group.events]
        if len(members) == 1 and not group.braced:
            resolved += [EventGroup((event,), -1) for event in members[0]]
            continue
        tracepoints = [m for m in members if m and m[0].kind == TRACEPOINT]
        if len(tracepoints) == len(members):  # a pattern of tracepoints in braces is one group
            variants = [[event for events in members for event in events]]
        else:
            variants = _variants(members)
        for variant in variants:
            _check_group(variant)
            resolved.append(EventGroup(tuple(variant), number))
            number += 1
    return resolved
