"""Call trees: who called the functions that were sampled, or whom those called that began.

Stacks are a tree of nodes already, from the outermost function in. Here they are added up by names,
a level when somebody looks at it: a table shows few of the many that there may be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kperf.function_nodes import function_nodes
from kperf.samples import Stacks


class Ended(NamedTuple):
    """Samples whose stacks end in the same node."""

    stack: int
    samples: int
    period: int


# Of each node: samples and periods that are added up there.
_Sums = dict[int, tuple[int, int]]


def _add(sums: _Sums, node: int, samples: int, period: int) -> None:
    before = sums.get(node, (0, 0))
    sums[node] = before[0] + samples, before[1] + period


class CallNames:
    """The nodes of one read, and which of them stand for the same function of the same module."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks  # keeps the columns alive
        self.nodes = function_nodes(*stacks.nodes, stacks.inlined)
        self.pairs: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._of_frame = [
            self._number((symbol.symbolName, symbol.module)) for symbol in stacks.symbols
        ]

    def _number(self, pair: tuple[str, str]) -> int:
        number = self._numbers.get(pair)
        if number is None:
            number = self._numbers[pair] = len(self.pairs)
            self.pairs.append(pair)
        return number

    def of(self, node: int) -> int:
        """The number of a node's function in `pairs`."""
        return self._of_frame[self.nodes.functions[node]]

    def roots(self) -> list[int]:
        """Of each stack the frame that it begins with."""
        parents, frames = self._stacks.nodes
        found = [0] * len(parents)
        for node in range(1, len(found)):
            parent = parents[node]
            found[node] = found[parent] if parent else frames[node]
        return found


class _Outward:
    """From the sampled functions to their callers."""

    def __init__(self, names: CallNames, ends: Sequence[Ended], *, with_first: bool) -> None:
        self._parents = names.nodes.parents
        self.first: _Sums = {}
        # The name of a row is that of the function that others are inlined into.
        nodes = names.nodes.inner if with_first else names.nodes.outer
        for end in ends:
            _add(self.first, nodes[end.stack], end.samples, end.period)

    def next(self, sums: _Sums) -> _Sums:
        """The nodes one call further."""
        found: _Sums = {}
        for node, (samples, period) in sums.items():
            outer = self._parents[node]
            if outer:
                _add(found, outer, samples, period)
        return found


class _Inward:
    """From the functions in which stacks begin to those that they call."""

    def __init__(self, names: CallNames, ends: Sequence[Ended], *, with_first: bool) -> None:
        below: _Sums = {}
        for end in ends:
            node = names.nodes.inner[end.stack]
            while node:
                _add(below, node, end.samples, end.period)
                node = names.nodes.parents[node]
        self._below = below
        self._callees: dict[int, list[int]] = {}
        for node in below:
            self._callees.setdefault(names.nodes.parents[node], []).append(node)
        self.first = {node: below[node] for node in self._callees.get(0, ())}

    def next(self, sums: _Sums) -> _Sums:
        """The nodes one call further."""
        return {
            callee: self._below[callee] for node in sums for callee in self._callees.get(node, ())
        }


class Call:
    """A function in a call tree, and what was sampled in the stacks that come this way.

    `share` is of the periods of all samples of the event, as the share of the row that it stands
    under.
    """

    __slots__ = ("_more", "module", "period", "samples", "share", "symbol")

    def __init__(
        self,
        pair: tuple[str, str],
        share: float,
        samples: int,
        period: int,
        more: Callable[[], list[Call]],
    ) -> None:
        self.symbol, self.module = pair
        self.share = share
        self.samples = samples
        self.period = period
        self._more = more

    def calls(self) -> list[Call]:
        """The next level: its callers, or whom it called; the largest share first."""
        return self._more()


class CallTree:
    """The call tree of a row: its callers, or with `inward` whom its functions called.

    with_first  whether the functions of the row are the tree's first level, where the row has no
                name of them
    total       periods of all samples of the event
    """

    def __init__(
        self,
        names: CallNames,
        ends: Sequence[Ended],
        total: int,
        *,
        inward: bool,
        with_first: bool,
    ) -> None:
        self._names = names
        self._ends = ends
        self._total = total
        self._kind = _Inward if inward else _Outward
        self._with_first = with_first

    def calls(self) -> list[Call]:
        """The first level."""
        way = self._kind(self._names, self._ends, with_first=self._with_first)
        return self._level(way, way.first if self._with_first else way.next(way.first))

    def _level(self, way: _Outward | _Inward, sums: _Sums) -> list[Call]:
        by_name: dict[int, _Sums] = {}
        for node, pair in sums.items():
            by_name.setdefault(self._names.of(node), {})[node] = pair
        calls = [self._call(way, number, group) for number, group in by_name.items()]
        calls.sort(key=lambda call: (-call.period, call.symbol, call.module))
        return calls

    def _call(self, way: _Outward | _Inward, number: int, group: _Sums) -> Call:
        samples = sum(pair[0] for pair in group.values())
        period = sum(pair[1] for pair in group.values())
        return Call(
            self._names.pairs[number],
            period / self._total if self._total else 0.0,
            samples,
            period,
            lambda: self._level(way, way.next(group)),
        )
