"""The contract's functions in any order, on descriptors that are open, closed or were never any."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from support import perf_descriptors

import kperf
from kperf import Error, PmuTaskType

_EVENTS = ["page-faults:u", "task-clock:u", "dummy", "cpu-clock:u"]
_WRONG = ["", "no-such-event", "page-faults:q", "{dummy", "a\0b"]
_MOST_OPEN = 8


def _attr(events: list[str], period: int, inherit: bool) -> kperf.PmuAttr:
    return kperf.PmuAttr(
        evtList=events, pidList=[os.getpid()], sampleRate=period, includeNewFork=inherit
    )


class Descriptors(RuleBasedStateMachine):
    """What is open is known here; the library must agree, and never raise."""

    numbers = Bundle("numbers")
    data = Bundle("data")

    @initialize()
    def begin(self) -> None:
        self.open: dict[int, PmuTaskType] = {}
        self.freed: set[int] = set()
        self.before = perf_descriptors()

    @rule(
        target=numbers,
        kind=st.sampled_from([PmuTaskType.COUNTING, PmuTaskType.SAMPLING]),
        events=st.lists(st.sampled_from(_EVENTS), min_size=1, max_size=3),
        inherit=st.booleans(),
    )
    def open_one(self, kind: PmuTaskType, events: list[str], inherit: bool) -> Any:
        if len(self.open) >= _MOST_OPEN:
            return multiple()
        counts = kind is PmuTaskType.COUNTING
        pd = kperf.open(kind, _attr(events, 0 if counts else 1_000_000, inherit and counts))
        assert pd > 0, kperf.error()
        assert (kperf.errorno(), kperf.error()) == (0, "")
        assert pd not in self.open
        self.open[pd] = kind
        return pd

    @rule(target=numbers, number=st.integers(-(1 << 65), 1 << 65))
    def name_one(self, number: int) -> int:
        return number

    @rule(
        kind=st.sampled_from([PmuTaskType.COUNTING, PmuTaskType.SAMPLING]),
        events=st.lists(st.sampled_from(_EVENTS + _WRONG), max_size=3),
        wrong=st.sampled_from(_WRONG),
    )
    def open_none(self, kind: PmuTaskType, events: list[str], wrong: str) -> None:
        assert kperf.open(kind, _attr([*events, wrong], 1000, False)) == -1
        assert kperf.errorno() != 0
        assert len(kperf.error()) > 10
        assert "\n" not in kperf.error()

    def _check(self, pd: int, code: int) -> None:
        assert code == (0 if pd in self.open else Error.INVALID_DESCRIPTOR), (pd, kperf.error())
        assert kperf.errorno() == code
        assert bool(kperf.error()) == bool(code)

    @rule(pd=numbers)
    def enable(self, pd: int) -> None:
        self._check(pd, kperf.enable(pd))

    @rule(pd=numbers)
    def disable(self, pd: int) -> None:
        self._check(pd, kperf.disable(pd))

    @rule(target=data, pd=numbers)
    def read(self, pd: int) -> kperf.PmuData:
        data = kperf.read(pd)
        self._check(pd, kperf.errorno())
        if self.open.get(pd) is PmuTaskType.COUNTING:
            assert len(data) > 0
        return data

    @rule(data=data)
    def walk(self, data: kperf.PmuData) -> None:
        assert sum(1 for _ in data) == len(data) == data.len
        for row in data:
            assert row.evt in _EVENTS
            assert row.count >= 0

    @rule(data=data)
    def free(self, data: kperf.PmuData) -> None:
        rows = list(data)[:1]
        data.free()
        assert (len(data), list(data)) == (0, [])
        for row in rows:
            with pytest.raises(kperf.KperfError) as freed:
                _ = row.cpu
            assert freed.value.code == Error.DATA_FREED

    @rule(pd=numbers)
    def close(self, pd: int) -> None:
        kperf.close(pd)
        self._check(pd, kperf.errorno())
        self.open.pop(pd, None)

    @invariant()
    def closed_ones_hold_nothing(self) -> None:
        if not getattr(self, "open", {"not yet": 0}):
            assert perf_descriptors() == self.before

    def teardown(self) -> None:
        for pd in getattr(self, "open", {}):
            kperf.close(pd)
        if hasattr(self, "before"):
            assert perf_descriptors() == self.before


Descriptors.TestCase.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
test_any_order = Descriptors.TestCase
