"""`kperf record`: samples a command, processes, CPUs or the system, and shows the hot symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kperf.branches import branch_filter
from kperf_cli import options, progress
from kperf_cli.profiles import make_job, or_usage, profile_options, shown_as, table_options
from kperf_cli.recording import Recorded, Settings, record
from kperf_cli.target import Signals, make_target

_MS, _S = 1_000_000, 1_000_000_000

# ---- what was asked for ----


def _settings(ctx: click.Context, given: dict[str, Any], argv: Sequence[str]) -> Settings:
    if given["period"] and given["frequency"]:
        raise click.UsageError("-F and -c both say how often: leave one out")
    return Settings(
        target=make_target(
            argv, given["pids"], given["tids"], given["cpus"], given["all_cpus"], given["cgroup"]
        ),
        events=given["events"],
        filters=options.filters_of(ctx, given["events"], given["filters"]),
        period=given["period"] or 0,
        frequency=given["frequency"] or 0,
        inherit=not given["no_inherit"],
        call_stack=given["call_stack"] or given["callees"],
        branches=or_usage(branch_filter, given["branch"]) if given["branch"] is not None else 0,
        lines=given["lines"],
        buffer_bytes=given["buffer"] or 0,
        duration=None if given["duration"] is None else round(given["duration"] * _S),
        delay=given["delay"] * _MS,
        with_progress=progress.may_show(quiet=given["quiet"], runs_command=bool(argv)),
    )


# ---- the command ----


def _exit_status(recorded: Recorded, caught: int | None, strict: bool) -> int:
    quality = recorded.data.quality
    if strict and (quality.lost or quality.throttled):
        return 3
    if recorded.ended is None:
        return 0
    if recorded.ended.by_itself:
        return recorded.ended.status
    return 128 + caught if caught is not None else 0


@click.command(
    "record",
    cls=options.Command,
    forms=options.TARGET_FORMS,
    context_settings={"allow_interspersed_args": False},
)
@options.event_option
@options.filter_option
@click.option("-F", "--frequency", type=options.Whole(1), metavar="HZ", help="Samples a second.")
@click.option("-c", "--period", type=options.Whole(1), metavar="N", help="A sample every N events.")
@click.option(
    "-g",
    "--call-stack",
    is_flag=True,
    help="With call stacks, as frame pointers tell them: shows callers.",
)
@click.option(
    "--branch",
    metavar="LIST",
    help="With the branches before (LBR, BRBE): any,user or any-call and others.",
)
@click.option(
    "-m",
    "--buffer",
    type=options.Bytes(),
    metavar="SIZE",
    help="Buffer of each CPU, such as 4M (512K without it).",
)
@options.target_options
@table_options
@profile_options
@options.strict_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[[--] COMMAND [ARG]...]")
@click.pass_context
def command(ctx: click.Context, /, argv: Sequence[str], **given: Any) -> int:
    """Sample a command, processes, CPUs or the system, and show the hot symbols.

    \b
    kperf record -- make -j8              where a command spends its time
    kperf record -p 4711 -d 10 --lines    down to source lines
    kperf record -a -d 5 --sort comm,symbol
    kperf record -g -o prof.data -- make  call stacks, for perf report
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine is sampled")
    settings = _settings(ctx, given, argv)
    shown = shown_as(given, settings.target, "record")
    job = make_job(given, shown, argv, no_color=ctx.obj["no_color"])
    caught: list[int | None] = []

    def collect() -> Recorded:
        with Signals() as signals:
            recorded = record(settings, signals)
            caught.append(signals.caught)
        return recorded

    recorded = job.run(collect)
    return _exit_status(recorded, caught[0], given["strict"])
