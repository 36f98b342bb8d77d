"""event_list: what it names can be counted."""

from __future__ import annotations

import random

import pytest
from support import as_nobody, privileged, rooted

import kperf
from kperf import Error, PmuAttr, PmuEventType, PmuTaskType

TRACEPOINTS_TRIED = 200


def names(kind: PmuEventType) -> list[str]:
    listed = list(kperf.event_list(kind))
    assert kperf.errorno() == 0, kperf.error()
    return listed


def refused(events: list[str]) -> dict[str, str]:
    """Those that do not open, each with its error."""
    found = {}
    for event in events:
        pd = kperf.open(PmuTaskType.COUNTING, PmuAttr(evtList=[event]))
        if pd == -1:
            found[event] = kperf.error()
        else:
            kperf.close(pd)
    return found


@privileged
def test_core_and_software_events_open() -> None:
    listed = names(PmuEventType.CORE_EVENT)
    assert {"task-clock", "page-faults", "context-switches"} <= set(listed)
    assert len(set(listed)) == len(listed)
    assert refused(listed) == {}


@privileged
def test_uncore_events_open() -> None:
    listed = names(PmuEventType.UNCORE_EVENT)
    assert len(set(listed)) == len(listed)
    assert refused(listed) == {}


@privileged
def test_tracepoints_open() -> None:
    listed = names(PmuEventType.TRACE_EVENT)
    assert {"sched:sched_switch", "syscalls:sys_enter_write"} <= set(listed)
    assert len(set(listed)) == len(listed)
    tried = random.Random(0).sample(listed, min(TRACEPOINTS_TRIED, len(listed)))
    pd = kperf.open(PmuTaskType.COUNTING, PmuAttr(evtList=tried, cpuList=[0]))
    assert pd > 0, kperf.error()
    assert [row.evt for row in kperf.read(pd)] == tried
    kperf.close(pd)


@privileged
def test_all_events_are_those_of_every_kind() -> None:
    kinds = (PmuEventType.CORE_EVENT, PmuEventType.UNCORE_EVENT, PmuEventType.TRACE_EVENT)
    assert names(PmuEventType.ALL_EVENT) == [name for kind in kinds for name in names(kind)]


@privileged
def test_it_is_an_iterator_of_str() -> None:
    listed = kperf.event_list(PmuEventType.ALL_EVENT)
    assert iter(listed) is listed
    assert isinstance(next(listed), str)


@pytest.mark.parametrize("kind", [4, -1])
def test_an_unknown_type_is_an_error(kind: int) -> None:
    assert list(kperf.event_list(kind)) == []
    assert kperf.errorno() == Error.INVALID_ARGUMENT
    assert str(kind) in kperf.error()


@pytest.mark.parametrize("kind", ["CORE_EVENT", None, 1.0, True])
def test_a_wrong_type_is_a_type_error(kind: object) -> None:
    with pytest.raises(TypeError, match="event_type"):
        kperf.event_list(kind)


@rooted
def test_an_ordinary_user_gets_the_rest_and_the_reason() -> None:
    """Tracepoints are closed to users where tracefs is; all else is listed."""
    listed, code, said = as_nobody(
        lambda: [list(kperf.event_list(PmuEventType.ALL_EVENT)), kperf.errorno(), kperf.error()]
    )
    assert "task-clock" in listed
    has_tracepoints = "sched:sched_switch" in listed
    assert has_tracepoints == (code == 0)
    assert has_tracepoints or code in (Error.NO_PERMISSION, Error.TRACEFS_UNAVAILABLE)
    assert has_tracepoints or "trac" in said
