"""Makes SPE streams: packets, records of every kind, and random bytes; little-endian, by the table
of the Arm Architecture Reference Manual. Nothing of kperf is used."""

from __future__ import annotations

import random
from collections.abc import Iterator

PC, TARGET, VA, PA, PREVIOUS = range(5)
TOTAL, ISSUE, TRANSLATION = range(3)
OTHER, MEMORY, BRANCH = range(3)  # classes of operations
END = b"\x01"

_KERNEL_EL = (1, 2)


def packet(header: int, payload: int, size: int) -> bytes:
    return bytes([header]) + payload.to_bytes(size, "little")


def address(index: int, payload: int) -> bytes:
    return packet(0xB0 | index, payload, 8)


def code(index: int, where: int, el: int = 0, secure: bool = False) -> bytes:
    return address(index, where & (1 << 56) - 1 | el << 61 | (not secure) << 63)


def counter(index: int, cycles: int) -> bytes:
    return packet(0x98 | index, cycles, 2)


def context(tid: int, index: int = 0) -> bytes:
    return packet(0x64 | index, tid, 4)


def operation(kind: int, payload: int) -> bytes:
    return packet(0x48 | kind, payload, 1)


def events(bits: int, size: int = 2) -> bytes:
    return packet({1: 0x42, 2: 0x52, 4: 0x62, 8: 0x72}[size], bits, size)


def source(code: int, size: int = 1) -> bytes:
    return packet({1: 0x43, 2: 0x53}[size], code, size)


def timestamp(ticks: int) -> bytes:
    return packet(0x71, ticks, 8)


def extended(high: int, short: bytes) -> bytes:
    """An address or counter packet of an index above 7."""
    return bytes([0x20 | high]) + short


def alignment(exponent: int) -> bytes:
    """Up to the next multiple of 2 << exponent; what is skipped belongs to it."""
    return bytes([0x20 | exponent, 0])


def records(n: int, seed: int = 1) -> Iterator[bytes]:
    """Records as chips write them, of all kinds, some padded to 64 bytes."""
    chance = random.Random(seed)
    ticks = 1_000_000
    for _ in range(n):
        ticks += chance.randrange(1, 5000)
        yield _record(chance, ticks)


def _record(chance: random.Random, ticks: int) -> bytes:
    el = chance.choice((0, 0, 0, 1, 2))
    pc = 0xFF_FF80_0800_0000 if el else 0xAAAA_0000_0000
    pc |= chance.randrange(1 << 14) << 2
    parts = [code(PC, pc, el)]
    if chance.random() < 0.8:
        parts.append(context(chance.randrange(1, 5000), chance.randrange(2)))
    parts += _operation(chance, pc, el)
    parts += [counter(ISSUE, chance.randrange(64)), counter(TOTAL, chance.randrange(4096))]
    parts.append(timestamp(ticks) if chance.random() < 0.8 else END)
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % 64) if chance.random() < 0.7 else whole


def _operation(chance: random.Random, pc: int, el: int) -> list[bytes]:
    size = chance.choice((1, 2, 4, 8))
    bits = chance.getrandbits(8 * size) & 0x7F_FFFF_0FFF
    kind = chance.choice((OTHER, MEMORY, MEMORY, MEMORY, BRANCH))
    parts = [operation(kind, chance.randrange(256)), events(bits, size)]
    if kind == BRANCH:
        parts.append(code(TARGET, pc + chance.randrange(-4096, 4096) * 4, el))
    elif kind == MEMORY:
        parts += [address(VA, chance.getrandbits(64)), counter(TRANSLATION, chance.randrange(99))]
        if chance.random() < 0.5:
            parts.append(address(PA, chance.getrandbits(64)))
        if chance.random() < 0.7:
            parts.append(source(chance.randrange(20), chance.choice((1, 2))))
    return parts


def noise(n: int, seed: int = 1) -> bytes:
    """Random bytes in which headers of packets are frequent."""
    chance = random.Random(seed)
    heads = bytes([0, 1, 0x20, 0x21, 0x22, 0x23, 0x71, 0x64, 0x65, 0xB0, 0xB2, 0x98, 0x42, 0x52])
    return bytes(
        chance.choice(heads) if chance.random() < 0.3 else chance.randrange(256) for _ in range(n)
    )
