"""`PmuAttr` with any values in any fields: a descriptor that works, or one sentence."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import descriptors, privileged

import kperf
from kperf import PmuTaskType

EXAMPLES = 150

# Most values are good: where several are none, only the first is found out.
_EVENTS = [
    *("page-faults:u", "task-clock", "dummy", "cpu-clock", "context-switches"),
    *("syscalls:sys_enter_write", "cycles"),
]
_NO_EVENTS = ["", "zz", "dummy:q", "a\0b", "{dummy", "{dummy,dummy}", "mem:0x1000:rw", "r1", "spe/"]
_EDGES = [1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64]
_NUMBERS = st.one_of(st.integers(-2, 5), st.integers(-(1 << 66), 1 << 66), st.sampled_from(_EDGES))
_SOME_NUMBERS = st.lists(_NUMBERS, max_size=3)
_EVENT_ATTRS = st.builds(kperf.EvtAttr, _NUMBERS, _NUMBERS, st.booleans(), st.booleans())


def _mostly(good: list[Any], others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda number: st.sampled_from(good) if number else others)


_NO_EVENT = st.one_of(st.sampled_from(_NO_EVENTS), st.text(max_size=6))
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "pidList": _mostly([[os.getpid()], [os.getpid()] * 2, [], None], _SOME_NUMBERS),
    "cpuList": _mostly([[], [0], [0, 0]], _SOME_NUMBERS),
    "evtAttr": _mostly([[], None], st.lists(st.one_of(_NUMBERS, _EVENT_ATTRS), max_size=4)),
    "sampleRate": _mostly([0, 1000, 1_000_000], _NUMBERS),
    "useFreq": st.booleans(),
    "excludeUser": _mostly([False], st.booleans()),
    "excludeKernel": st.booleans(),
    "symbolMode": st.sampled_from(list(kperf.SymbolMode)),
    "callStack": st.booleans(),
    "dataFilter": _mostly([0], _NUMBERS),
    "evFilter": _mostly([0], _NUMBERS),
    "minLatency": _mostly([0], _NUMBERS),
    "includeNewFork": _mostly([False], st.booleans()),
    "branchSampleFilter": _mostly([0], _NUMBERS),
}
_ATTRS = st.fixed_dictionaries(
    {"evtList": st.lists(_mostly(_EVENTS, _NO_EVENT), min_size=1, max_size=3)}, optional=_FIELDS
)
_KINDS = st.sampled_from([*[PmuTaskType.COUNTING, PmuTaskType.SAMPLING] * 3, *PmuTaskType])


def _use(pd: int) -> None:
    try:
        assert (kperf.errorno(), kperf.error()) == (0, "")
        assert (kperf.enable(pd), kperf.disable(pd)) == (0, 0), kperf.error()
        data = kperf.read(pd)
        assert kperf.errorno() == 0, kperf.error()
        assert sum(1 for _ in data) == len(data)
        data.free()
    finally:
        kperf.close(pd)


def _check_sentence(said: str) -> None:
    assert kperf.errorno() != 0
    assert len(said) > 10
    assert said.isprintable(), said


@privileged
def test_any_fields() -> None:
    outcomes = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_KINDS, _ATTRS)
    def check(kind: PmuTaskType, fields: dict[str, Any]) -> None:
        before = descriptors()
        pd = kperf.open(kind, kperf.PmuAttr(**fields))
        outcomes.append((kind, pd > 0))
        if pd > 0:
            _use(pd)
        else:
            assert pd == -1
            _check_sentence(kperf.error())
        assert descriptors() == before

    check()
    assert {(PmuTaskType.COUNTING, True), (PmuTaskType.SAMPLING, True)} < set(outcomes)
    assert {kind for kind, is_open in outcomes if not is_open} == set(PmuTaskType)
