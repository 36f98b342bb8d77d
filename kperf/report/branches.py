"""Hot branches: branch records in, table rows out."""

from __future__ import annotations

from typing import NamedTuple

from kperf.samples import BranchSum, SampleData
from kperf.symbols.symbol import Symbol


class Place(NamedTuple):
    """An end of a branch: a function and how far in it, in bytes; file and line where known."""

    symbol: str
    offset: int
    module: str
    file: str
    line: int

    def __str__(self) -> str:
        if self.file:
            return f"{self.symbol} ({self.file.rpartition('/')[2]}:{self.line})"
        return f"{self.symbol}+{self.offset:#x}"


class HotBranch(NamedTuple):
    """A taken branch of one event. Shares are 0 to 1, None where the hardware does not tell."""

    event: str
    origin: Place
    target: Place
    taken: int
    share: float  # of the event's branches
    mispredicted: float | None  # of this branch's times
    cycles: float | None  # since the branch before, on average


def _place(symbol: Symbol) -> Place:
    return Place(symbol.symbolName, symbol.offset, symbol.module, symbol.fileName, symbol.lineNum)


def _added(rows: list[BranchSum]) -> BranchSum:
    sums, places = 5, rows[0][5:]
    return BranchSum._make([*map(sum, list(zip(*rows))[:sums]), *places])


def hot_branches(data: SampleData) -> list[HotBranch]:
    """The branches before samples by event and by where they lead from and to, most taken first.

    What is the same place of the same file in several processes is one.
    """
    symbols = data.stacks.symbols
    found: dict[tuple[int, Place, Place], list[BranchSum]] = {}
    totals: dict[int, int] = {}
    for row in data.branches():
        key = (row.event, _place(symbols[row.origin]), _place(symbols[row.target]))
        found.setdefault(key, []).append(row)
        totals[row.event] = totals.get(row.event, 0) + row.taken
    branches = []
    for (event, origin, target), rows in found.items():
        total = _added(rows)
        known = total.mispredicted + total.predicted
        branches.append(
            HotBranch(
                data.event_names[event],
                origin,
                target,
                total.taken,
                total.taken / totals[event],
                total.mispredicted / known if known else None,
                total.cycles / total.timed if total.timed else None,
            )
        )
    branches.sort(key=lambda branch: (branch.event, -branch.taken, branch.origin, branch.target))
    return branches
