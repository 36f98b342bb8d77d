"""What stands between a PMU's slashes: `event=0x11,umask=1`, a name from `events/`, or both.

`format/` says which bits a term fills, `events/` which terms a name stands for. The machine's own
files are believed, and named where they cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.events.nearest import meant
from kperf.machine import Pmu

_CONFIGS = ("config", "config1", "config2", "config3")
_REPORT = "report it to the driver's authors, or write config=VALUE instead"
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+", re.ASCII)


class Encoding(NamedTuple):
    """Terms in the kernel's numbers. `name` is what the user calls the event, if anything."""

    config: int = 0
    config1: int = 0
    config2: int = 0
    config3: int = 0
    unit: str = ""
    scale: float = 1.0
    name: str = ""


class _Term(NamedTuple):
    key: str
    value: str | None  # None: nothing but the key

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


def _split(text: str) -> list[_Term]:
    terms = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        terms.append(_Term(key.strip(), value.strip() if equals else None))
    return terms


# ---- bits ----


def parse_number(text: str) -> int | None:
    """A number of up to 64 bits as perf writes them, decimal or 0x; None if it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = int(text, 16 if text[:2] in ("0x", "0X") else 10)
    return value if value < 1 << 64 else None


def _number(pmu: Pmu, term: _Term) -> int:
    value = parse_number(term.value or "")
    if value is None:
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: the term '{term}' has no number of up to 64 bits",
            hint=f"write it as in {term.key}=0x11",
        )
    return value


def _bit_ranges(pmu: Pmu, term: str) -> tuple[str, list[tuple[int, int]]]:
    """'config:0-7,32-35' as ('config', [(0, 7), (32, 35)]), the lowest bits first."""
    layout = pmu.formats[term]
    field, _, bits = layout.partition(":")
    ranges = []
    for part in bits.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part, re.ASCII)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        ranges.append((low, high))
    if field not in _CONFIGS or any(not low <= high < 64 for low, high in ranges):
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: format/{term} says '{layout}', which is no layout of bits"
            if layout
            else f"{pmu.name}: format/{term} cannot be read, or is empty",
            hint=_REPORT,
        )
    return field, sorted(ranges)


class _Fields:
    """The four config words as they fill up."""

    def __init__(self, pmu: Pmu) -> None:
        self.pmu = pmu
        self.words = dict.fromkeys(_CONFIGS, 0)

    def take(self, terms: Sequence[_Term]) -> None:
        """Whole words first, then the bits that have a name of their own."""
        for term in terms:
            if term.key in _CONFIGS:
                self.words[term.key] = _number(self.pmu, term)
        for term in terms:
            if term.key not in _CONFIGS:
                self._put(term)

    def _put(self, term: _Term) -> None:
        """Spreads a term's value over the bits that format/ gives it."""
        if term.key not in self.pmu.formats:
            raise _unknown_term(self.pmu, term.key)
        field, ranges = _bit_ranges(self.pmu, term.key)
        value = rest = 1 if term.value is None else _number(self.pmu, term)
        for low, high in ranges:
            mask = (1 << (high - low + 1)) - 1
            self.words[field] = self.words[field] & ~(mask << low) | (rest & mask) << low
            rest >>= high - low + 1
        if rest:
            bits = sum(high - low + 1 for low, high in ranges)
            raise error(
                Error.INVALID_EVENT,
                f"{self.pmu.name}: {term.key}={value:#x} does not fit its {bits} bits",
                hint=f"the largest value is {(1 << bits) - 1:#x}",
            )


def _unknown_term(pmu: Pmu, term: str) -> KperfError:
    terms = [*pmu.formats, *_CONFIGS]
    return error(
        Error.INVALID_EVENT,
        f"the PMU {pmu.name} knows no term or event '{term}'",
        hint=meant(term, [*terms, *pmu.event_names], otherwise=f"its terms are {', '.join(terms)}"),
    )


# ---- names ----


def own_name(pmu: Pmu, name: str) -> str | None:
    """A name as it stands in the PMU's events/, whatever its case; None if it is not there."""
    for spelling in (name, name.lower()):
        if spelling in pmu.event_names:
            return spelling
    return None


def _arm_code(pmu: Pmu, name: str) -> int | None:
    """A named event that the kernel does not list, from the tables of Arm cores."""
    if not pmu.is_core or pmu.midr is None or "event" not in pmu.formats:
        return None
    from kperf.events.arm import core_codes

    return core_codes(*pmu.midr).get(name.lower())


def knows(pmu: Pmu, name: str) -> bool:
    """Whether a PMU has an event of that name, in its events/ or in our tables."""
    return own_name(pmu, name) is not None or _arm_code(pmu, name) is not None


class _Named(NamedTuple):
    """An event's name among the terms, and what it stands for."""

    name: str
    is_own: bool  # from events/, and not from our tables
    text: str
    terms: list[_Term]


def _named(pmu: Pmu, name: str) -> _Named | None:
    own = own_name(pmu, name)
    if own is not None:
        text = pmu.event_terms(own)
        if not text:
            raise error(
                Error.INVALID_EVENT,
                f"{pmu.name}: events/{own} cannot be read, or is empty",
                hint=_REPORT,
            )
        return _Named(own, True, text, _split(text))
    code = _arm_code(pmu, name)
    return _Named(name, False, "", [_Term("event", hex(code))]) if code is not None else None


def _find_named(pmu: Pmu, terms: Iterable[_Term]) -> tuple[_Term, _Named] | None:
    """The one event's name that may stand among the terms."""
    found = [
        (term, named)
        for term in terms
        if term.value is None and (named := _named(pmu, term.key)) is not None
    ]
    if len(found) > 1:
        names = " and ".join(named.name for _, named in found)
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: {names} are different events, and one is counted at a time",
            hint="write them as events of their own, separated by a comma after the last slash",
        )
    return found[0] if found else None


def _take_named(fields: _Fields, named: _Named, given: Sequence[_Term]) -> None:
    """Fills in a name's own terms, but for those that are given another value."""
    pmu, keys = fields.pmu, {term.key for term in given}
    kept = [term for term in named.terms if term.key not in keys]
    for term in kept:
        if term.value == "?":
            raise error(
                Error.INVALID_EVENT,
                f"{pmu.name}/{named.name}/ needs a value for '{term.key}'",
                hint=f"write {pmu.name}/{named.name},{term.key}=VALUE/",
            )
    try:
        fields.take(kept)
    except KperfError as failure:
        raise error(
            Error.INVALID_EVENT,
            f"{pmu.name}: events/{named.name} says '{named.text}', which means nothing "
            f"({failure.message})",
            hint=_REPORT,
        ) from None


def encode(pmu: Pmu, text: str) -> Encoding:
    """The numbers for the terms between the slashes. Raises `KperfError` for what means nothing."""
    terms = _split(text)
    label = [term.value or "" for term in terms if term.key == "name" and "name" not in pmu.formats]
    given = [term for term in terms if not (label and term.key == "name")]
    found = _find_named(pmu, given)
    fields = _Fields(pmu)
    unit, scale = "", 1.0
    if found is not None:
        term, named = found
        given.remove(term)
        _take_named(fields, named, given)
        if named.is_own:
            unit, scale = pmu.event_unit(named.name), pmu.event_scale(named.name)
    fields.take(given)
    config, config1, config2, config3 = fields.words.values()
    name = label[-1] if label else ""
    return Encoding(config, config1, config2, config3, unit, scale, name)
