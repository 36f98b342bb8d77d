"""What a shell offers when the tab key is pressed: names of this machine, in lists by commas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

Completer = Callable[[click.Context, click.Parameter, str], list[str]]

# A shell splits words at a colon, so tracepoints are left out.
EVENTS = ("core", "software", "uncore")


def _names(kinds: Sequence[str]) -> Iterator[str]:
    import kperf
    from kperf.events.listing import KINDS, OTHER_KINDS

    machine = kperf.Machine()
    for kind in kinds:
        try:
            for event in {**KINDS, **OTHER_KINDS}[kind](machine):
                yield event.name
        except kperf.KperfError:
            continue  # what cannot be listed is not offered: a message would end up in the line


def _device_metrics(_kinds: Sequence[str]) -> Iterator[str]:
    from kperf.device import metric

    return (known.name for known in metric.METRICS.values())


def _completer(names: Callable[[Sequence[str]], Iterator[str]], kinds: Sequence[str]) -> Completer:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",")
        given = before.split(",")
        return [
            f"{before}{comma}{name}"
            for name in dict.fromkeys(names(kinds))
            if name.startswith(begun) and name not in given
        ]

    return complete


events = _completer(_names, EVENTS)
metrics = _completer(_names, ("metrics",))
syscalls = _completer(_names, ("syscalls",))
device_metrics = _completer(_device_metrics, ())
