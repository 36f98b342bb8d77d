"""`kperf list`: the events that can be counted here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

import kperf
from kperf.events.listing import KINDS, ListedEvent, with_details
from kperf_cli import options
from kperf_cli.render import Column, Output, Result, Table, envelope

_KEYS = ("name", "kind", "pmu", "description", "encoding", "unit")


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
    words: Sequence[str], machine: kperf.Machine, *, details: bool, notes: list[str]
) -> Iterator[ListedEvent]:
    kinds = [word for word in words if word in KINDS] or list(KINDS)
    patterns = [word for word in words if word not in KINDS]
    for kind in kinds:
        try:
            for event in KINDS[kind](machine):
                if not patterns or _matches(event.name, patterns):
                    yield with_details(event, machine) if details else event
        except kperf.KperfError as failure:
            if len(kinds) == 1:
                raise
            notes.append(f"{kind} events are missing: {failure}")


def _document(event: ListedEvent) -> dict[str, Any]:
    return {key: getattr(event, key) or None for key in _KEYS}


def _table(events: Sequence[ListedEvent], notes: Sequence[str], *, verbose: bool) -> Table:
    keys = ("name", "kind", "unit", "encoding", "description") if verbose else ("name", "kind")
    if not verbose and any(event.description for event in events):
        keys = (*keys, "description")
    rows = [[getattr(event, key) for key in keys] for event in events]
    title = f"{len(events)} event{'' if len(events) == 1 else 's'}"
    return Table(title, [Column(key) for key in keys], rows, [f"note: {note}" for note in notes])


@click.command("list")
@click.option("-v", "--verbose", is_flag=True, help="Show units and encodings.")
@options.output_options
@click.argument("words", nargs=-1, metavar="[core|uncore|trace|software|GLOB]...")
@click.pass_context
def command(ctx: click.Context, /, words: Sequence[str], verbose: bool, **given: Any) -> int:
    """Show the events that can be counted here.

    A kind (core, uncore, trace, software) limits the list to it; any other word
    is a part of a name, or a pattern such as 'sched:*'.

    \b
    kperf list core
    kperf list trace 'sched:*'
    kperf list -v ddrc
    """
    machine = kperf.Machine(ctx.obj["sysroot"] or "/")
    output = Output(
        as_json=given["as_json"],
        as_csv=given["as_csv"],
        path=given["output"],
        form=given["form"],
        fd=given["output_fd"],
        no_color=ctx.obj["no_color"],
    )
    notes: list[str] = []
    details = verbose or output.form != "text"
    events = list(_selected(words, machine, details=details, notes=notes))
    start = time.time()
    result = Result(
        table=lambda: _table(events, notes, verbose=verbose),
        document=lambda: envelope(
            "list", machine, [_document(event) for event in events], kperf.Quality(notes), start
        ),
        csv_columns=_KEYS,
        csv_rows=lambda: [_document(event) for event in events],
    )
    with output:
        output.write(result)
    if not events and words:
        click.echo("kperf: no event here has such a name: see 'kperf list'", err=True)
        return 1
    return 0
