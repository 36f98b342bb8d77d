"""Who may count what: the paranoid level, capabilities, containers."""

from __future__ import annotations

from collections.abc import Iterator

from kperf._native import probe
from kperf.doctor.finding import LIMITED, MISSING, OK, Finding
from kperf.doctor.process import (
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    has_capability,
    in_own_namespace,
    status,
)
from kperf.events.event import SOFTWARE, Event
from kperf.events.generic import SOFTWARE as SOFTWARE_EVENTS
from kperf.events.generic import TYPE_SOFTWARE
from kperf.machine import Machine

# What an ordinary user may count at each level (Documentation/admin-guide/perf-security.rst; 3 and
# 4 are patches of Debian and Ubuntu).
_LEVELS = {
    -1: "everything",
    0: "whole CPUs and the whole machine",
    1: "own processes, in the kernel too",
    2: "own processes, in user space",
}

_FILTERED = "2"  # Seccomp: in /proc/self/status


def _opens_nothing() -> bool:
    """Whether not even an event that counts nothing opens."""
    event = Event("dummy", SOFTWARE, TYPE_SOFTWARE, SOFTWARE_EVENTS["dummy"].config)
    return probe(event._replace(exclude_kernel=True)) != 0


def _no_level() -> Finding:
    return Finding(
        "permission",
        MISSING,
        "this kernel has no perf events",
        "boot a kernel with CONFIG_PERF_EVENTS",
    )


def check_permission(machine: Machine) -> Iterator[Finding]:
    level = machine.paranoid
    if level is None:
        yield _no_level()
        return
    if has_capability(machine, CAP_PERFMON, CAP_SYS_ADMIN):
        yield Finding("permission", OK, "this user may count everything, whatever the level")
    elif level > max(_LEVELS):
        yield Finding(
            "permission",
            MISSING,
            f"kernel.perf_event_paranoid is {level}: this user may count nothing",
            "sysctl kernel.perf_event_paranoid=2 (own processes), or give kperf CAP_PERFMON",
        )
        return
    else:
        yield Finding(
            "permission",
            OK if level < 0 else LIMITED,
            f"kernel.perf_event_paranoid is {level}: this user may count {_LEVELS[max(level, -1)]}",
            "" if level < 0 else "run as root, with CAP_PERFMON, or at a lower level",
        )
    if _opens_nothing():
        filtered = status(machine, "Seccomp") == _FILTERED
        yield Finding(
            "permission",
            MISSING,
            "the kernel refuses perf_event_open"
            + (", as a system-call filter (seccomp) is in force" if filtered else ""),
            "start the container with a profile that allows perf_event_open, such as "
            "--security-opt seccomp=unconfined"
            if filtered
            else "look for a security module that forbids it (dmesg)",
        )


def check_container(machine: Machine) -> Iterator[Finding]:
    if in_own_namespace(machine, "pid"):
        yield Finding(
            "container",
            LIMITED,
            "in a pid namespace of its own: processes outside have no number here",
            "run in the host's namespace (--pid=host) to choose its processes",
        )
    if in_own_namespace(machine, "user"):
        yield Finding(
            "container",
            LIMITED,
            "in a user namespace of its own: root here is an ordinary user to the kernel",
            "run outside, or give the container CAP_PERFMON in the first namespace",
        )
    if not in_own_namespace(machine, "pid") and not in_own_namespace(machine, "user"):
        yield Finding("container", OK, "not in a container: every process can be seen")
