"""Event lists as text: which commas, braces and slashes separate what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kperf
from kperf.events.grammar import EventText, GroupText, parse


def lone(text: str) -> GroupText:
    return GroupText((EventText(text),))


def group(*texts: str, modifiers: str = "") -> GroupText:
    return GroupText(tuple(EventText(text, modifiers) for text in texts), braced=True)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("cycles", [lone("cycles")]),
        ("cycles:u", [lone("cycles:u")]),
        ("cycles,instructions", [lone("cycles"), lone("instructions")]),
        (" cycles , instructions:k ", [lone("cycles"), lone("instructions:k")]),
        ("r1a8", [lone("r1a8")]),
        ("L1-dcache-load-misses", [lone("L1-dcache-load-misses")]),
        ("sched:sched_switch", [lone("sched:sched_switch")]),
        ("sched:*:u,syscalls:sys_enter_*", [lone("sched:*:u"), lone("syscalls:sys_enter_*")]),
        ("mem:0x1000", [lone("mem:0x1000")]),
        ("mem:0x1000/8:rw:u,cycles", [lone("mem:0x1000/8:rw:u"), lone("cycles")]),
        ("cpu/event=0x3c,umask=1/", [lone("cpu/event=0x3c,umask=1/")]),
        ("cpu/event=0x3c,umask=1/u,cs", [lone("cpu/event=0x3c,umask=1/u"), lone("cs")]),
        ("cpu/cycles/:u", [lone("cpu/cycles/:u")]),
        ("uncore_imc_*/cas_count_read/", [lone("uncore_imc_*/cas_count_read/")]),
        ("msr//", [lone("msr//")]),
        ("{cycles}", [group("cycles")]),
        ("{cycles,instructions}", [group("cycles", "instructions")]),
        ("{ cycles , instructions }", [group("cycles", "instructions")]),
        ("{cycles:u,r11}:kpp", [group("cycles:u", "r11", modifiers="kpp")]),
        ("{cpu/a=1,b=2/,mem:1/1:r}:u", [group("cpu/a=1,b=2/", "mem:1/1:r", modifiers="u")]),
        ("a,{b,c},d", [lone("a"), group("b", "c"), lone("d")]),
        ("{a,b},{c}:D", [group("a", "b"), group("c", modifiers="D")]),
    ],
)
def test_lists(text: str, groups: list[GroupText]) -> None:
    assert parse(text) == groups


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty place"),
        (" ", "empty place"),
        (",", "empty place"),
        ("cycles,", "empty place"),
        (",cycles", "empty place"),
        ("cycles,,instructions", "empty place"),
        ("{}", "empty place"),
        ("{cycles,}", "empty place"),
        ("{a,{b}}", "empty place"),
        ("{cycles", "no '}' closes"),
        ("{cycles instructions", "no '}' closes"),
        ("cycles}", "goes wrong at '}'"),
        ("{a}b", "goes wrong at 'b'"),
        ("{a}:u k", "goes wrong at 'k'"),
        ("{a}{b}", "goes wrong at '{b}'"),
        ("cpu/event=1", "without its partner after 'cpu'"),
        ("cpu/event=1,instructions", "without its partner after 'cpu'"),
        ("/cycles/", "no PMU before it"),
        ("cycles\n", "unprintable"),
        ("cy\0cles", "unprintable"),
        ("\udc80", "unprintable"),
    ],
)
def test_what_is_no_list(text: str, why: str) -> None:
    with pytest.raises(kperf.KperfError) as caught:
        parse(text)
    assert caught.value.code == kperf.Error.INVALID_EVENT_LIST
    assert isinstance(caught.value, ValueError)
    assert why in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


@given(st.text(alphabet=st.sampled_from("ab01/:,={}* \t?.-_[]'\"") | st.characters(), max_size=40))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    code, words, groups = kperf.Error.SUCCESS, "", []
    try:
        groups = parse(text)
    except kperf.KperfError as failure:
        code, words = failure.code, str(failure)
    assert code in (kperf.Error.SUCCESS, kperf.Error.INVALID_EVENT_LIST)
    assert words.isprintable()
    assert all(event.text == event.text.strip() != "" for g in groups for event in g.events)


_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True)
_LETTERS = st.text(alphabet="ukhGHpPD", max_size=3)
_TERMS = st.lists(
    st.builds("{}={:#x}".format, _NAMES, st.integers(0, 1 << 64)) | _NAMES, max_size=3
).map(",".join)
_EVENTS = st.one_of(
    _NAMES,
    st.builds("{}:{}".format, _NAMES, _NAMES),
    st.builds("{}/{}/{}".format, _NAMES, _TERMS, _LETTERS),
    st.builds("mem:{:#x}/{}:{}".format, st.integers(0, 1 << 63), st.integers(1, 8), _LETTERS),
)
_GROUPS = st.one_of(
    _EVENTS.map(lone),
    st.builds(
        lambda texts, letters: group(*texts, modifiers=letters),
        st.lists(_EVENTS, min_size=1, max_size=4),
        _LETTERS,
    ),
)


def written(group: GroupText) -> str:
    texts = ",".join(event.text for event in group.events)
    if not group.braced:
        return texts
    letters = group.events[0].group_modifiers
    return f"{{{texts}}}:{letters}" if letters else f"{{{texts}}}"


@given(st.lists(_GROUPS, min_size=1, max_size=5), st.sampled_from([",", " , ", ", "]))
def test_a_list_reads_back_as_it_was_written(groups: list[GroupText], comma: str) -> None:
    assert parse(comma.join(map(written, groups))) == groups
