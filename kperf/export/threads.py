"""The samples of a profile by event and thread, for formats that show each thread by itself."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from kperf.export.profile import Profile


class ThreadSamples(NamedTuple):
    """The samples of one event in one thread, in order of time; arrays of equal length."""

    event: int
    pid: int
    tid: int
    comm: str  # its last name
    times: array[int]  # ns of CLOCK_MONOTONIC
    stacks: array[int]
    periods: array[int]


def samples_by_thread(profile: Profile) -> list[ThreadSamples]:
    """All samples. The first thread of a process stands before the others."""
    found: dict[tuple[int, int, int], tuple[array[int], array[int], array[int]]] = {}
    comms: dict[tuple[int, int, int], int] = {}
    columns = profile.rows("event", "pid", "tid", "comm", "time", "stack", "period")
    for event, pid, tid, comm, time, stack, period in columns:
        key = (event, pid, tid)
        arrays = found.get(key)
        if arrays is None:
            arrays = found[key] = array("Q"), array("I"), array("Q")
        comms[key] = comm
        arrays[0].append(time)
        arrays[1].append(stack)
        arrays[2].append(period)
    order = sorted(found, key=lambda key: (key[0], key[1], key[2] != key[1], key[2]))
    return [ThreadSamples(*key, profile.comm(comms[key]), *found[key]) for key in order]
