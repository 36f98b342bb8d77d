"""Where the data of a load came from: codes whose meaning is the core's, by its MIDR.

Sources: HiSilicon HIP12 and the codes that Arm's own cores share, as Linux's perf documents them
(tools/perf/util/arm-spe.c), Arm's technical reference manuals of the Neoverse N1, N2, V1 and V2,
and AmpereOne's from the same place. Cores that stand in no table show numbers.
"""

from __future__ import annotations

from typing import NamedTuple

Midr = tuple[int, int]  # implementer and part


class Source(NamedTuple):
    """A meaning of a code. `modified`: another core had modified the line (HITM)."""

    name: str
    modified: bool = False


_HISILICON = {
    0: Source("peer CPU"),
    1: Source("peer CPU, modified", modified=True),
    2: Source("L3"),
    3: Source("L3, modified", modified=True),
    4: Source("peer cluster"),
    5: Source("peer cluster, modified", modified=True),
    6: Source("remote socket"),
    7: Source("remote socket, modified", modified=True),
    8: Source("local memory"),
    9: Source("remote memory"),
    13: Source("device or non-cacheable"),
    16: Source("L2"),
    17: Source("L2, modified", modified=True),
    18: Source("L1"),
}
_ARM = {
    0x0: Source("L1"),
    0x8: Source("L2"),
    0x9: Source("peer core"),
    0xA: Source("local cluster"),
    0xB: Source("system cache"),
    0xC: Source("peer cluster"),
    0xD: Source("remote"),
    0xE: Source("DRAM"),
}
_AMPERE = {
    0x0: Source("local chip's caches or device"),
    0x3: Source("system cache"),
    0x5: Source("remote chip's caches"),
    0x7: Source("DRAM"),
    0x8: Source("L1"),
    0x9: Source("L2"),
}

_TABLES: dict[Midr, dict[int, Source]] = {
    (0x48, 0xD06): _HISILICON,  # HIP12
    (0x41, 0xD0C): _ARM,  # Neoverse N1
    (0x41, 0xD40): _ARM,  # Neoverse V1
    (0x41, 0xD49): _ARM,  # Neoverse N2
    (0x6D, 0xD49): _ARM,  # Neoverse N2 under Microsoft's implementer code
    (0x41, 0xD4C): _ARM,  # Cortex-X1C
    (0x41, 0xD4E): _ARM,  # Cortex-X3
    (0x41, 0xD4F): _ARM,  # Neoverse V2
    (0x41, 0xD81): _ARM,  # Cortex-A720
    (0x41, 0xD85): _ARM,  # Cortex-X925
    (0x41, 0xD87): _ARM,  # Cortex-A725
    (0x41, 0xD89): _ARM,  # Cortex-A720AE
    (0xC0, 0xAC4): _AMPERE,  # AmpereOne (AMPERE1A)
}

# Kunpeng cores of which nobody has confirmed that HIP12's codes are theirs.
_UNCONFIRMED = {(0x48, 0xD01), (0x48, 0xD02)}


def source_of(midr: Midr | None, code: int) -> Source:
    """What a code means on a core; where that is not known, the code itself."""
    table = _TABLES.get(midr, {}) if midr else {}
    return table.get(code) or Source(f"code {code:#x}")


def is_known(midr: Midr | None) -> bool:
    """Whether there is a table for this core."""
    return midr in _TABLES


def note_of(midr: Midr | None) -> str:
    """Why sources are shown as numbers; empty where they have names."""
    if is_known(midr):
        return ""
    if midr is None:
        return "data sources are numbers, as the core that recorded them is not known"
    name = "implementer {:#04x} part {:#05x}".format(*midr)
    if midr in _UNCONFIRMED:
        return f"data sources are numbers: their meaning on {name} is unconfirmed"
    return f"data sources are numbers: no table for {name}"
