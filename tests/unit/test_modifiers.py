"""The letters after an event, and their group's: which parts of its counts are left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kperf
from kperf.events import modifiers
from kperf.events.event import CORE, DEVICE, Event

CYCLES = Event("cycles", CORE, 0, host_by_default=True)
TRAFFIC = Event("hisi_sccl1_ddrc0/flux_rd/", DEVICE, 9, 1, cpus=(0,))

LEVELS = ("exclude_user", "exclude_kernel", "exclude_hv")
SIDES = ("exclude_host", "exclude_guest", "host_by_default")


def values(event: Event, fields: tuple[str, ...]) -> tuple[bool, ...]:
    return tuple(getattr(event, field) for field in fields)


@pytest.mark.parametrize(
    ("letters", "excluded"),
    [
        ("", (False, False, False)),
        ("u", (False, True, True)),
        ("k", (True, False, True)),
        ("h", (True, True, False)),
        ("uk", (False, False, True)),
        ("ku", (False, False, True)),
        ("ukh", (False, False, False)),
        ("G", (False, False, False)),
        ("pp", (False, False, False)),
    ],
)
def test_levels(letters: str, excluded: tuple[bool, ...]) -> None:
    assert values(modifiers.apply(CYCLES, letters), LEVELS) == excluded


@pytest.mark.parametrize(
    ("letters", "sides"),
    [
        ("", (False, False, True)),
        ("u", (False, False, True)),
        ("G", (True, False, False)),
        ("H", (False, True, False)),
        ("GH", (False, False, False)),
    ],
)
def test_guests_and_host(letters: str, sides: tuple[bool, ...]) -> None:
    assert values(modifiers.apply(CYCLES, letters), SIDES) == sides


@pytest.mark.parametrize(
    ("letters", "precise", "most", "pinned"),
    [
        ("p", 1, False, False),
        ("upp", 2, False, False),
        ("ppp", 3, False, False),
        ("P", 0, True, False),
        ("D", 0, False, True),
        ("kpD", 1, False, True),
    ],
)
def test_precision_and_pinning(letters: str, precise: int, most: bool, pinned: bool) -> None:
    event = modifiers.apply(CYCLES, letters)
    assert (event.precise, event.most_precise, event.pinned) == (precise, most, pinned)


def test_more_precision_than_there_is() -> None:
    with pytest.raises(kperf.KperfError, match="precision 4") as caught:
        modifiers.apply(CYCLES, "pppp")
    assert caught.value.code == kperf.Error.INVALID_EVENT


@pytest.mark.parametrize("letters", ["u", "k", "G", "uD"])
def test_a_device_has_no_levels(letters: str) -> None:
    with pytest.raises(kperf.KperfError, match="counts a device") as caught:
        modifiers.apply(TRAFFIC, letters)
    assert f"':{letters}'" in caught.value.hint


def test_a_device_can_be_pinned() -> None:
    assert modifiers.apply(TRAFFIC, "D") == TRAFFIC._replace(pinned=True)


@pytest.mark.parametrize(("letters", "wrong"), [("x", "x"), ("uz", "z"), ("Zua", "Za"), ("ü", "ü")])
def test_unknown_letters(letters: str, wrong: str) -> None:
    with pytest.raises(kperf.KperfError, match=f"unknown modifier '{wrong}'"):
        modifiers.check("cycles", letters)


@pytest.mark.parametrize("letters", ["uu", "kuk", "DD", "pPpP"])
def test_a_letter_that_stands_twice(letters: str) -> None:
    with pytest.raises(kperf.KperfError, match="2 times"):
        modifiers.check("cycles", letters)


@given(st.text(alphabet="ukhGHPD", max_size=5).map(lambda text: "".join(dict.fromkeys(text))))
def test_known_letters_once_each_are_accepted(letters: str) -> None:
    modifiers.check("cycles", letters + "ppp")


@pytest.mark.parametrize(
    ("own", "of_group", "merged"),
    [
        ("", "", ""),
        ("u", "", "u"),
        ("", "k", "k"),
        ("u", "k", "uk"),
        ("u", "u", "u"),
        ("kp", "p", "kpp"),
        ("G", "H", "GH"),
        ("up", "kpD", "upkpD"),
    ],
)
def test_a_group_adds_to_what_its_members_ask_for(own: str, of_group: str, merged: str) -> None:
    assert modifiers.merge(own, of_group) == merged


@pytest.mark.parametrize(
    ("letters", "user", "kernel", "excluded"),
    [
        ("", False, False, (False, False, False)),
        ("", True, False, (True, False, False)),
        ("", False, True, (False, True, False)),
        ("u", False, True, (False, True, True)),
        ("k", True, False, (True, False, True)),
        ("h", True, False, (True, True, False)),
    ],
)
def test_excluding_beside_the_name(
    letters: str, user: bool, kernel: bool, excluded: tuple[bool, ...]
) -> None:
    event = modifiers.exclude(modifiers.apply(CYCLES, letters), user=user, kernel=kernel)
    assert values(event, LEVELS) == excluded
    assert event.name == CYCLES.name


@pytest.mark.parametrize(
    ("letters", "user", "kernel"), [("u", True, False), ("k", False, True), ("", True, True)]
)
def test_excluding_all_that_is_left(letters: str, user: bool, kernel: bool) -> None:
    event = modifiers.apply(CYCLES, letters)
    with pytest.raises(kperf.KperfError, match="nothing is left to count of cycles") as caught:
        modifiers.exclude(event, user=user, kernel=kernel)
    assert caught.value.code == kperf.Error.INVALID_ARGUMENT


def test_a_device_is_left_alone() -> None:
    assert modifiers.exclude(TRAFFIC, user=True, kernel=False) is TRAFFIC


@pytest.mark.parametrize(
    ("name", "letters", "shown"),
    [("cycles", "", "cycles"), ("cycles", "u", "cycles:u"), ("cpu/cycles/", "u", "cpu/cycles/u")],
)
def test_names_with_modifiers(name: str, letters: str, shown: str) -> None:
    assert modifiers.named(name, letters) == shown


@pytest.mark.parametrize(
    ("text", "answer"), [("u", True), ("ukp", True), ("", False), ("sched_switch", False)]
)
def test_what_can_only_be_modifiers(text: str, answer: bool) -> None:
    assert modifiers.is_modifiers(text) is answer
