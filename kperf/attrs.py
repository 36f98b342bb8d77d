"""The attributes and enumerations of the functional API, as the contract spells them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from operator import index
from typing import Any, Callable, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


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


class PmuDeviceMetric(IntEnum):
    """What devices are asked for: the contract's eleven in its order, then what goes beyond it."""

    PMU_DDR_READ_BW = 0
    PMU_DDR_WRITE_BW = 1
    PMU_L3_TRAFFIC = 2
    PMU_L3_MISS = 3
    PMU_L3_REF = 4
    PMU_L3_LAT = 5
    PMU_PCIE_RX_MRD_BW = 6
    PMU_PCIE_RX_MWR_BW = 7
    PMU_PCIE_TX_MRD_BW = 8
    PMU_PCIE_TX_MWR_BW = 9
    PMU_SMMU_TRAN = 10
    PMU_PCIE_RX_MRD_LAT = 11
    PMU_PCIE_RX_MWR_LAT = 12
    PMU_PCIE_TX_MRD_LAT = 13
    PMU_HHA_CROSS_NUMA = 14
    PMU_HHA_CROSS_SOCKET = 15
    PMU_L3_MEAN_LAT = 16
    PMU_CLUSTER_L3_REF = 17
    PMU_CLUSTER_L3_MISS = 18
    PMU_SLC_REF = 19
    PMU_SLC_MISS = 20
    PMU_ENERGY_PKG = 21
    PMU_ENERGY_CORES = 22
    PMU_ENERGY_RAM = 23
    PMU_TSC = 24
    PMU_DDR_BW = 25


class PmuBdfType(IntEnum):
    """Whose BDFs `device_bdf_list` gives."""

    PMU_BDF_TYPE_PCIE = 0
    PMU_BDF_TYPE_SMMU = 1


class PmuMetricMode(IntEnum):
    """What a row of `PmuDeviceData` is of."""

    PMU_METRIC_INVALID = 0
    PMU_METRIC_CORE = 1
    CORE = 1
    PMU_METRIC_NUMA = 2
    NUMA = 2
    PMU_METRIC_CLUSTER = 3
    CLUSTER = 3
    PMU_METRIC_BDF = 4
    BDF = 4
    PMU_METRIC_CHANNEL = 5
    CHANNEL = 5
    PMU_METRIC_SOCKET = 6
    SOCKET = 6


class PmuTraceType(IntEnum):
    """What a trace is of."""

    TRACE_SYS_CALL = 0


class EvtAttr(NamedTuple):
    """One event's own settings. groupId -1: alone."""

    groupId: int = -1
    period: int = 0
    excludeUser: bool = False
    excludeKernel: bool = False


# ---- checks: a field's value in its own type, or TypeError ----


def _items(name: str, value: object, of: str) -> list[object]:
    """A list's items; None is an empty one."""
    if value is None:
        return []
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of {of}, not {type(value).__name__}")
    return list(value)


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must hold str, not {type(value).__name__}")
    return value


def _integer(name: str, value: object) -> int:
    """An int, or a number of another library that is one; True and False are none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    return index(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be bool, not {type(value).__name__}")
    return bool(value)


def _symbol_mode(name: str, value: object) -> SymbolMode:
    return SymbolMode(_integer(name, value))


def _strings(name: str, value: object) -> list[str]:
    return [_string(name, item) for item in _items(name, value, "str")]


def _integers(name: str, value: object) -> list[int]:
    return [_integer(name, item) for item in _items(name, value, "int")]


def _event_attr(name: str, value: object) -> EvtAttr:
    if not isinstance(value, EvtAttr):
        return EvtAttr(groupId=_integer(name, value))
    return EvtAttr(
        groupId=_integer(f"{name}'s groupId", value.groupId),
        period=_integer(f"{name}'s period", value.period),
        excludeUser=_flag(f"{name}'s excludeUser", value.excludeUser),
        excludeKernel=_flag(f"{name}'s excludeKernel", value.excludeKernel),
    )


def _event_attrs(name: str, value: object) -> list[EvtAttr]:
    return [_event_attr(name, item) for item in _items(name, value, "int or EvtAttr")]


def _bdf(name: str, value: object) -> str:
    return "" if value is None else _string(name, value)


# ---- the attributes ----


class _Attributes:
    """Fields by name."""

    __slots__ = ("_values",)

    _values: dict[str, Any]

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in self._values.items() if value)
        return f"{type(self).__name__}({', '.join(given)})"


class _Field(Generic[_T]):
    """A field that is checked whenever it is set."""

    def __init__(self, check: Callable[[str, object], _T]) -> None:
        self._check = check

    def __set_name__(self, owner: type[_Attributes], name: str) -> None:
        self._name = name

    def __get__(self, attr: _Attributes, owner: type[_Attributes]) -> _T:
        value: _T = attr._values[self._name]
        return value

    def __set__(self, attr: _Attributes, value: object) -> None:
        attr._values[self._name] = self._check(self._name, value)


class PmuDeviceAttr(_Attributes):
    """One metric that `kperf.device_open` measures; `bdf` names the PCIe device where it is of one.

    `metric` is a `PmuDeviceMetric`, which is checked when it is opened.
    """

    __slots__ = ()

    metric = _Field(_integer)
    bdf = _Field(_bdf)

    def __init__(self, metric: int, bdf: str | None = None) -> None:
        self._values = {}
        self.metric = metric
        self.bdf = bdf


class PmuAttr(_Attributes):
    """What `kperf.open` collects; see the contract for each field.

    `sampleRate` is a period in events, or a frequency in Hz with `useFreq`; 0 asks for the default.
    A value of the wrong type raises TypeError, in the call and where a field is set later.
    """

    __slots__ = ()

    evtList = _Field(_strings)
    pidList = _Field(_integers)
    cpuList = _Field(_integers)
    evtAttr = _Field(_event_attrs)
    sampleRate = _Field(_integer)
    useFreq = _Field(_flag)
    excludeUser = _Field(_flag)
    excludeKernel = _Field(_flag)
    symbolMode = _Field(_symbol_mode)
    callStack = _Field(_flag)
    dataFilter = _Field(_integer)
    evFilter = _Field(_integer)
    minLatency = _Field(_integer)
    includeNewFork = _Field(_flag)
    branchSampleFilter = _Field(_integer)

    def __init__(
        self,
        evtList: Sequence[str] | None = None,
        pidList: Sequence[int] | None = None,
        cpuList: Sequence[int] | None = None,
        evtAttr: Sequence[int | EvtAttr] | None = None,
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
        self._values = {}
        self.evtList = evtList
        self.pidList = pidList
        self.cpuList = cpuList
        self.evtAttr = evtAttr
        self.sampleRate = sampleRate
        self.useFreq = useFreq
        self.excludeUser = excludeUser
        self.excludeKernel = excludeKernel
        self.symbolMode = symbolMode
        self.callStack = callStack
        self.dataFilter = dataFilter
        self.evFilter = evFilter
        self.minLatency = minLatency
        self.includeNewFork = includeNewFork
        self.branchSampleFilter = branchSampleFilter


class PmuTraceAttr(_Attributes):
    """What `kperf.trace_open` traces.

    funcs: names of system calls; none: all. pidList, cpuList: as in `PmuAttr`. A value of the wrong
    type raises TypeError, in the call and where a field is set later.
    """

    __slots__ = ()

    funcs = _Field(_strings)
    pidList = _Field(_integers)
    cpuList = _Field(_integers)

    def __init__(
        self,
        funcs: Sequence[str] | None = None,
        pidList: Sequence[int] | None = None,
        cpuList: Sequence[int] | None = None,
    ) -> None:
        self._values = {}
        self.funcs = funcs
        self.pidList = pidList
        self.cpuList = cpuList
