"""What was given up to get a collection open, in words: for `Quality.notes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kperf._native import AttachReport, EventStatus
from kperf._native_offspring import OffspringReport
from kperf.events.event import CORE, Event
from kperf.machine import Machine

if TYPE_CHECKING:  # who counts takes no samples
    from kperf._native_sampling import Choosing


def of_events(
    events: Sequence[Event], statuses: Sequence[EventStatus], machine: Machine
) -> list[str]:
    """What became of events that were opened, but not quite as they were asked for."""
    pairs = list(zip(events, statuses))
    found = (
        ("user space only, as {level}", [e for e, s in pairs if s.user_only and s.supported]),
        (
            "hidden, as they happen in the kernel and {level}",
            [e for e, status in pairs if status.is_hidden],
        ),
        (
            "read one by one, as this kernel cannot read inherited groups",
            [e for e, status in pairs if status.lone_reads],
        ),
        (
            "nothing to count, as they happen in the kernel only",
            [e for e in events if e.kernel_only and e.exclude_kernel],
        ),
    )
    notes = [
        f"{why.format(level=_level(machine))}: {', '.join(event.name for event in named)}"
        for why, named in found
        if named
    ]
    if not machine.core_pmus and any(e.kind == CORE and not s.supported for e, s in pairs):
        notes.append("this machine shows no hardware PMU, as many virtual machines")
    return notes


def _level(machine: Machine) -> str:
    return f"kernel.perf_event_paranoid is {machine.paranoid}"


def of_newborns(report: OffspringReport) -> list[str]:
    """New threads and children that have no rows."""
    counted = (
        (report.gone, "ended before they could be counted by themselves"),
        (report.beyond, "are beyond the limit of file descriptors (ulimit -n)"),
        (report.refused, "could not be counted by themselves"),
        (report.lost, "(or their ends) went unseen, as the buffer was full"),
    )
    return [
        f"{number} new threads {words}: they are in the row of the thread they come from"
        for number, words in counted
        if number
    ]


def of_choosing(choosing: Choosing | None) -> list[str]:
    """Samples that are picked from those of everybody."""
    if choosing is None:
        return []
    return [
        "every process is sampled and only the samples of those that were asked for are kept, as "
        f"an event for each of their threads on each CPU needs {choosing.needed:,} file "
        f"descriptors, and the limit is {choosing.limit:,} (ulimit -n)"
    ]


def of_attaching(report: AttachReport) -> list[str]:
    """Threads whose counts may be missing or doubled."""
    counted = (
        (report.uncertain, "threads were born while their maker was attached"),
        (report.missed, "threads were not attached: they are made faster than that"),
        (report.lost, "births of threads went unseen while attaching"),
    )
    return [f"{number} {words}; counts may be off by theirs" for number, words in counted if number]
