"""Options that commands share, and the types that check them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


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
            if not text.isdecimal() or not 0 < int(text) < 1 << 31:
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
        if not 0 < seconds < math.inf:
            self.fail(f"'{value}' is no time: write seconds above 0, such as 1.5")
        return seconds


def _joined(_ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    for text in value:
        if not text.strip():
            raise click.BadParameter("the event list is empty", param=param)
    return list(value)


def apply(*decorators: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several option decorators as one, in the order they are shown."""

    def decorate(function: _F) -> _F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


target_options = apply(
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
    click.option(
        "-G", "--cgroup", metavar="PATH", help="The tasks of this cgroup (with -a or -C)."
    ),
    click.option("--no-inherit", is_flag=True, help="Leave future threads and children out."),
    click.option(
        "-d", "--duration", type=_Seconds(), metavar="SECONDS", help="Stop after this time."
    ),
    click.option(
        "-D",
        "--delay",
        type=click.IntRange(min=0),
        metavar="MS",
        default=0,
        help="Start counting this much later.",
    ),
)

output_options = apply(
    click.option("--json", "as_json", is_flag=True, help="One JSON object a result."),
    click.option("--csv", "as_csv", is_flag=True, help="CSV with a header row."),
    click.option("-o", "--output", metavar="FILE", help="Write the result there."),
    click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", "csv"]),
        help="The format of FILE, where its suffix does not tell.",
    ),
    click.option(
        "--output-fd", type=click.IntRange(min=0), metavar="N", help="Write to this descriptor."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No hints on standard error."),
)

event_option = click.option(
    "-e",
    "--event",
    "events",
    multiple=True,
    callback=_joined,
    metavar="LIST",
    help="Events: names between commas, groups as {a,b}, modifiers as a:u. May be repeated.",
)

strict_option = click.option(
    "--strict", is_flag=True, help="Exit with 3 if anything was lost or not counted."
)
