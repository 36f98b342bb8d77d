"""The `kperf` command: finds the subcommand, loads it, and turns errors into one line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

# One module a command, loaded when the command is called. Name: what help says of it.
_COMMANDS: dict[str, str] = {
    "list": "Show the events that can be counted here.",
    "stat": "Count events for a command, processes, CPUs or the system.",
}


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"kperf_cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import kperf

        click.echo(f"kperf {kperf.__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--sysroot",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Read the machine's description from a copied tree.",
)
@click.option("--no-color", is_flag=True, help="No colour, even on a terminal.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(ctx: click.Context, sysroot: str | None, no_color: bool) -> None:
    """A profiler for Linux servers.

    Counts events for a command, for running processes, for CPUs or for the whole
    machine, and says how far each number can be trusted.
    """
    ctx.obj = {"sysroot": sysroot, "no_color": no_color}


def _fail(failure: Any) -> int:
    """One line on standard error; the exit status that the kind of failure has."""
    from kperf import Error

    click.echo(f"kperf: {failure}", err=True)
    statuses = {
        Error.COMMAND_NOT_FOUND: 127,
        Error.COMMAND_NOT_EXECUTABLE: 126,
        Error.INVALID_EVENT_LIST: 2,
    }
    return statuses.get(failure.code, 1)


def _reader_gone() -> int:
    """Standard output's reader has left: as if by SIGPIPE, without a second message at exit."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
    except OSError:
        pass
    return 141


def _run() -> int:
    try:
        status = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except click.Abort:
        return 130
    except BrokenPipeError:
        return _reader_gone()
    except OSError as refused:
        click.echo(
            f"kperf: {refused.strerror or refused}: {refused.filename or 'output'}", err=True
        )
        return 1
    except Exception as failure:
        import kperf

        if isinstance(failure, kperf.KperfError):
            return _fail(failure)
        raise
    return status if isinstance(status, int) else 0


def main() -> None:
    """The entry point."""
    try:
        status = _run()
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
