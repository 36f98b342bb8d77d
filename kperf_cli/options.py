"""Options that commands share, the types that check them, and how help shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import click

from kperf_cli import completion

_F = TypeVar("_F", bound=Callable[..., Any])

_MOST_SECONDS = 1e9
_MOST_NUMBER = (1 << 31) - 1
_MOST_BYTES = 1 << 31


# ---- types ----


class _NumberList(click.ParamType):
    """Positive numbers between commas."""

    name = "list"

    def __init__(self, what: str) -> None:
        self._what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        if isinstance(value, list):
            return value
        numbers = []
        for part in str(value).split(","):
            text = part.strip()
            if not text.isdecimal() or not 0 < int(text) <= _MOST_NUMBER:
                self.fail(f"'{text}' is no {self._what}: write numbers, such as 4711,4712")
            numbers.append(int(text))
        return numbers


class _CpuList(click.ParamType):
    """The kernel's list format."""

    name = "cpus"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        if isinstance(value, list):
            return value
        from kperf.machine import parse_cpu_list

        try:
            return list(parse_cpu_list(str(value)))
        except ValueError as wrong:
            return self.fail(f"{wrong}: write CPUs as in 0-3,8")


class _Seconds(click.ParamType):
    """A time above zero."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= _MOST_SECONDS:
            self.fail(f"'{value}' is no time: write seconds above 0 (at most 1e9), such as 1.5")
        return seconds


class Whole(click.ParamType):
    """A whole number from `least` up."""

    name = "number"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            number = -1
        if not self._least <= number <= _MOST_NUMBER:
            self.fail(f"'{value}' will not do: write a whole number, {self._least} or more")
        return number


class Bytes(click.ParamType):
    """A size above zero: 4M, 512K, 65536."""

    name = "size"

    _UNITS: ClassVar[dict[str, int]] = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d{1,18})([kmg]?)(?:i?b)?", str(value).strip().lower())
        size = int(found[1]) * self._UNITS[found[2]] if found else 0
        if not 0 < size <= _MOST_BYTES:
            self.fail(f"'{value}' is no size: write bytes (at most 2G), such as 512K or 4M")
        return size


def _events(_ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    for text in value:
        if not text.strip():
            raise click.BadParameter("the event list is empty: name an event", param=param)
    return list(value)


def not_empty(_ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("the name is empty: write one", param=param)
    return value


def split_names(_ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    """Lists between commas, or several values, as one list."""
    names = [name.strip() for text in value for name in text.split(",") if name.strip()]
    if value and not names:
        raise click.BadParameter("the list is empty: name something", param=param)
    return names


# ---- help ----

# How what is collected is said: of a command, or of what runs.
TARGET_FORMS = (
    "[OPTIONS] [--] COMMAND [ARG]...",
    "[OPTIONS] {-p PID,... | -t TID,... | -a | -C LIST} [-- COMMAND [ARG]...]",
)

_WHAT = "What"
_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_WHAT, ("events", "metrics", "bdfs", "list_metrics", "verbose")),
    ("Whom", ("pids", "tids", "all_cpus", "cpus", "cgroup", "no_inherit")),
    ("When", ("duration", "delay", "interval", "interval_count", "repeat")),
    (
        "Rows (one an event, without any of these)",
        ("by_thread", "by_cpu", "by_core", "by_cluster", "by_numa", "by_socket"),
    ),
    ("Places", ("by",)),
    ("The table", ("sort", "top", "lines", "callees", "lines_of_cache")),
    ("Output", ("as_json", "as_csv", "output", "form", "save", "output_fd", "quiet", "strict")),
    ("Other", ("help",)),
)


_Records = list[tuple[str, str]]


class Command(click.Command):
    """A command whose help shows its options in sections; those of its own say what it does.

    `forms`: how it is called, where one line does not tell.
    """

    def __init__(self, *args: Any, forms: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.forms = forms

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        prefix = "Usage: "
        for form in forms_of(self, ctx):
            formatter.write_usage(ctx.command_path, form, prefix)
            prefix = " " * len(prefix)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Notes the order of the options: a filter belongs to the event before it."""
        with suppress(click.UsageError):  # which comes again below
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            ctx.meta["kperf.order"] = [param.name for param in order]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as wrong:
            wrong.ctx = wrong.ctx or ctx  # click's parser knows no command to name in the hint
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = sections_of(self, ctx)
        width = max(len(term) for _, records in sections for term, _ in records)
        for title, records in sections:
            with formatter.section(title):
                formatter.write_dl([(term.ljust(width), words) for term, words in records])


def forms_of(command: click.Command, ctx: click.Context) -> Sequence[str]:
    """What stands behind a command's name: help's usage, and the manual's synopsis."""
    own = command.forms if isinstance(command, Command) else ()
    return own or [" ".join(command.collect_usage_pieces(ctx))]


def sections_of(command: click.Command, ctx: click.Context) -> list[tuple[str, _Records]]:
    """The options by section, each as its names and what it does; without sections, one of all."""
    # click 8.5 lists arguments as well, and calls its own --help by another name than before.
    records = {
        "help" if "--help" in param.opts else param.name: record
        for param in command.get_params(ctx)
        if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None
    }
    if not isinstance(command, Command):
        return [("", list(records.values()))]
    placed = {name for _, names in _SECTIONS for name in names}
    own = [name for name in records if name not in placed]
    shown = [(title, [*names, *own] if title == _WHAT else names) for title, names in _SECTIONS]
    found = [
        (title, [records[name] for name in names if name in records]) for title, names in shown
    ]
    return [(title, section) for title, section in found if section]


def apply(*decorators: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several option decorators as one, in the order they are shown."""

    def decorate(function: _F) -> _F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


# ---- options ----

duration_option = click.option(
    "-d",
    "--duration",
    type=_Seconds(),
    metavar="SECONDS",
    help="Stop after this time; a command gets SIGTERM.",
)

interval_options = apply(
    click.option("-I", "--interval", type=Whole(1), metavar="MS", help="Show results every MS."),
    click.option("--interval-count", type=Whole(1), metavar="N", help="Stop after N intervals."),
)

_CGROUP = click.option(
    "-G",
    "--cgroup",
    metavar="PATH",
    callback=not_empty,
    help="The tasks of this cgroup (with -a or -C).",
)
_WHOM = (
    click.option(
        "-p",
        "--pid",
        "pids",
        type=_NumberList("process number"),
        metavar="PID,...",
        help="These processes, with all their threads and future children.",
    ),
    click.option(
        "-t",
        "--tid",
        "tids",
        type=_NumberList("thread number"),
        metavar="TID,...",
        help="These threads.",
    ),
    click.option("-a", "--all-cpus", is_flag=True, help="Everything on all CPUs."),
    click.option(
        "-C", "--cpu", "cpus", type=_CpuList(), metavar="LIST", help="On these CPUs: 0-3,8."
    ),
)
_WHEN = (
    click.option("--no-inherit", is_flag=True, help="Leave future threads and children out."),
    duration_option,
    click.option(
        "-D",
        "--delay",
        type=Whole(0),
        metavar="MS",
        default=0,
        help="Begin this much later.",
    ),
)

target_options = apply(*_WHOM, _CGROUP, *_WHEN)
target_options_without_cgroup = apply(*_WHOM, *_WHEN)

_TABLE_FORMS = ("text", "json", "csv")


def output_options_with(more_forms: Sequence[str], forms_help: str) -> Callable[[_F], _F]:
    """Where a result goes, and in which form, of commands that have more forms of files."""
    return apply(
        click.option("--json", "as_json", is_flag=True, help="One JSON object a result."),
        click.option("--csv", "as_csv", is_flag=True, help="CSV with a header row."),
        click.option(
            "-o", "--output", metavar="FILE", callback=not_empty, help="Write the result to FILE."
        ),
        click.option(
            "--format",
            "form",
            metavar="FORMAT",
            type=click.Choice([*_TABLE_FORMS, *more_forms]),
            help=forms_help,
        ),
        click.option(
            "--output-fd",
            type=Whole(0),
            metavar="N",
            help="Write the result to descriptor N.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No notes on standard error."),
    )


output_options = output_options_with((), "text, json or csv, where FILE's suffix does not tell.")

event_option = click.option(
    "-e",
    "--event",
    "events",
    multiple=True,
    callback=_events,
    shell_complete=completion.events,
    metavar="LIST",
    help="Events: names between commas, groups as {a,b}, modifiers as a:u. May be repeated.",
)

metric_option = click.option(
    "-M",
    "--metrics",
    multiple=True,
    callback=split_names,
    shell_complete=completion.metrics,
    metavar="NAME,...",
    help="Metrics by name, such as ipc or topdown-l1: see kperf list metrics.",
)

filter_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="EXPR",
    help="Count the hits alone of the tracepoints before it for which this is true.",
)


def filters_of(ctx: click.Context, events: Sequence[str], filters: Sequence[str]) -> list[str]:
    """A filter for each event text, "" for none: that which stands behind it."""
    found, given, at = [""] * len(events), iter(filters), -1
    for name in ctx.meta.get("kperf.order", []):
        if name == "events":
            at += 1
        elif name == "filters":
            text = next(given)
            if at < 0:
                raise click.UsageError(f"--filter '{text}' stands before any event: put it behind")
            if found[at]:
                raise click.UsageError(
                    f"'{events[at]}' has two filters: join them as in '({found[at]}) && ({text})'"
                )
            found[at] = text
    return found if any(found) else []


strict_option = click.option(
    "--strict", is_flag=True, help="Exit with 3 if anything was lost or not counted."
)
