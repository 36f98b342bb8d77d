"""What happened to processes and threads while they were sampled: names, mappings, births, ends."""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack
from typing import Any, NamedTuple

from kperf._core import ffi, lib

_EVENT = "=QIiiiiI"  # struct kp_task_event


class TaskKind:
    """What a `TaskEvent` tells of."""

    MAP = lib.KP_TASK_MAP
    COMM = lib.KP_TASK_COMM
    EXEC = lib.KP_TASK_EXEC
    FORK = lib.KP_TASK_FORK
    EXIT = lib.KP_TASK_EXIT


class TaskEvent(NamedTuple):
    """One thing that happened.

    time        ns of CLOCK_MONOTONIC; what was so from the beginning is dated back, to 0 if need be
    kind        a member of `TaskKind`
    ppid, ptid  FORK and EXIT: the parent
    value       MAP: the number of a mapping; COMM and EXEC: the number of a string
    """

    time: int
    kind: int
    pid: int
    tid: int
    ppid: int
    ptid: int
    value: int


def task_events(raw: Any) -> Iterator[TaskEvent]:
    """Those of a kp_samples, in order of time."""
    n = raw.n_task_events
    bytes_of_all = ffi.buffer(raw.task_events, n * ffi.sizeof("struct kp_task_event"))
    return map(TaskEvent._make, iter_unpack(_EVENT, bytes_of_all))
