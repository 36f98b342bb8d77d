"""The events of an SPE record by their bits (Arm ARM DDI 0487, Events packet)."""

from __future__ import annotations

from typing import NamedTuple

from kperf.errors import Error, error
from kperf.events.nearest import meant


class SpeEvent(NamedTuple):
    """One bit of the events of a record."""

    bit: int
    name: str
    description: str


_EVENTS = (
    SpeEvent(0, "exception", "the operation raised an exception"),
    SpeEvent(1, "retired", "the instruction retired"),
    SpeEvent(2, "l1d-access", "it looked into the level 1 data cache"),
    SpeEvent(3, "l1d-miss", "it refilled the level 1 data cache"),
    SpeEvent(4, "tlb-access", "it looked into a TLB"),
    SpeEvent(5, "tlb-walk", "it missed the TLBs, and the page tables were walked"),
    SpeEvent(6, "not-taken", "a conditional branch that was not taken"),
    SpeEvent(7, "mispredict", "a branch that was mispredicted"),
    SpeEvent(8, "llc-access", "it looked into the last level cache"),
    SpeEvent(9, "llc-miss", "it missed the last level cache"),
    SpeEvent(10, "remote-access", "it reached another socket"),
    SpeEvent(11, "misaligned", "its address was not aligned"),
    SpeEvent(16, "in-transaction", "it happened in a transaction"),
    SpeEvent(17, "sve-partial", "an SVE operation with some lanes off"),
    SpeEvent(18, "sve-empty", "an SVE operation with all lanes off"),
    SpeEvent(19, "l2d-access", "it looked into the level 2 data cache"),
    SpeEvent(20, "l2d-miss", "it missed the level 2 data cache"),
    SpeEvent(21, "modified", "its cache line was modified by another core (HITM)"),
    SpeEvent(22, "recently-fetched", "its cache line was just being fetched"),
    SpeEvent(23, "snooped", "its data came by a snoop of another cache"),
    SpeEvent(24, "streaming-sve", "it happened in streaming SVE mode"),
    SpeEvent(25, "smcu", "a shared matrix unit did it"),
)

EVENTS: dict[str, SpeEvent] = {event.name: event for event in _EVENTS}
_BY_BIT = {event.bit: event.name for event in _EVENTS}


def mask(*names: str) -> int:
    """The bits of events by their names."""
    bits = 0
    for name in names:
        bits |= 1 << EVENTS[name].bit
    return bits


def event_names(bits: int) -> list[str]:
    """The names of the set bits; of those that are the chip's own, the number."""
    return [_BY_BIT.get(bit, str(bit)) for bit in range(bits.bit_length()) if bits >> bit & 1]


def parse_events(text: str) -> int:
    """The bits of names (or bit numbers) between commas. Raises `KperfError`."""
    bits = 0
    for part in text.split(","):
        name = part.strip()
        if name.isdecimal() and int(name) < 64:
            bits |= 1 << int(name)
        elif name in EVENTS:
            bits |= mask(name)
        else:
            raise _unknown(name)
    return bits


def _unknown(name: str) -> Exception:
    return error(
        Error.INVALID_FILTER,
        f"SPE records have no event '{name}'",
        hint=meant(name, EVENTS, otherwise=f"choose from {', '.join(EVENTS)}, or a bit's number"),
    )
