"""The `kperf` command: finds the subcommand, loads it, and turns errors into one line."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from kperf_cli.words import one_line

# One module a command, loaded when the command is called. Name: what help says of it.
_COMMANDS: dict[str, str] = {
    "device": "Measure memory, caches, PCIe and SMMUs: bandwidth and latency.",
    "doctor": "Show what this machine lets kperf do, and how to get the rest.",
    "list": "Show the events that can be counted here.",
    "record": "Sample where the time goes, and show the hot symbols.",
    "report": "Show the tables of a recording again, from a saved file.",
    "spe": "Sample memory accesses with Arm SPE: misses, latencies, data sources.",
    "stat": "Count events for a command, processes, CPUs or the system.",
    "topo": "Show where CPUs sit: sockets, NUMA nodes, clusters, cores.",
    "trace": "Time system calls: how many, how long, which ones are slow.",
}

_READER_GONE = 141  # 128 + SIGPIPE, as a program has it that the signal ends
_INTERRUPTED = 130  # 128 + SIGINT


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Ends quietly when nobody reads any more; click would make that a status of 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(_READER_GONE) from None


class _LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"kperf_cli.{cmd_name}")
        gc.freeze()
        gc.enable()
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            meant = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(_COMMANDS)}"
            ctx.fail(f"there is no command '{args[0]}': {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import kperf

        click.echo(f"kperf {kperf.__version__}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARG]...",
    epilog="'kperf COMMAND -h' says more of each.",
)
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
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)
    ctx.obj = {"sysroot": sysroot, "no_color": no_color}


# ---- errors ----


def _complain(message: object, command: str = "kperf") -> None:
    click.echo(f"{command}: {one_line(str(message))}", err=True)


def _usage_status(wrong: click.UsageError) -> int:
    path = wrong.ctx.command_path if wrong.ctx else "kperf"
    _complain(f"{wrong.format_message().rstrip('.')} ('{path} -h' shows the usage)", path)
    return wrong.exit_code


def _failure_status(failure: Any) -> int:
    """The exit status that a KperfError's kind has."""
    from kperf import Error

    _complain(failure)
    statuses = {
        Error.COMMAND_NOT_FOUND: 127,
        Error.COMMAND_NOT_EXECUTABLE: 126,
        Error.INVALID_EVENT_LIST: 2,
    }
    return statuses.get(failure.code, 1)


def _refused_status(refused: OSError) -> int:
    _complain(f"{refused.filename or 'standard output'}: {refused.strerror or refused}")
    return 1


def _status_of(failure: Exception) -> int:
    """What an exception means for whoever called; raises what nobody expects."""
    import kperf

    if isinstance(failure, kperf.KperfError):  # some are OSErrors as well
        return _failure_status(failure)
    if isinstance(failure, OSError):
        return _refused_status(failure)
    raise failure


def _run() -> int:
    try:
        status = cli.main(prog_name="kperf", standalone_mode=False)
    except click.UsageError as wrong:
        return _usage_status(wrong)
    except click.ClickException as wrong:
        _complain(wrong.format_message())
        return wrong.exit_code
    except click.Abort:
        return _INTERRUPTED
    except Exception as failure:
        return _status_of(failure)
    return status if isinstance(status, int) else 0


def _drop_unwritten() -> None:
    """Keeps Python from failing once more at exit on what standard output would not take."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """The entry point."""
    try:
        status = _run()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    _drop_unwritten()
    sys.exit(status)
