"""The event that counts nothing and tells of threads, programs and mappings."""

from __future__ import annotations

from kperf.events.event import SOFTWARE, Event, EventGroup
from kperf.events.generic import SOFTWARE as SOFTWARE_EVENTS
from kperf.events.generic import TYPE_SOFTWARE

TRACKING = EventGroup(
    (
        Event(
            "dummy",
            SOFTWARE,
            TYPE_SOFTWARE,
            SOFTWARE_EVENTS["dummy"].config,
            tracks=True,
        ),
    ),
    -1,
)
