"""The letters after an event's last colon, and what else leaves out a part of its counts."""

from __future__ import annotations

from kperf.errors import Error, KperfError, error
from kperf.events.event import DEVICE, Event

_LEVELS = {"u": "exclude_user", "k": "exclude_kernel", "h": "exclude_hv"}
_SIDES = {"H": "exclude_host", "G": "exclude_guest"}
_LETTERS = frozenset("ukhGHpPD")
_PRECISE_MOST = 3


def is_modifiers(text: str) -> bool:
    """Whether a text can be nothing but modifiers."""
    return bool(text) and set(text) <= _LETTERS


def check(name: str, letters: str) -> None:
    """Raises for letters that mean nothing, or say the same thing twice."""
    unknown = "".join(sorted(set(letters) - _LETTERS))
    if unknown:
        raise error(
            Error.INVALID_EVENT,
            f"{name} has an unknown modifier '{unknown}'",
            hint="the modifiers are u k h (user, kernel, hypervisor), H G (host, guest), "
            "p P (precise), D (pinned)",
        )
    for letter in sorted(set(letters) - {"p"}):
        if letters.count(letter) > 1:
            raise error(
                Error.INVALID_EVENT,
                f"{name} has the modifier '{letter}' {letters.count(letter)} times",
                hint="write it once",
            )


def merge(own: str, of_group: str) -> str:
    """An event's modifiers with its group's: every level of either, and the precision of both."""
    return own + "".join(letter for letter in of_group if letter == "p" or letter not in own)


def _only(letters: str, fields: dict[str, str]) -> dict[str, bool]:
    """Of a set of which some were chosen, all others are left out."""
    if not set(letters) & set(fields):
        return {}
    return {field: letter not in letters for letter, field in fields.items()}


def apply(event: Event, letters: str) -> Event:
    """`u k h`: only these levels; `G H`: guests, host; `p`: precise, `P`: most; `D`: pinned."""
    sides = _only(letters, _SIDES)
    excluded = {**_only(letters, _LEVELS), **sides}
    if event.kind == DEVICE and excluded:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name} counts a device, which knows neither user and kernel nor guests",
            hint=f"leave the modifier ':{letters}' out",
        )
    precise = letters.count("p")
    if precise > _PRECISE_MOST:
        raise error(
            Error.INVALID_EVENT,
            f"{event.name} asks for precision {precise}, and there is none above {_PRECISE_MOST}",
            hint="write at most ':ppp', with those of its group among them",
        )
    return event._replace(
        **excluded,  # type: ignore[arg-type]  # only the names of fields that are bool
        host_by_default=event.host_by_default and not sides,
        precise=precise,
        most_precise="P" in letters,
        pinned="D" in letters,
    )


def nothing_left(name: str) -> KperfError:
    """The error for an event of which every part was left out."""
    return error(
        Error.INVALID_ARGUMENT,
        f"user space and the kernel are both excluded, so nothing is left to count of {name}",
        hint="exclude one of them",
    )


def exclude(event: Event, *, user: bool, kernel: bool) -> Event:
    """Leaves levels out beside those that the event's name leaves out. A device has none."""
    if event.kind == DEVICE:
        return event
    left = event._replace(
        exclude_user=event.exclude_user or user,
        exclude_kernel=event.exclude_kernel or kernel,
    )
    had_none = event.exclude_user and event.exclude_kernel  # ':h': the hypervisor alone
    if left.exclude_user and left.exclude_kernel and not had_none:
        raise nothing_left(event.name)
    return left


def named(name: str, letters: str) -> str:
    """A name with its modifiers, as it would be written."""
    if not letters:
        return name
    return f"{name}{letters}" if name.endswith("/") else f"{name}:{letters}"


def modify(event: Event, text: str, own: str, of_group: str) -> Event:
    """An event with its own modifiers and its group's, and a name that says so."""
    check(text, own)
    check(text, of_group)
    letters = merge(own, of_group)
    return apply(event._replace(name=named(event.name, letters)), letters)
