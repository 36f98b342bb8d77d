"""`kperf list`: the events that can be counted here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

import kperf
from kperf.events.listing import KINDS, OTHER_KINDS, ListedEvent, with_details
from kperf_cli import options
from kperf_cli.render import TEXT, Column, Result, Table, envelope, make_output

_ALL_KINDS = {**KINDS, **OTHER_KINDS}
_KEYS = ("name", "kind", "pmu", "description", "encoding", "unit")
_WHAT = {
    "metrics": "metric",
    "devices": "device",
    "bdf": "PCIe device",
    "syscalls": "system call",
}  # else events
_FOLDING = ("description", "encoding")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """A pattern is a glob, or a part of a name."""
    lower = name.lower()
    return any(
        fnmatchcase(lower, pattern.lower())
        if any(c in pattern for c in "*?[")
        else pattern.lower() in lower
        for pattern in patterns
    )


def _selected(
    kinds: Sequence[str],
    patterns: Sequence[str],
    machine: kperf.Machine,
    *,
    details: bool,
    notes: list[str],
) -> Iterator[ListedEvent]:
    """The events of these kinds; a kind that cannot be read is noted where others are left."""
    for kind in kinds:
        try:
            for event in _ALL_KINDS[kind](machine):
                if not patterns or _matches(event.name, patterns):
                    yield with_details(event, machine) if details else event
        except kperf.KperfError as failure:
            if len(kinds) == 1:
                raise
            notes.append(f"{kind} events are missing: {failure}")


def _document(event: ListedEvent) -> dict[str, Any]:
    return {key: getattr(event, key) or None for key in _KEYS}


def _table(events: Sequence[ListedEvent], kinds: Sequence[str], *, verbose: bool) -> Table:
    keys = ("name", "kind", "unit", "encoding", "description") if verbose else ("name", "kind")
    if any(event.kind == "bdf" for event in events):
        keys = (*keys, "pmu")
    if not verbose and any(event.description for event in events):
        keys = (*keys, "description")
    rows = [[getattr(event, key) for key in keys] for event in events]
    what = _WHAT.get(kinds[0], "event") if len(kinds) == 1 else "event"
    title = f"{len(events)} {what}{'' if len(events) == 1 else 's'}"
    return Table(title, [Column(key, folds=key in _FOLDING) for key in keys], rows)


def _notes_on(kinds: Sequence[str], machine: kperf.Machine) -> list[str]:
    """What the list lacks because the machine does."""
    lacks = {
        "core": "no core events, as this machine shows no hardware PMU",
        "metrics": "not to be counted here, as this machine shows no hardware PMU",
    }
    return [] if machine.core_pmus else [lacks[kind] for kind in kinds if kind in lacks]


def _result(
    events: Sequence[ListedEvent],
    kinds: Sequence[str],
    notes: Sequence[str],
    machine: kperf.Machine,
    *,
    verbose: bool,
) -> Result:
    def documents() -> list[dict[str, Any]]:
        return [_document(event) for event in events]

    return Result(
        quality=f"quality: {'; '.join(notes) or 'nothing is missing'}",
        table=lambda: _table(events, kinds, verbose=verbose),
        document=lambda: envelope(
            "list", machine, documents(), kperf.Quality(notes), start=time.time()
        ),
        csv_columns=_KEYS,
        csv_rows=documents,
    )


@click.command("list", cls=options.Command)
@click.option("-v", "--verbose", is_flag=True, help="Show units and encodings.")
@options.output_options
@click.argument("words", nargs=-1, metavar="[KIND|GLOB]...")
@click.pass_context
def command(ctx: click.Context, /, words: Sequence[str], verbose: bool, **given: Any) -> int:
    """Show the events that can be counted here.

    A kind (core, uncore, trace, software) limits the list to it; any other word
    is a part of a name, or a pattern such as 'sched:*'. Four kinds are no events,
    and listed where they are named: metrics (for stat -M), devices (that count),
    bdf (PCIe devices that are counted), syscalls (for trace).

    \b
    kperf list core              the events of the CPU cores
    kperf list trace 'sched:*'   the tracepoints of the scheduler
    kperf list -v ddrc           with units and encodings
    """
    machine = kperf.Machine(ctx.obj["sysroot"] or "/")
    kinds = [word for word in words if word in _ALL_KINDS] or list(KINDS)
    patterns = [word for word in words if word not in _ALL_KINDS]
    notes = _notes_on(kinds, machine)
    with make_output(given, no_color=ctx.obj["no_color"]) as output:
        details = verbose or output.form != TEXT
        events = list(_selected(kinds, patterns, machine, details=details, notes=notes))
        if kinds == ["bdf"] and not events and not patterns:
            notes.append("no PCIe device here is covered by a PMU")
        output.write(_result(events, kinds, notes, machine, verbose=verbose))
    if patterns and not events:
        click.echo("kperf: no event here has such a name: see 'kperf list'", err=True)
        return 1
    return 0
