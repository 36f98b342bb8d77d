"""The one place that fills the core's structures, owns its sessions and fetches its errors."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kperf._core import ffi, lib
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event, EventGroup

# ---- errors ----


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
    """Why the calling thread's last call into the core failed."""
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


# ---- events ----

_FLAGS: tuple[tuple[str, int], ...] = (
    ("exclude_user", lib.KP_EVENT_EXCLUDE_USER),
    ("exclude_kernel", lib.KP_EVENT_EXCLUDE_KERNEL),
    ("exclude_hv", lib.KP_EVENT_EXCLUDE_HV),
    ("exclude_host", lib.KP_EVENT_EXCLUDE_HOST),
    ("exclude_guest", lib.KP_EVENT_EXCLUDE_GUEST),
    ("host_by_default", lib.KP_EVENT_HOST_BY_DEFAULT),
    ("pinned", lib.KP_EVENT_PINNED),
    ("kernel_only", lib.KP_EVENT_KERNEL_ONLY),
    ("by_frequency", lib.KP_EVENT_FREQUENCY),
    ("tracks", lib.KP_EVENT_TRACKING),
)
_COPIED = ("type", "config", "config1", "config2", "config3", "period", "bp_type", "precise")


def _fill(target: Any, event: Event, cpus: Sequence[int], leader: int) -> Any:
    """Fills one kp_event; returns what must live as long as it."""
    for field in _COPIED:
        setattr(target, field, getattr(event, field))
    target.flags = sum(bit for field, bit in _FLAGS if getattr(event, field))
    target.leader = leader
    target.n_cpus = len(cpus)
    array = ffi.new("int32_t[]", list(cpus))
    target.cpus = array
    target.filter = text = ffi.new("char[]", event.filter.encode()) if event.filter else ffi.NULL
    return array, text


def _events_array(
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
    with _descriptors:
        failed = lib.kp_event_probe(array) != 0
    del kept
    return int(lib.kp_last_error().sys_errno) if failed else 0


# ---- forks of the host program ----

# Held while descriptors come and go, so that a fork, which waits for it, finds all of them listed:
# the child closes its copies of those that stand here, and could not know of others.
_descriptors = threading.RLock()
_open_sessions: dict[Any, type[NativeSession]] = {}


def _before_fork() -> None:
    _descriptors.acquire()
    for session, kind in _open_sessions.items():
        kind.hold(session)


def _after_fork_in_parent() -> None:
    for session, kind in _open_sessions.items():
        kind.go_on(session)
    _descriptors.release()


def _after_fork_in_child() -> None:
    global _descriptors
    _descriptors = threading.RLock()
    for session, kind in _open_sessions.items():
        kind.abandon(session)
    _open_sessions.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


# ---- sessions ----


class EventStatus(NamedTuple):
    """How one event was opened."""

    supported: bool
    errno: int  # why not, where it is not supported
    user_only: bool
    lone_reads: bool

    @property
    def is_hidden(self) -> bool:
        """Whether it happens in the kernel only, which this user may not watch."""
        return self.errno == errno.EACCES


class AttachReport(NamedTuple):
    """Threads about which attaching could not be sure."""

    uncertain: int
    missed: int
    lost: int


class NativeSession:
    """Owns one of the core's sessions: one thread at a time, closed once, the opener's alone.

    `explain` makes the exception for what the core could not do. A subclass names the core's
    functions for another kind of session.
    """

    _enable = staticmethod(lib.kp_session_enable)
    _disable = staticmethod(lib.kp_session_disable)
    _destroy = staticmethod(lib.kp_session_destroy)
    abandon = staticmethod(lib.kp_session_abandon)

    @staticmethod
    def hold(raw: Any) -> None:
        """Before a fork: has no descriptor opened until `go_on`. For those with threads that do."""

    @staticmethod
    def go_on(raw: Any) -> None:
        """Behind a fork, in the parent."""

    @staticmethod
    def _session_of(raw: Any) -> Any:
        """The set of events beneath."""
        return raw

    def __init__(self, explain: Callable[[Failure], KperfError]) -> None:
        self._explain = explain
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._raw: Any = None
        self._n_events = 0

    def open(
        self,
        groups: Sequence[EventGroup],
        cpus_of: Callable[[Event], Sequence[int]],
        pids: Sequence[int],
        tids: Sequence[int],
        cgroup_fd: int,
        flags: int,
    ) -> None:
        """Opens every counter, disabled."""
        events, kept = _events_array(groups, cpus_of)
        pid_array, tid_array = ffi.new("int32_t[]", list(pids)), ffi.new("int32_t[]", list(tids))
        target = ffi.new("struct kp_target *")
        target.pids, target.n_pids = pid_array, len(pids)
        target.tids, target.n_tids = tid_array, len(tids)
        target.cgroup_fd = cgroup_fd
        out = self._out()
        self._n_events = len(events)
        with _descriptors:
            try:
                failed = self._create(events, target, flags, out) != 0
            finally:  # a KeyboardInterrupt comes as soon as the core returns, and loses nothing
                if out[0] != ffi.NULL:
                    self._raw = out[0]
                    _open_sessions[out[0]] = type(self)
        del kept
        if failed:
            raise self._explain(last_failure())

    def _out(self) -> Any:
        return ffi.new("struct kp_session **")

    def _create(self, events: Any, target: Any, flags: int, out: Any) -> int:
        return int(lib.kp_session_create(events, len(events), target, flags, out))

    def check_usable(self) -> None:
        """Raises where it was closed, and in a forked child, which has no part in it."""
        if self._owner != os.getpid():  # before any lock: a thread that is gone may hold it
            raise error(
                Error.FORKED,
                "this collection belongs to the process that opened it, not to its forked child",
                hint="use it in the parent, or open another one here",
            )
        if self._raw is None:
            raise error(
                Error.INVALID_DESCRIPTOR, "this collection was closed", hint="open it again"
            )

    def _call(self, function: Callable[..., int], *arguments: Any) -> None:
        """Calls a function of the core on the session."""
        self.check_usable()
        with self._lock:
            self.check_usable()  # another thread may have closed it meanwhile
            if function(self._raw, *arguments) != 0:
                raise self._explain(last_failure())

    def _call_session(self, function: Callable[..., int], *arguments: Any) -> None:
        """Calls a function of the core on the set of events beneath."""
        self._call(lambda raw, *rest: function(self._session_of(raw), *rest), *arguments)

    def _switch(self, function: Callable[..., int]) -> None:
        """Calls one of those that open a counter of their own for a moment."""
        self.check_usable()
        with self._lock, _descriptors:
            self._call(function)

    def enable(self) -> None:
        self._switch(self._enable)

    def disable(self) -> None:
        self._switch(self._disable)

    def read(self) -> Any:
        """What was counted since the last read: a kp_counts, which the caller destroys."""
        out = ffi.new("struct kp_counts **")
        self._call(lib.kp_session_read, out)
        return out[0]

    def statuses(self) -> list[EventStatus]:
        """How each event was opened."""
        raw = ffi.new("struct kp_event_status *")
        statuses = []
        for index in range(self._n_events):
            self._call_session(lib.kp_session_event_status, index, raw)
            statuses.append(
                EventStatus(
                    supported=bool(raw.supported),
                    errno=raw.sys_errno,
                    user_only=bool(raw.user_only),
                    lone_reads=bool(raw.lone_reads),
                )
            )
        return statuses

    def attach_report(self) -> AttachReport:
        raw = ffi.new("struct kp_attach_report *")
        self._call_session(lib.kp_session_attach_report, raw)
        return AttachReport(raw.uncertain, raw.missed, raw.lost)

    def close(self) -> None:
        """Closes the counters; again, or in a forked child, it does nothing."""
        if self._owner != os.getpid():
            return
        with self._lock:
            raw, self._raw = self._raw, None
            if raw is not None:
                with _descriptors:
                    _open_sessions.pop(raw, None)
                    self._destroy(raw)

    def __del__(self) -> None:
        # The interpreter may end, and empty this module, before what holds a session: then the
        # kernel closes what is open.
        if _descriptors is not None:
            self.close()
