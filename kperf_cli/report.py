"""`kperf report`: the tables of `kperf record` again, from a recording that was saved."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import click

import kperf
from kperf.perfdata import read_recorded
from kperf_cli import options
from kperf_cli.profiles import make_job, profile_options, shown_as, table_options
from kperf_cli.recording import Recorded


class _Saved(NamedTuple):
    """A file of samples."""

    path: str

    def describe(self) -> str:
        return self.path

    def as_dict(self) -> dict[str, object]:
        return {"file": os.fsencode(self.path).decode("utf-8", "replace")}


def _collect(path: str, *, lines: bool) -> Recorded:
    mode = kperf.SymbolMode.RESOLVE_ELF_DWARF if lines else kperf.SymbolMode.RESOLVE_ELF
    data = read_recorded(path, symbol_mode=mode).data
    return Recorded(data, data.span_ns, os.stat(path).st_mtime, None)


def _exit_status(recorded: Recorded, strict: bool) -> int:
    quality = recorded.data.quality
    return 3 if strict and (quality.lost or quality.throttled) else 0


@click.command("report", cls=options.Command)
@click.option("-g", "--call-stack", is_flag=True, help="Show callers, where they were recorded.")
@table_options
@profile_options
@options.strict_option
@click.argument("path", metavar="FILE")
@click.pass_context
def command(ctx: click.Context, /, path: str, **given: Any) -> int:
    """Show the tables of a recording again, from a perf.data file.

    The file may be of 'kperf record -o' or of 'perf record'.

    \b
    kperf report prof.data
    kperf report prof.data --sort comm,symbol --lines
    kperf report prof.data -o prof.folded
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and a recording names its own machine")
    shown = shown_as(given, _Saved(path), "report")
    job = make_job(given, shown, (), no_color=ctx.obj["no_color"])
    recorded = job.run(lambda: _collect(path, lines=given["lines"]))
    return _exit_status(recorded, given["strict"])
