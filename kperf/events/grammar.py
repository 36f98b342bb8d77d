"""The grammar of event lists: `cycles,instructions:u,{a,b}:k,pmu/term=1,other=2/,mem:0x10/8:rw`.

It knows commas, braces and slashes; what a name means is `resolve`'s concern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kperf.errors import Error, KperfError, error


class EventText(NamedTuple):
    """One event as it was written, the modifiers that its group adds, and a caller's own settings.

    `period`: events between two samples; 0 where the caller has none for this event. `filter`:
    which hits of a tracepoint count, in the kernel's words.
    """

    text: str
    group_modifiers: str = ""
    exclude_user: bool = False
    exclude_kernel: bool = False
    period: int = 0
    filter: str = ""


class GroupText(NamedTuple):
    """Events that are scheduled together; a lone event is a group of one."""

    events: tuple[EventText, ...]
    braced: bool = False


# A breakpoint has a slash of its own, a PMU's terms have commas: these two are taken whole.
_BREAKPOINT = re.compile(r"mem:[^,{}]*")
_PMU_EVENT = re.compile(r"[^,{}/:]+/[^/]*/[^,{}]*")
_PLAIN = re.compile(r"[^,{}/]*")
_MODIFIERS = re.compile(r":([A-Za-z]*)")


def _bad(text: str, why: str) -> KperfError:
    return error(
        Error.INVALID_EVENT_LIST,
        f"the event list '{text}' {why}",
        hint="write events as in 'cycles,instructions:u,{branches,branch-misses}'",
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip_space(self) -> None:
        while self.peek().isspace():
            self.at += 1

    def event(self) -> str:
        self.skip_space()
        for pattern in (_BREAKPOINT, _PMU_EVENT, _PLAIN):
            match = pattern.match(self.text, self.at)
            if match is not None:
                break
        assert match is not None  # the last pattern matches anything
        self.at = match.end()
        name = match.group().strip()
        if self.peek() == "/":
            where = f"without its partner after '{name}'" if name else "with no PMU before it"
            raise _bad(self.text, f"has a '/' {where}")
        if not name:
            raise _bad(self.text, "has an empty place where an event should be")
        return name

    def group(self) -> GroupText:
        self.at += 1
        names = [self.event()]
        while self.peek() == ",":
            self.at += 1
            names.append(self.event())
        if self.peek() != "}":
            raise _bad(self.text, "has a '{' that no '}' closes")
        self.at += 1
        modifiers = ""
        match = _MODIFIERS.match(self.text, self.at)
        if match is not None:
            modifiers = match.group(1)
            self.at = match.end()
        return GroupText(tuple(EventText(name, modifiers) for name in names), braced=True)

    def groups(self) -> Iterable[GroupText]:
        while True:
            self.skip_space()
            if self.peek() == "{":
                yield self.group()
            else:
                yield GroupText((EventText(self.event()),))
            self.skip_space()
            if self.at >= len(self.text):
                return
            if self.peek() != ",":
                raise _bad(self.text, f"goes wrong at '{self.text[self.at :]}'")
            self.at += 1


def parse(text: str) -> list[GroupText]:
    """Splits an event list into its groups, in order."""
    if "\0" in text or not text.isprintable():
        raise _bad(text.encode("unicode_escape").decode(), "has unprintable characters")
    return list(_Parser(text).groups())
