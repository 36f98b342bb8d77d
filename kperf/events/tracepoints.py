"""Tracepoints as events: `system:name`, and patterns of both."""

from __future__ import annotations

from kperf.events import generic
from kperf.events.event import TRACEPOINT, Event
from kperf.events.globs import is_glob, matching
from kperf.machine import Machine

# The groups that perf and the kernel put probes of user space into: uprobes, perf probe -x, SDT.
_USER_PROBES = ("uprobes", "probe_", "sdt_")


def _names(system: str, name: str, machine: Machine) -> list[tuple[str, str]]:
    if not is_glob(system + name):
        return [(system, name)]
    # ftrace: has the function tracer's own records, which perf does not open.
    systems = [s for s in matching(system, machine.trace_systems()) if s != "ftrace"]
    return [(s, n) for s in systems for n in matching(name, machine.trace_names(s))]


def tracepoint_events(system: str, name: str, machine: Machine) -> list[Event]:
    """The tracepoints of that name or pattern; none if there are none such."""
    events = []
    for found_system, found in _names(system, name, machine):
        number = machine.trace_id(found_system, found)
        if number is not None:
            event = Event(f"{found_system}:{found}", TRACEPOINT, generic.TYPE_TRACEPOINT, number)
            is_kernel = not found_system.startswith(_USER_PROBES)
            events.append(event._replace(kernel_only=is_kernel))
    return events
