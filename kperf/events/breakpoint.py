"""Hardware breakpoints as events: `mem:ADDRESS[/LENGTH][:rwx][:modifiers]`."""

from __future__ import annotations

import re

from kperf.errors import Error, error
from kperf.events import generic
from kperf.events.event import BREAKPOINT, Event
from kperf.events.terms import parse_number

_FORM = re.compile(
    r"mem:(?P<address>0x[0-9a-fA-F]+|[0-9]+)(/(?P<length>[0-9]+))?(:(?P<access>[rwx]{1,3}))?"
    r"(:(?P<modifiers>[A-Za-z]+))?"
)
_ACCESS = {"r": 1, "w": 2, "x": 4}
_LONGEST = 8


def breakpoint_event(text: str) -> tuple[Event, str]:
    """The event, and its modifiers."""
    match = _FORM.fullmatch(text)
    address = parse_number(match["address"]) if match else None
    if match is None or address is None:
        raise error(
            Error.INVALID_EVENT,
            f"the breakpoint '{text}' cannot be read",
            hint="write mem:ADDRESS[/LENGTH][:rwx], such as mem:0x404000/8:w",
        )
    access = match["access"] or "rw"
    length = parse_number(match["length"] or ("8" if "x" in access else "4"))
    if length is None or not 0 < length <= _LONGEST:
        raise error(
            Error.INVALID_EVENT,
            f"the breakpoint '{text}' watches {match['length']} bytes",
            hint="watch 1, 2, 4 or 8 bytes",
        )
    event = Event(
        text[: match.start("modifiers") - 1] if match["modifiers"] else text,
        BREAKPOINT,
        generic.TYPE_BREAKPOINT,
        config1=address,
        config2=length,
        bp_type=sum(_ACCESS[letter] for letter in set(access)),
    )
    return event, match["modifiers"] or ""
