"""The branches that led to a sample, as LBR and BRBE record them, and which are asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kperf.attrs import BranchSampleFilter
from kperf.errors import Error, error

# struct perf_branch_entry: from, to, and flags from the lowest bit on: mispred, predicted, in_tx,
# abort, 16 bits of cycles, 4 bits of type.
_ENTRY = struct.Struct("=QQQ")
_MISPREDICTED, _PREDICTED = 1 << 0, 1 << 1
_CYCLES_SHIFT, _CYCLES_MASK = 4, 0xFFFF
_TYPE_SHIFT, _TYPE_MASK = 20, 0xF


_PREFIXES = ("KPERF_SAMPLE_BRANCH_", "KPERF_")

# What `perf` calls some of them.
_PERFS_NAMES = {
    "u": "user",
    "k": "kernel",
    "any-ret": "any-return",
    "ind-jmp": "ind-jump",
    "save-type": "type-save",
}


def _filters_by_name() -> dict[str, int]:
    found = {}
    for name, member in BranchSampleFilter.__members__.items():
        for prefix in _PREFIXES:
            name = name[len(prefix) :] if name.startswith(prefix) else name
        if member and not name.endswith("FLAGES"):  # as the contract spells it
            found[name.lower().replace("_", "-")] = int(member)
    return found


def branch_filter(text: str) -> int:
    """The `BranchSampleFilter` of a list of names such as "any,user". Raises `KperfError`."""
    known = _filters_by_name()
    found = 0
    for part in text.split(","):
        name = part.strip().lower().replace("_", "-")
        name = _PERFS_NAMES.get(name, name)
        if name not in known:
            raise error(
                Error.INVALID_BRANCH_FILTER,
                f"there is no branch filter '{part.strip()}'",
                hint=f"choose from {', '.join(known)}",
            )
        found |= known[name]
    return found


class BranchRecord(NamedTuple):
    """One taken branch. Where the hardware does not tell, neither prediction flag is set."""

    fromAddr: int
    toAddr: int
    cycles: int  # since the branch before it; 0: not known
    misPred: bool
    predicted: bool
    type: int  # the kernel's PERF_BR_*, with KPERF_SAMPLE_BRANCH_TYPE_SAVE; 0: not known


def _record(origin: int, target: int, flags: int) -> BranchRecord:
    return BranchRecord(
        fromAddr=origin,
        toAddr=target,
        cycles=flags >> _CYCLES_SHIFT & _CYCLES_MASK,
        misPred=bool(flags & _MISPREDICTED),
        predicted=bool(flags & _PREDICTED),
        type=flags >> _TYPE_SHIFT & _TYPE_MASK,
    )


class BranchRecords:
    """A sample's branches, the latest first. Has a length and iterates; each iteration anew."""

    __slots__ = ("_entries",)

    def __init__(self, entries: bytes) -> None:
        self._entries = entries

    @property
    def len(self) -> int:
        return len(self._entries) // _ENTRY.size

    def __len__(self) -> int:
        return self.len

    @property
    def iter(self) -> Iterator[BranchRecord]:
        """A new iterator over the branches."""
        return (_record(*fields) for fields in _ENTRY.iter_unpack(self._entries))

    def __iter__(self) -> Iterator[BranchRecord]:
        return self.iter


class SampleExt:
    """What a row has beside the sample itself: with a branch filter its branches.

    `pa, va, event, lat, source, op` are of SPE, and None without it.
    """

    __slots__ = ("branchRecords",)

    pa = va = event = lat = source = op = None

    def __init__(self, branchRecords: BranchRecords) -> None:
        self.branchRecords = branchRecords
