"""`kperf record`: samples a command, processes, CPUs or the system, and shows the hot symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import click

import kperf
from kperf import export
from kperf.branches import branch_filter
from kperf.report.hot import CALLEES, CALLERS, SORT_KEYS
from kperf_cli import options, progress
from kperf_cli.record_view import Shown, view
from kperf_cli.recording import Recorded, Settings, record
from kperf_cli.render import FORMS, Output, make_output
from kperf_cli.target import Signals, make_target
from kperf_cli.words import one_line

_MS, _S = 1_000_000, 1_000_000_000

# ---- what was asked for ----


def _or_usage(check: Callable[[str], Any], text: str) -> Any:
    """What the library makes of an option's value; what it knows nothing of is wrong usage."""
    try:
        return check(text)
    except kperf.InvalidArgumentError as unknown:
        raise click.UsageError(str(unknown)) from unknown


def _keys(text: str, with_lines: bool) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    unknown = [key for key in keys if key not in SORT_KEYS]
    if unknown:
        known = ", ".join(SORT_KEYS)
        raise click.UsageError(f"there is no sort key '{unknown[0]}': choose from {known}")
    return (*keys, *(key for key in ("file", "line") if with_lines and key not in keys))


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
        branches=_or_usage(branch_filter, given["branch"]) if given["branch"] is not None else 0,
        lines=given["lines"],
        buffer_bytes=given["buffer"] or 0,
        duration=None if given["duration"] is None else round(given["duration"] * _S),
        delay=given["delay"] * _MS,
        with_progress=progress.may_show(quiet=given["quiet"], runs_command=bool(argv)),
    )


def _shown(given: dict[str, Any], settings: Settings) -> Shown:
    tree = CALLEES if given["callees"] else CALLERS if given["call_stack"] else ""
    keys = _keys(given["sort"], given["lines"])
    return Shown(settings.target, keys, given["top"], tree)


# ---- where it goes ----


class _Profile(NamedTuple):
    """A file of samples that is asked for."""

    path: str
    form: str


def _names_profile(path: str) -> bool:
    """Whether a file's suffix is a profile's: some of them end in .json."""
    return any(path.endswith(suffixes) for suffixes in export.FORMATS.values())


def _is_table(given: dict[str, Any]) -> bool:
    """Whether -o FILE, where it is given, is for the table and not for a profile."""
    if given["as_json"] or given["as_csv"] or given["form"] in FORMS:
        return True
    name = given["output"] or ""
    return not given["form"] and name.endswith((".json", ".csv")) and not _names_profile(name)


def _profiles(given: dict[str, Any]) -> list[_Profile]:
    """The profile of -o, if it is one, and that of --save."""
    found = []
    if given["form"] in export.FORMATS:
        if given["output"] is None or _is_table(given):
            raise click.UsageError(f"--format {given['form']} is for the profile of -o FILE alone")
        found.append(_Profile(given["output"], given["form"]))
    elif given["output"] is not None and not _is_table(given):
        found.append(_Profile(given["output"], _or_usage(export.format_of, given["output"])))
    if given["save"] is not None:
        found.append(_Profile(given["save"], _or_usage(export.format_of, given["save"])))
    return found


def _table_output(given: dict[str, Any], *, no_color: bool, after_command: bool) -> Output:
    """Where the table goes: not into a profile's file."""
    for_table = given if _is_table(given) else {**given, "output": None, "form": None}
    return make_output(for_table, no_color=no_color, after_command=after_command)


class _Job(NamedTuple):
    """One call: what is recorded, how it is shown, where it goes."""

    settings: Settings
    shown: Shown
    profiles: list[_Profile]
    output: Output
    with_table: bool
    quiet: bool

    def run(self) -> tuple[Recorded, int | None]:
        """Records and writes; gives the signal as well that ended it.

        A profile that cannot be written is an error after the table, which is shown in any case.
        """
        recorded = failure = caught = None
        with self.output:
            try:
                with ExitStack() as files:
                    places = [files.enter_context(export.opened(*file)) for file in self.profiles]
                    with Signals() as signals:
                        recorded = record(self.settings, signals)
                        caught = signals.caught
                    self._write_profiles(places, recorded)
            except kperf.KperfError as refused:
                if recorded is None:
                    raise
                failure = refused
            if self.with_table or failure is not None:
                self.output.write(view(recorded, self.shown))
        if failure is not None:
            raise failure
        if not self.with_table and not self.quiet:
            self._tell(recorded)
        return recorded, caught

    def _write_profiles(self, places: Sequence[Callable[..., None]], recorded: Recorded) -> None:
        for write in places:
            write(recorded.data, lines=self.settings.lines, command=self.settings.target.argv)

    def _tell(self, recorded: Recorded) -> None:
        """What was written, and the quality that no table shows."""
        files = ", ".join(f"{file.path} ({file.form})" for file in self.profiles)
        quality = view(recorded, self.shown).quality
        click.echo(one_line(f"kperf: wrote {files}; {quality}"), err=True)


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


@click.command("record", cls=options.Command, context_settings={"allow_interspersed_args": False})
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
@click.option(
    "--sort",
    default="symbol,module",
    metavar="KEYS",
    help="Add samples up by: symbol, module, file, line, comm, pid, tid, cpu.",
)
@click.option("--top", type=options.Whole(1), default=30, metavar="N", help="Rows an event.")
@click.option("--lines", is_flag=True, help="Name source files and lines.")
@click.option(
    "--callees", is_flag=True, help="As -g, from the outermost functions to whom they call."
)
@options.output_options_with(
    tuple(export.FORMATS), "a table's (text, json, csv), or a profile's (dump, perf.data, ...)."
)
@click.option(
    "--save", metavar="FILE", callback=options.not_empty, help="Write a profile beside the table."
)
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
    shown = _shown(given, settings)
    profiles = _profiles(given)
    job = _Job(
        settings,
        shown,
        profiles,
        _table_output(given, no_color=ctx.obj["no_color"], after_command=bool(argv)),
        with_table=given["output"] is None or _is_table(given),
        quiet=given["quiet"],
    )
    recorded, caught = job.run()
    return _exit_status(recorded, caught, given["strict"])
