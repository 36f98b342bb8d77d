"""The one place that fills the core's structures and turns its errors into exceptions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf.errors import Error, KperfError, error
from kperf.events.resolve import Event, EventGroup

_FLAGS: tuple[tuple[str, int], ...] = (
    ("exclude_user", lib.KP_EVENT_EXCLUDE_USER),
    ("exclude_kernel", lib.KP_EVENT_EXCLUDE_KERNEL),
    ("exclude_hv", lib.KP_EVENT_EXCLUDE_HV),
    ("exclude_host", lib.KP_EVENT_EXCLUDE_HOST),
    ("exclude_guest", lib.KP_EVENT_EXCLUDE_GUEST),
    ("host_by_default", lib.KP_EVENT_HOST_BY_DEFAULT),
    ("pinned", lib.KP_EVENT_PINNED),
    ("kernel_only", lib.KP_EVENT_KERNEL_ONLY),
)
_COPIED = ("type", "config", "config1", "config2", "config3", "bp_type", "precise")


def _fill(target: Any, event: Event, cpus: Sequence[int], leader: int) -> Any:
    """Fills one kp_event; returns what must live as long as it."""
    for field in _COPIED:
        setattr(target, field, getattr(event, field))
    target.flags = sum(bit for field, bit in _FLAGS if getattr(event, field))
    target.leader = leader
    target.n_cpus = len(cpus)
    array = ffi.new("int32_t[]", list(cpus))
    target.cpus = array
    return array


def events_array(
    groups: Sequence[EventGroup], cpus_of: Callable[[Event], Sequence[int]]
) -> tuple[Any, Any]:
    """The kp_event array of all groups, and what must live as long as it."""
    total = sum(len(group.events) for group in groups)
    array = ffi.new("struct kp_event[]", total)
    kept = []
    index = 0
    for group in groups:
        leader = index
        cpus = cpus_of(group.events[0])
        for event in group.events:
            kept.append(_fill(array[index], event, cpus, leader))
            index += 1
    return array, kept


def probe(event: Event) -> int:
    """0 if the kernel opens this event here, else the errno with which it refuses."""
    array = ffi.new("struct kp_event *")
    kept = _fill(array, event, (event.cpus or ())[:1], 0)
    failed = lib.kp_event_probe(array) != 0
    del kept
    return int(lib.kp_last_error().sys_errno) if failed else 0


class Failure(NamedTuple):
    """The core's last error in Python's terms."""

    code: Error
    errno: int
    event: int
    cpu: int
    tid: int
    needed: int
    limit: int
    message: str


def last_failure() -> Failure:
    raw = lib.kp_last_error()
    return Failure(
        Error(-raw.code),
        raw.sys_errno,
        raw.event,
        raw.cpu,
        raw.tid,
        raw.needed,
        raw.limit,
        ffi.string(raw.message).decode(),
    )


def plain_error(failure: Failure, *, hint: str = "") -> KperfError:
    """The exception for a failure that needs no more words than the core has for it."""
    cause = f": {os.strerror(failure.errno)}" if failure.errno else ""
    return error(failure.code, f"{failure.message}{cause}", hint=hint, errno=failure.errno)
