"""`kperf doctor`: what this machine lets kperf do, and how to get the rest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

import kperf
from kperf.doctor import LIMITED, MISSING, TOPICS, Finding, examine
from kperf_cli import options
from kperf_cli.render import Column, Result, Table, envelope, make_output

_KEYS = ("topic", "state", "what", "fix")
_COLUMNS = (
    Column("topic"),
    Column("state"),
    Column("what was found", folds=True),
    Column("what to do about it", folds=True),
)


def _summary(findings: Sequence[Finding]) -> str:
    counts = [
        (sum(finding.state == state for finding in findings), state) for state in (LIMITED, MISSING)
    ]
    words = [f"{count} {state}" for count, state in counts if count]
    return ", ".join(words) or "everything works here"


def _documents(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{**finding._asdict(), "fix": finding.fix or None} for finding in findings]


def _result(findings: Sequence[Finding], machine: kperf.Machine, start: float) -> Result:
    return Result(
        quality=f"quality: {_summary(findings)}",
        table=lambda: Table(
            f"{machine.cpu_model or machine.arch}, Linux {machine.kernel}", _COLUMNS, findings
        ),
        document=lambda: envelope("doctor", machine, _documents(findings), kperf.Quality(), start),
        csv_columns=_KEYS,
        csv_rows=lambda: _documents(findings),
    )


def _check_topics(topics: Sequence[str]) -> None:
    for topic in topics:
        if topic not in TOPICS:
            raise click.UsageError(f"there is no topic '{topic}': choose from {', '.join(TOPICS)}")


@click.command("doctor", cls=options.Command)
@options.output_options
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.pass_context
def command(ctx: click.Context, /, topics: Sequence[str], **given: Any) -> int:
    """Show what this machine lets kperf do, and how to get the rest.

    With topics (permission, container, pmu, devices, branches, spe, descriptors,
    memory, rate, tracepoints, bpf, kernel-symbols, source-lines) only these; then
    the exit status is 1 where one of them cannot work.

    \b
    kperf doctor            the whole page
    kperf doctor spe && kperf spe -a -d 10
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine is examined")
    _check_topics(topics)
    start = time.time()
    machine = kperf.Machine()
    findings = examine(machine, topics)
    with make_output(given, no_color=ctx.obj["no_color"]) as output:
        output.write(_result(findings, machine, start))
    return int(bool(topics) and any(finding.state == MISSING for finding in findings))
