"""What kind of operation was sampled (Arm ARM DDI 0487, Operation Type packet)."""

from __future__ import annotations

from enum import IntFlag
from functools import cache
from typing import NamedTuple


class SpeOp(IntFlag):
    """What a sampled operation was: one of the first four, and more about it."""

    NONE = 0
    OTHER = 1 << 0
    LOAD = 1 << 1
    STORE = 1 << 2
    BRANCH = 1 << 3
    SIMD_FP = 1 << 4
    SVE = 1 << 5
    ATOMIC = 1 << 6
    EXCLUSIVE = 1 << 7
    ACQUIRE_RELEASE = 1 << 8
    PREDICATED = 1 << 9
    GATHER_SCATTER = 1 << 10
    MEMCPY = 1 << 11
    MEMSET = 1 << 12
    TAG = 1 << 13
    SYSTEM_REGISTER = 1 << 14
    CONDITIONAL = 1 << 15
    INDIRECT = 1 << 16
    CALL = 1 << 17
    RETURN = 1 << 18


class _Rule(NamedTuple):
    """Where the payload under `mask` is `value`, the operation is `means`, too."""

    mask: int
    value: int
    means: SpeOp


_OTHER = (
    _Rule(0x89, 0x08, SpeOp.SVE),
    _Rule(0x8D, 0x0C, SpeOp.PREDICATED),
    _Rule(0x8B, 0x0A, SpeOp.SIMD_FP),
    _Rule(0x01, 0x01, SpeOp.CONDITIONAL),
)
_MEMORY = (
    _Rule(0x01, 0x00, SpeOp.LOAD),
    _Rule(0x01, 0x01, SpeOp.STORE),
    _Rule(0xFE, 0x04, SpeOp.SIMD_FP),
    _Rule(0xFE, 0x14, SpeOp.TAG),
    _Rule(0xFE, 0x20, SpeOp.MEMCPY),
    _Rule(0xFF, 0x25, SpeOp.MEMSET),
    _Rule(0xFE, 0x30, SpeOp.SYSTEM_REGISTER),
    _Rule(0xE6, 0x06, SpeOp.ATOMIC),
    _Rule(0xEA, 0x0A, SpeOp.EXCLUSIVE),
    _Rule(0xF2, 0x12, SpeOp.ACQUIRE_RELEASE),
    _Rule(0x0A, 0x08, SpeOp.SVE),
    _Rule(0x0E, 0x0C, SpeOp.PREDICATED),
    _Rule(0x8A, 0x88, SpeOp.GATHER_SCATTER),
)
_BRANCH = (
    _Rule(0x01, 0x01, SpeOp.CONDITIONAL),
    _Rule(0x02, 0x02, SpeOp.INDIRECT),
    _Rule(0x18, 0x08, SpeOp.CALL),
    _Rule(0x18, 0x10, SpeOp.RETURN),
)
_CLASSES = {
    0: (SpeOp.OTHER, _OTHER),
    1: (SpeOp.NONE, _MEMORY),
    2: (SpeOp.BRANCH, _BRANCH),
}


@cache  # 1,024 at most
def operation(code: int) -> SpeOp:
    """The operation of a class (bits 8 and 9) and payload (bits 0 to 7)."""
    found, rules = _CLASSES.get(code >> 8, (SpeOp.OTHER, ()))
    for rule in rules:
        if code & rule.mask == rule.value:
            found |= rule.means
    return found


def operation_names(found: SpeOp) -> list[str]:
    """Its parts in words: load, store, branch, other, then what else it is."""
    return [
        part.name.lower().replace("_", "-")
        for part in SpeOp
        if part and part in found and part.name
    ]
