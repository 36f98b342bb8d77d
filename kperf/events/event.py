"""An event as the kernel is asked for it."""

from __future__ import annotations

from typing import NamedTuple

CORE = "core"
DEVICE = "device"
SOFTWARE = "software"
TRACEPOINT = "tracepoint"
BREAKPOINT = "breakpoint"


class Event(NamedTuple):
    """One event as it is opened."""

    name: str
    kind: str
    type: int
    config: int = 0
    config1: int = 0
    config2: int = 0
    config3: int = 0
    bp_type: int = 0
    pmu: str = ""
    cpus: tuple[int, ...] | None = None  # where it can be opened; None: on any CPU
    unit: str = ""
    scale: float = 1.0
    kernel_only: bool = False
    exclude_user: bool = False
    exclude_kernel: bool = False
    exclude_hv: bool = False
    exclude_host: bool = False
    exclude_guest: bool = False
    host_by_default: bool = False
    pinned: bool = False
    precise: int = 0
    period: int = 0  # sampling: events between two samples, or samples a second
    by_frequency: bool = False  # period is a frequency in Hz
    tracks: bool = False  # sampling: tells of processes and their mappings, nothing else
    filter: str = ""  # of a tracepoint, in the kernel's words
    most_precise: bool = False  # as precise as the PMU can be: a matter of samples, not of counts

    @property
    def is_scaled(self) -> bool:
        """Whether a count is multiplied by the machine's `.scale`, and so becomes a float."""
        return self.scale != 1.0


class EventGroup(NamedTuple):
    """Events that the kernel schedules together; `number` is -1 for a lone event."""

    events: tuple[Event, ...]
    number: int
