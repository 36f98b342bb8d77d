"""Call stacks: rows, their linked lists, and how often each stack and frame was met."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sampling.python.programs import ROUNDS, SHARES, check_shares, sample, tops

import kperf

# Who calls whom in busy.c, from the function outward to main.
CHAINS = {
    "sixty": ("sixty", "spin", "main"),
    "thirty": ("thirty", "inner", "spin", "main"),
    "ten": ("ten", "inner", "spin", "main"),
}

_SOURCE = (Path(__file__).with_name("sources") / "busy.c").read_text().splitlines()
CALLS_OF_STEPS = {name: _SOURCE.index(f"APART static void {name}(void)") + 3 for name in SHARES}


@pytest.fixture(scope="module")
def data(request: pytest.FixtureRequest) -> Any:
    programs = request.getfixturevalue("programs")
    return sample([programs.busy, "spin", ROUNDS], call_stack=True)


def links(row: Any) -> list[Any]:
    found, link = [], row.stack
    while link is not None:
        found.append(link)
        link = link.next
    return found


def test_names_from_the_function_out_to_main(data: Any) -> None:
    whole = 0
    for row in data:
        name = row.frames[0].symbolName
        if name in CHAINS:
            chain = CHAINS[name]
            whole += row.names[: len(chain)] == chain
    hot = sum(tops(data)[name] for name in CHAINS)
    # A sample in a function's first or last instructions lacks its caller: no frame is there.
    assert hot - whole <= hot * 0.02
    check_shares(tops(data))


def test_inlined_functions_are_frames_of_their_own(busy: Path) -> None:
    mode = kperf.SymbolMode.RESOLVE_ELF_DWARF
    data = sample([busy, "spin", ROUNDS], call_stack=True, symbol_mode=mode)
    hot: Counter[str] = Counter()
    for row in data:
        inner, *outer = row.frames
        assert tuple(link.symbol for link in links(row)) == row.frames
        if inner.symbolName != "steps":
            continue
        around = outer[0]
        assert (inner.inlined, around.inlined) == (True, False)
        assert row.names[1 : 1 + len(CHAINS[around.symbolName])] == CHAINS[around.symbolName]
        assert inner.addr == around.addr
        assert inner.count == around.count > 0
        assert Path(inner.fileName).name == Path(around.fileName).name == "busy.c"
        assert inner.lineNum != around.lineNum
        assert around.lineNum == CALLS_OF_STEPS[around.symbolName]
        hot[around.symbolName] += 1
    check_shares(hot)
    assert data.quality.truncated_stacks is not None


def test_the_list_goes_out_by_next_and_back_by_prev(data: Any) -> None:
    for row in data:
        chain = links(row)
        assert tuple(link.symbol for link in chain) == row.frames
        assert chain[0].prev is None
        for inner, outer in zip(chain, chain[1:]):
            assert inner.next is outer
            assert outer.prev is inner
        assert row.names == tuple(symbol.symbolName for symbol in row.frames)


def test_a_stack_counts_the_samples_that_have_it(data: Any) -> None:
    naive = Counter(tuple(map(id, row.frames)) for row in data)
    for row in data:
        assert {link.count for link in links(row)} == {naive[tuple(map(id, row.frames))]}


def test_a_symbol_counts_the_samples_that_hold_it(data: Any) -> None:
    naive = Counter(symbol for row in data for symbol in set(map(id, row.frames)))
    for row in data:
        for symbol in row.frames:
            assert symbol.count == naive[id(symbol)]


def test_without_call_stacks_there_is_one_frame(busy: Path) -> None:
    data = sample([busy, "spin", ROUNDS // 4])
    assert len(data) > 0
    for row in data:
        assert len(row.frames) == 1
        assert row.stack.next is None
        assert row.stack.prev is None
        assert row.names == (row.stack.symbol.symbolName,)


def test_stacks_of_threads_end_in_their_function(busy: Path) -> None:
    data = sample([busy, "threads", 2, ROUNDS // 2], call_stack=True)
    hot = [row for row in data if row.names[0] in SHARES]
    assert hot
    through = [row for row in hot if "thread" in row.names]
    assert len(through) >= 0.98 * len(hot)
    assert all("main" not in row.names for row in hot)


def test_kernel_frames_stand_before_those_of_the_program(busy: Path) -> None:
    event = "syscalls:sys_enter_write"
    data = sample([busy, "write", 100], event, call_stack=True)
    for row in data:
        in_kernel = [symbol.module.startswith("[") for symbol in row.frames]
        assert in_kernel == sorted(in_kernel, reverse=True)
    assert sum("main" in row.names for row in data) >= 98
