"""Call trees of chosen stacks, and of all that rows of samples show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kperf.report.callers import Call, CallNames, CallTree, Ended
from kperf.symbols.symbol import Symbol


class MadeStacks:
    """Stacks of these functions, outermost first; a node of its own for each way to be called."""

    def __init__(self, stacks: Sequence[str]) -> None:
        parents, frames, self.symbols = [0], [0], [Symbol(0, "")]
        self.ends: list[int] = []
        known: dict[tuple[int, str], int] = {}
        for stack in stacks:
            node = 0
            for name in stack.split():
                if (node, name) not in known:
                    known[node, name] = len(parents)
                    parents.append(node)
                    frames.append(len(self.symbols))
                    self.symbols.append(Symbol(len(self.symbols), "module", name))
                node = known[node, name]
            self.ends.append(node)
        self.nodes = parents, frames
        self.inlined: dict[int, tuple[int, ...]] = {}

    def inline(self, name: str, *functions: str) -> None:
        """Has every frame of a function hold others, innermost first, that were inlined there."""
        for frame, symbol in enumerate(list(self.symbols)):
            if symbol.symbolName == name:
                first = len(self.symbols)
                self.symbols += [Symbol(0, "module", other) for other in (*functions, name)]
                self.inlined[frame] = tuple(range(first, len(self.symbols)))


def tree(
    stacks: Sequence[str],
    *,
    inward: bool = False,
    with_first: bool = False,
    inlined: Sequence[str] = (),
) -> CallTree:
    """Each stack sampled once, for ten events. `inlined`: a function, and what it holds."""
    made: Any = MadeStacks(stacks)
    if inlined:
        made.inline(*inlined)
    ends = [Ended(node, 1, 10) for node in made.ends]
    return CallTree(CallNames(made), ends, 10 * len(ends), inward=inward, with_first=with_first)


def lines(calls: Sequence[Call], depth: int = 0) -> list[str]:
    """A tree as text: one function a line, behind its depth."""
    found = []
    for call in calls:
        assert call.module == "module"
        assert call.period == 10 * call.samples
        found.append(f"{depth} {call.symbol} {call.samples}")
        found += lines(call.calls(), depth + 1)
    return found


STACKS = ["main a leaf", "main a leaf", "main b leaf", "start leaf", "leaf"]


def test_callers_of_the_sampled_function() -> None:
    assert lines(tree(STACKS).calls()) == [
        *("0 a 2", "1 main 2"),
        *("0 b 1", "1 main 1"),
        "0 start 1",
    ]


def test_whom_the_outermost_functions_call() -> None:
    assert lines(tree(STACKS[:3], inward=True).calls()) == [
        *("0 a 2", "1 leaf 2"),
        *("0 b 1", "1 leaf 1"),
    ]


@pytest.mark.parametrize(
    ("inward", "first"), [(False, ["leaf 5"]), (True, ["main 3", "leaf 1", "start 1"])]
)
def test_rows_without_a_function_begin_with_it(inward: bool, first: list[str]) -> None:
    found = lines(tree(STACKS, inward=inward, with_first=True).calls())
    assert [line[2:] for line in found if line.startswith("0 ")] == first


def test_recursion_is_a_level_a_call() -> None:
    assert lines(tree(["f f f"]).calls()) == ["0 f 1", "1 f 1"]
    assert lines(tree(["f f f"], inward=True, with_first=True).calls()) == [
        *("0 f 1", "1 f 1", "2 f 1")
    ]


def test_a_function_that_lies_at_many_addresses_is_one() -> None:
    """Each node of `MadeStacks` has an address of its own."""
    assert lines(tree(["x f leaf", "y f leaf"]).calls()) == ["0 f 2", "1 x 1", "1 y 1"]


def test_shares_are_of_the_event() -> None:
    made: Any = MadeStacks(["main leaf"])
    (call,) = CallTree(
        CallNames(made), [Ended(made.ends[0], 1, 10)], 40, inward=False, with_first=False
    ).calls()
    assert call.share == 0.25


def test_no_periods_make_no_shares() -> None:
    made: Any = MadeStacks(["main leaf"])
    ends = [Ended(made.ends[0], 1, 0)]
    (call,) = CallTree(CallNames(made), ends, 0, inward=False, with_first=False).calls()
    assert call.share == 0.0


def test_the_frame_that_each_stack_begins_with() -> None:
    made: Any = MadeStacks(["a b", "c"])
    roots = CallNames(made).roots()[1:]
    assert [made.symbols[root].symbolName for root in roots] == ["a", "a", "c"]


def test_inlined_functions_are_callers_of_their_own() -> None:
    stacks = ["main mid leaf"]
    inlined = ("mid", "inner", "outer")
    callers = ["0 inner 1", "1 outer 1", "2 mid 1", "3 main 1"]
    assert lines(tree(stacks, inlined=inlined).calls()) == callers
    callees = ["0 mid 1", "1 outer 1", "2 inner 1", "3 leaf 1"]
    assert lines(tree(stacks, inlined=inlined, inward=True).calls()) == callees


def test_a_row_stands_for_what_is_inlined_into_it() -> None:
    inlined = ("leaf", "inner")
    assert lines(tree(["main leaf"], inlined=inlined).calls()) == ["0 main 1"]
    found = lines(tree(["main leaf"], inlined=inlined, with_first=True).calls())
    assert found == ["0 inner 1", "1 leaf 1", "2 main 1"]


# ---- of real samples ----


def paths(calls: Sequence[Call], before: tuple[str, ...] = ()) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for call in calls:
        path = (*before, call.symbol)
        found[path] += call.samples
        found.update(paths(call.calls(), path))
    return found


def prefixes(names: Sequence[str], counted: Counter[tuple[str, ...]]) -> None:
    for n in range(1, len(names) + 1):
        counted[tuple(names[:n])] += 1


@pytest.mark.parametrize(
    ("way", "order"), [("callers", lambda names: names), ("callees", lambda names: names[::-1])]
)
def test_trees_have_what_the_rows_have(way: str, order: Callable[[Any], Any]) -> None:
    import kperf
    from kperf.report.hot import hot_lines

    with kperf.Sampling("cpu-clock", pids=[os.getpid()], call_stack=True) as sampling:
        sampling.enable()
        sum(i * i for i in range(3_000_000))
        sampling.disable()
        data = sampling.read()
    wanted: Counter[tuple[str, ...]] = Counter()
    for row in data:
        prefixes(order([frame.symbolName for frame in row.frames]), wanted)
    found: Counter[tuple[str, ...]] = Counter()
    for line in hot_lines(data, ["symbol"], way):
        assert line.tree is not None
        first = (str(line.values["symbol"]),)
        found[first] += line.samples
        found.update(paths(line.tree.calls(), first))
    assert len(data) > 20
    assert found == wanted
