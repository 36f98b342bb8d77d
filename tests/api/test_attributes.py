"""PmuAttr, EvtAttr and the enumerations: the contract's names and numbers, and wrong types."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from enum import IntEnum
from typing import Any

import pytest

import kperf

DEFAULTS = {
    "evtList": [],
    "pidList": [],
    "cpuList": [],
    "evtAttr": [],
    "sampleRate": 0,
    "useFreq": False,
    "excludeUser": False,
    "excludeKernel": False,
    "symbolMode": kperf.SymbolMode.RESOLVE_ELF,
    "callStack": False,
    "dataFilter": kperf.SpeFilter.SPE_FILTER_NONE,
    "evFilter": kperf.SpeEventFilter.SPE_EVENT_NONE,
    "minLatency": 0,
    "includeNewFork": False,
    "branchSampleFilter": kperf.BranchSampleFilter.KPERF_NO_BRANCH_SAMPLE,
}

LISTS_OF_INT = ("pidList", "cpuList")
INTEGERS = ("sampleRate", "dataFilter", "evFilter", "minLatency", "branchSampleFilter")
FLAGS = ("useFreq", "excludeUser", "excludeKernel", "callStack", "includeNewFork")


def test_every_field_has_its_default() -> None:
    attr = kperf.PmuAttr()
    assert {name: getattr(attr, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("evtList", ["cycles", "task-clock"], ["cycles", "task-clock"]),
        ("evtList", ("cycles",), ["cycles"]),
        ("evtList", None, []),
        ("pidList", [1, 2], [1, 2]),
        ("pidList", None, []),
        ("cpuList", range(3), [0, 1, 2]),
        ("evtAttr", [1, -1], [kperf.EvtAttr(1), kperf.EvtAttr(-1)]),
        ("evtAttr", [kperf.EvtAttr(2, 1000, True, False)], [kperf.EvtAttr(2, 1000, True, False)]),
        ("sampleRate", 4000, 4000),
        ("useFreq", True, True),
        ("callStack", 1, True),
        ("symbolMode", 2, kperf.SymbolMode.RESOLVE_ELF_DWARF),
        ("dataFilter", kperf.SpeFilter.LOAD_FILTER | kperf.SpeFilter.TS_ENABLE, 1 << 33 | 1),
        ("branchSampleFilter", kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY, 8),
    ],
)
def test_a_field_keeps_what_it_is_given(field: str, value: Any, kept: Any) -> None:
    attr = kperf.PmuAttr(**{field: value})
    assert getattr(attr, field) == kept
    later = kperf.PmuAttr()
    setattr(later, field, value)
    assert getattr(later, field) == kept


class Index:
    """An integer of another library."""

    def __index__(self) -> int:
        return 7


def test_integers_of_other_libraries_are_integers() -> None:
    attr = kperf.PmuAttr(pidList=[Index()], sampleRate=Index())
    assert attr.pidList == [7]
    assert type(attr.pidList[0]) is int
    assert attr.sampleRate == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("evtList", "cycles"),
        ("evtList", b"cycles"),
        ("evtList", 5),
        ("evtList", {"cycles": 1}),
        ("evtList", [b"cycles"]),
        ("evtList", ["cycles", 5]),
        ("evtList", ["cycles", None]),
        *((field, value) for field in LISTS_OF_INT for value in (1, "1", b"1", ["1"], [1.0])),
        *((field, [value]) for field in LISTS_OF_INT for value in (True, None)),
        ("evtAttr", 1),
        ("evtAttr", "1"),
        ("evtAttr", ["1"]),
        ("evtAttr", [True]),
        ("evtAttr", [kperf.EvtAttr(groupId="1")]),
        ("evtAttr", [kperf.EvtAttr(period=1.5)]),
        ("evtAttr", [kperf.EvtAttr(excludeUser="no")]),
        *((field, value) for field in INTEGERS for value in ("1", 1.5, None, [1], True)),
        ("symbolMode", "RESOLVE_ELF"),
        ("symbolMode", None),
        *((field, value) for field in FLAGS for value in ("no", None, 0.0, [])),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_field(field: str, value: object) -> None:
    with pytest.raises(TypeError, match=field):
        kperf.PmuAttr(**{field: value})
    attr = kperf.PmuAttr()
    with pytest.raises(TypeError, match=field):
        setattr(attr, field, value)
    assert getattr(attr, field) == DEFAULTS[field]


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError):
        kperf.PmuAttr(evtlist=["cycles"])
    with pytest.raises(AttributeError):
        kperf.PmuAttr().pidlist = [1]


def test_lists_are_copied() -> None:
    events = ["cycles"]
    attr = kperf.PmuAttr(evtList=events)
    events.append("task-clock")
    assert attr.evtList == ["cycles"]


def test_attributes_can_be_copied_pickled_and_printed() -> None:
    attr = kperf.PmuAttr(evtList=["cycles"], evtAttr=[3], excludeKernel=True)
    for twin in (copy.deepcopy(attr), pickle.loads(pickle.dumps(attr))):
        assert {name: getattr(twin, name) for name in DEFAULTS} == {
            name: getattr(attr, name) for name in DEFAULTS
        }
    assert "evtList=['cycles']" in repr(attr)
    assert "excludeKernel=True" in repr(attr)
    assert "pidList" not in repr(attr)


def test_help_on_the_attributes_works() -> None:
    shown = subprocess.run(
        [sys.executable, "-I", "-c", "import kperf; help(kperf.PmuAttr)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(field in shown for field in DEFAULTS)


# ---- enumerations ----

ENUMERATIONS: dict[type[IntEnum] | type, dict[str, int]] = {
    kperf.PmuTaskType: {"COUNTING": 0, "COUTING": 0, "SAMPLING": 1, "SPE_SAMPLING": 2},
    kperf.PmuEventType: {"CORE_EVENT": 0, "UNCORE_EVENT": 1, "TRACE_EVENT": 2, "ALL_EVENT": 3},
    kperf.SymbolMode: {"NO_SYMBOL_RESOLVE": 0, "RESOLVE_ELF": 1, "RESOLVE_ELF_DWARF": 2},
    kperf.SpeFilter: {
        "SPE_FILTER_NONE": 0,
        "TS_ENABLE": 1,
        "PA_ENABLE": 2,
        "PCT_ENABLE": 4,
        "JITTER": 0x10000,
        "BRANCH_FILTER": 0x100000000,
        "LOAD_FILTER": 0x200000000,
        "STORE_FILTER": 0x400000000,
        "SPE_DATA_ALL": 0x700010007,
    },
    kperf.SpeEventFilter: {
        "SPE_EVENT_NONE": 0,
        "SPE_EVENT_RETIRED": 0x2,
        "SPE_EVENT_L1DMISS": 0x8,
        "SPE_EVENT_TLB_WALK": 0x20,
        "SPE_EVENT_MISPREDICTED": 0x80,
    },
    kperf.BranchSampleFilter: {
        "KPERF_NO_BRANCH_SAMPLE": 0,
        "KPERF_SAMPLE_BRANCH_USER": 1,
        "KPERF_SAMPLE_BRANCH_KERNEL": 2,
        "KPERF_SAMPLE_BRANCH_HV": 4,
        "KPERF_SAMPLE_BRANCH_ANY": 8,
        "KPERF_SAMPLE_BRANCH_ANY_CALL": 0x10,
        "KPERF_SAMPLE_BRANCH_ANY_RETURN": 0x20,
        "KPERF_SAMPLE_BRANCH_IND_CALL": 0x40,
        "KPERF_SAMPLE_BRANCH_ABORT_TX": 0x80,
        "KPERF_SAMPLE_BRANCH_IN_TX": 0x100,
        "KPERF_SAMPLE_BRANCH_NO_TX": 0x200,
        "KPERF_SAMPLE_BRANCH_COND": 0x400,
        "KPERF_SAMPLE_BRANCH_CALL_STACK": 0x800,
        "KPERF_SAMPLE_BRANCH_IND_JUMP": 0x1000,
        "KPERF_SAMPLE_BRANCH_CALL": 0x2000,
        "KPERF_SAMPLE_BRANCH_NO_FLAGES": 0x4000,
        "KPERF_SAMPLE_BRANCH_NO_FLAGS": 0x4000,
        "KPERF_SAMPLE_BRANCH_NO_CYCLES": 0x8000,
        "KPERF_SAMPLE_BRANCH_TYPE_SAVE": 0x10000,
    },
}


@pytest.mark.parametrize("enumeration", ENUMERATIONS, ids=lambda e: e.__name__)
def test_an_enumeration_has_the_contracts_numbers(enumeration: Any) -> None:
    numbers = {name: int(member) for name, member in enumeration.__members__.items()}
    assert numbers == ENUMERATIONS[enumeration]


def test_filters_combine() -> None:
    chosen = (
        kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY
        | kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_USER
    )
    assert chosen == 9
    assert kperf.PmuAttr(branchSampleFilter=chosen).branchSampleFilter == 9


# ---- names ----

FUNCTIONS = {"open", "enable", "disable", "read", "close", "error", "errorno", "event_list"}
CLASSES = {
    "BranchSampleFilter",
    "Command",
    "Counting",
    "CpuTopology",
    "Error",
    "EvtAttr",
    "ImplPmuData",
    "KperfError",
    "Machine",
    "PmuAttr",
    "PmuData",
    "PmuEventType",
    "PmuTaskType",
    "SpeEventFilter",
    "SpeFilter",
    "SymbolMode",
}


def test_the_module_has_the_contracts_names() -> None:
    assert set(kperf.__all__) >= FUNCTIONS | CLASSES
    assert all(callable(getattr(kperf, name)) for name in FUNCTIONS)
    assert all(isinstance(getattr(kperf, name), type) for name in CLASSES)


def test_every_public_name_is_there_and_documented() -> None:
    for name in set(kperf.__all__) - {"__version__"}:
        assert getattr(kperf, name).__doc__, name
