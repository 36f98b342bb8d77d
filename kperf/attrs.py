"""The attributes and enumerations of the functional API, as the contract spells them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import NamedTuple


class PmuTaskType(IntEnum):
    """What a descriptor collects."""

    COUNTING = 0
    COUTING = 0  # the contract's spelling
    SAMPLING = 1
    SPE_SAMPLING = 2


class PmuEventType(IntEnum):
    """Which events `event_list` gives. Software events stand with the core's."""

    CORE_EVENT = 0
    UNCORE_EVENT = 1
    TRACE_EVENT = 2
    ALL_EVENT = 3


class SymbolMode(IntEnum):
    """How far addresses are resolved."""

    NO_SYMBOL_RESOLVE = 0
    RESOLVE_ELF = 1
    RESOLVE_ELF_DWARF = 2


class SpeFilter(IntFlag):
    """Which SPE records are taken and what they hold."""

    SPE_FILTER_NONE = 0
    TS_ENABLE = 1 << 0
    PA_ENABLE = 1 << 1
    PCT_ENABLE = 1 << 2
    JITTER = 1 << 16
    BRANCH_FILTER = 1 << 32
    LOAD_FILTER = 1 << 33
    STORE_FILTER = 1 << 34
    SPE_DATA_ALL = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 16 | 1 << 32 | 1 << 33 | 1 << 34


class SpeEventFilter(IntFlag):
    """Events that an SPE record must have, all at once."""

    SPE_EVENT_NONE = 0
    SPE_EVENT_RETIRED = 0x2
    SPE_EVENT_L1DMISS = 0x8
    SPE_EVENT_TLB_WALK = 0x20
    SPE_EVENT_MISPREDICTED = 0x80


class BranchSampleFilter(IntFlag):
    """Which branches a sample's branch stack holds."""

    KPERF_NO_BRANCH_SAMPLE = 0
    KPERF_SAMPLE_BRANCH_USER = 1 << 0
    KPERF_SAMPLE_BRANCH_KERNEL = 1 << 1
    KPERF_SAMPLE_BRANCH_HV = 1 << 2
    KPERF_SAMPLE_BRANCH_ANY = 1 << 3
    KPERF_SAMPLE_BRANCH_ANY_CALL = 1 << 4
    KPERF_SAMPLE_BRANCH_ANY_RETURN = 1 << 5
    KPERF_SAMPLE_BRANCH_IND_CALL = 1 << 6
    KPERF_SAMPLE_BRANCH_ABORT_TX = 1 << 7
    KPERF_SAMPLE_BRANCH_IN_TX = 1 << 8
    KPERF_SAMPLE_BRANCH_NO_TX = 1 << 9
    KPERF_SAMPLE_BRANCH_COND = 1 << 10
    KPERF_SAMPLE_BRANCH_CALL_STACK = 1 << 11
    KPERF_SAMPLE_BRANCH_IND_JUMP = 1 << 12
    KPERF_SAMPLE_BRANCH_CALL = 1 << 13
    KPERF_SAMPLE_BRANCH_NO_FLAGES = 1 << 14  # the contract's spelling
    KPERF_SAMPLE_BRANCH_NO_FLAGS = 1 << 14
    KPERF_SAMPLE_BRANCH_NO_CYCLES = 1 << 15
    KPERF_SAMPLE_BRANCH_TYPE_SAVE = 1 << 16


class EvtAttr(NamedTuple):
    """One event's own settings. groupId -1: alone."""

    groupId: int = -1
    period: int = 0
    excludeUser: bool = False
    excludeKernel: bool = False


def _strings(name: str, value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of str, not {type(value).__name__}")
    for item in value:
        if not isinstance(item, str):
            raise TypeError(f"{name} must hold str, not {type(item).__name__}")
    return list(value)


def _integers(name: str, value: object) -> list[int]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of int, not {type(value).__name__}")
    return [_integer(name, item) for item in value]


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    return int(value)


def _event_attrs(value: object) -> list[EvtAttr]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"evtAttr must be a list, not {type(value).__name__}")
    return [
        item if isinstance(item, EvtAttr) else EvtAttr(groupId=_integer("evtAttr", item))
        for item in value
    ]


class PmuAttr:
    """What `kperf.open` collects; see the contract for each field. Wrong types raise TypeError.

    `sampleRate` is a period in events, or a frequency in Hz with `useFreq`; 0 asks for the default.
    """

    def __init__(
        self,
        evtList: Sequence[str] = (),
        pidList: Sequence[int] = (),
        cpuList: Sequence[int] = (),
        evtAttr: Sequence[int | EvtAttr] = (),
        sampleRate: int = 0,
        useFreq: bool = False,
        excludeUser: bool = False,
        excludeKernel: bool = False,
        symbolMode: int = SymbolMode.RESOLVE_ELF,
        callStack: bool = False,
        dataFilter: int = SpeFilter.SPE_FILTER_NONE,
        evFilter: int = SpeEventFilter.SPE_EVENT_NONE,
        minLatency: int = 0,
        includeNewFork: bool = False,
        branchSampleFilter: int = BranchSampleFilter.KPERF_NO_BRANCH_SAMPLE,
    ) -> None:
        self.evtList = _strings("evtList", evtList)
        self.pidList = _integers("pidList", pidList)
        self.cpuList = _integers("cpuList", cpuList)
        self.evtAttr = _event_attrs(evtAttr)
        self.sampleRate = _integer("sampleRate", sampleRate)
        self.useFreq = bool(useFreq)
        self.excludeUser = bool(excludeUser)
        self.excludeKernel = bool(excludeKernel)
        self.symbolMode = SymbolMode(symbolMode)
        self.callStack = bool(callStack)
        self.dataFilter = _integer("dataFilter", dataFilter)
        self.evFilter = _integer("evFilter", evFilter)
        self.minLatency = _integer("minLatency", minLatency)
        self.includeNewFork = bool(includeNewFork)
        self.branchSampleFilter = _integer("branchSampleFilter", branchSampleFilter)
