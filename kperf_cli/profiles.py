"""Where a profile's samples go: a table, files of profiles, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import click

import kperf
from kperf import export
from kperf.report.hot import CALLEES, CALLERS, SORT_KEYS
from kperf_cli import options
from kperf_cli.record_view import Shown, Subject, view
from kperf_cli.recording import Recorded
from kperf_cli.render import FORMS, Output, make_output
from kperf_cli.saving import collect_and_save
from kperf_cli.words import one_line

# ---- how it is shown ----


def or_usage(check: Callable[[str], Any], text: str) -> Any:
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


def shown_as(given: dict[str, Any], subject: Subject, command: str) -> Shown:
    """The table that `table_options` ask for."""
    tree = CALLEES if given["callees"] else CALLERS if given["call_stack"] else ""
    keys = _keys(given["sort"], given["lines"])
    return Shown(subject, keys, given["top"], tree, command)


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
        found.append(_Profile(given["output"], or_usage(export.format_of, given["output"])))
    if given["save"] is not None:
        found.append(_Profile(given["save"], or_usage(export.format_of, given["save"])))
    return found


def _table_output(given: dict[str, Any], *, no_color: bool, after_command: bool) -> Output:
    """Where the table goes: not into a profile's file."""
    for_table = given if _is_table(given) else {**given, "output": None, "form": None}
    return make_output(for_table, no_color=no_color, after_command=after_command)


class Job(NamedTuple):
    """One call: how samples are shown, and where they go."""

    shown: Shown
    with_lines: bool
    argv: Sequence[str]
    profiles: list[_Profile]
    output: Output
    with_table: bool
    quiet: bool

    def run(self, collect: Callable[[], Recorded]) -> Recorded:
        """Collects and writes. A profile that cannot be written is an error after the table."""
        with self.output:
            recorded, failure = collect_and_save(self._open, lambda _: collect(), self._save)
            if self.with_table or failure is not None:
                self.output.write(view(recorded, self.shown))
        if failure is not None:
            raise failure
        if not self.with_table and not self.quiet:
            self._tell(recorded)
        return recorded

    def _open(self, files: ExitStack) -> list[Callable[..., None]]:
        return [files.enter_context(export.opened(*file)) for file in self.profiles]

    def _save(self, places: Sequence[Callable[..., None]], recorded: Recorded) -> None:
        for write in places:
            write(recorded.data, lines=self.with_lines, command=self.argv)

    def _tell(self, recorded: Recorded) -> None:
        """What was written, and the quality that no table shows."""
        files = ", ".join(f"{file.path} ({file.form})" for file in self.profiles)
        quality = view(recorded, self.shown).quality
        click.echo(one_line(f"kperf: wrote {files}; {quality}"), err=True)


def make_job(given: dict[str, Any], shown: Shown, argv: Sequence[str], *, no_color: bool) -> Job:
    """What `profile_options` ask for."""
    return Job(
        shown,
        given["lines"],
        argv,
        _profiles(given),
        _table_output(
            given, no_color=no_color, after_command=shown.command == "record" and bool(argv)
        ),
        with_table=given["output"] is None or _is_table(given),
        quiet=given["quiet"],
    )


# ---- options ----

table_options = options.apply(
    click.option(
        "--sort",
        default="symbol,module",
        metavar="KEYS",
        help="Add samples up by: symbol, module, file, line, comm, pid, tid, cpu.",
    ),
    click.option("--top", type=options.Whole(1), default=30, metavar="N", help="Rows an event."),
    click.option("--lines", is_flag=True, help="Name source files and lines."),
    click.option(
        "--callees", is_flag=True, help="As -g, from the outermost functions to whom they call."
    ),
)

profile_options = options.apply(
    options.output_options_with(
        tuple(export.FORMATS), "a table's (text, json, csv), or a profile's (dump, perf.data, ...)."
    ),
    click.option(
        "--save",
        metavar="FILE",
        callback=options.not_empty,
        help="Write a profile beside the table.",
    ),
)
