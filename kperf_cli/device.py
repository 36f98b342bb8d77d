"""`kperf device`: bandwidth, latency and traffic of memory, caches, PCIe and SMMUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

import kperf
from kperf.report.device import DeviceReport, is_lossy
from kperf_cli import completion, options
from kperf_cli.device_view import Measured, listing, view
from kperf_cli.render import make_output
from kperf_cli.target import Ended, Launched, Signals, Target, Waiter, exit_status
from kperf_cli.timing import Timing, intervals, make_timing, wall_clock

_SCOPES = ("channel", "numa", "socket", "core", "cluster", "bdf")
_DEFAULT_SUMS = {"channel": "numa"}  # a machine has many channels


class _Settings(NamedTuple):
    """What one call was asked for."""

    target: Target
    metrics: list[str]
    bdfs: list[str]
    by: str
    timing: Timing


_Show = Callable[[Measured], None]


class _Measurement:
    """One call: opens, waits, shows, and leaves nothing behind."""

    def __init__(self, settings: _Settings, show: _Show) -> None:
        self._settings = settings
        self._show = show
        self._report = DeviceReport()
        self.lossy = False

    def run(self, signals: Signals) -> Ended | None:
        argv = self._settings.target.argv
        launched = Launched(argv, signals) if argv else None
        try:
            with self._open() as device:
                return self._measure(device, signals, launched)
        finally:
            if launched is not None:
                launched.close()

    def _open(self) -> kperf.Device:
        by = dict.fromkeys(_SCOPES, self._settings.by) if self._settings.by else _DEFAULT_SUMS
        return kperf.Device(self._settings.metrics, bdfs=self._settings.bdfs, by=by)

    def _measure(
        self, device: kperf.Device, signals: Signals, launched: Launched | None
    ) -> Ended | None:
        timing = self._settings.timing
        waiter = Waiter(signals, [launched.held.pid] if launched else [])
        try:
            begin = time.monotonic_ns()
            device.enable()
            if launched is not None:
                launched.start()
            if timing.interval is None:
                waiter.wait(timing.deadline(begin))
                device.disable()
                took = time.monotonic_ns() - begin
                ended = launched.end() if launched else None
                self._shown(device, begin, took, ended=ended)
                return ended
            for interval in intervals(timing, waiter, begin):
                self._shown(device, interval.begin, interval.duration, interval=interval.number)
            return launched.end() if launched else None
        finally:
            waiter.close()

    def _shown(self, device: kperf.Device, begin: int, duration: int, **known: Any) -> None:
        rows = self._report.rows(device.read_values())
        self.lossy = self.lossy or is_lossy(rows)
        self._show(Measured(rows, duration, wall_clock(begin), device.notes, **known))


def _check(given: dict[str, Any], metrics: Sequence[str], argv: Sequence[str]) -> None:
    if given["list_metrics"]:
        if argv or given["interval"] or given["duration"]:
            raise click.UsageError("--list measures nothing: leave -d, -I and the command out")
        return
    if given["verbose"]:
        raise click.UsageError("-v goes with --list")
    if not metrics:
        raise click.UsageError(
            "there is nothing to measure: name metrics, such as ddr-read-bw,ddr-write-bw, "
            "or see them with --list"
        )


class _Command(options.Command):
    """Tells the metrics from the command after --, which click hands over as one list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["argv"] = args[at + 1 :]
        ctx.meta["has_command"] = at < len(args)
        return super().parse_args(ctx, args[:at])


@click.command(
    "device",
    cls=_Command,
    forms=("[OPTIONS] METRIC,... [-- COMMAND [ARG]...]", "[OPTIONS] --list [-v] [METRIC,...]"),
)
@click.option(
    "--bdf",
    "bdfs",
    multiple=True,
    callback=options.split_names,
    metavar="BDF,...",
    help="The PCIe devices that pcie and smmu metrics are of: 7a:00.0.",
)
@click.option(
    "--list", "list_metrics", is_flag=True, help="Show the metrics, and why some are missing here."
)
@click.option("-v", "--verbose", is_flag=True, help="With --list: formulas and sources.")
@click.option(
    "--by",
    type=click.Choice(_SCOPES),
    metavar="PLACE",
    help="Add up by channel, numa, socket, core, cluster or bdf.",
)
@options.duration_option
@options.interval_options
@options.output_options
@options.strict_option
@click.argument(
    "metrics",
    nargs=-1,
    callback=options.split_names,
    shell_complete=completion.device_metrics,
    metavar="METRIC,... [-- COMMAND [ARG]...]",
)
@click.pass_context
def command(ctx: click.Context, /, metrics: list[str], **given: Any) -> int:
    """Measure bandwidth, latency and traffic of memory, caches, PCIe and SMMUs.

    \b
    kperf device ddr-read-bw,ddr-write-bw -I 1000   by NUMA node, every second
    kperf device ddr-read-bw --by channel -- ./job  while a command runs
    kperf device pcie-rx-mrd-bw --bdf 7a:00.0 -d 5
    kperf device --list                             what this machine has
    """
    argv = ctx.meta["argv"]
    if ctx.meta["has_command"] and not argv:
        raise click.UsageError("there is no command after --: name one, or leave -- out")
    _check(given, metrics, argv)
    if given["list_metrics"]:
        return _list(ctx, metrics, given)
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine is measured")
    settings = _Settings(
        target=Target(argv, [], [], [], True, ""),
        metrics=metrics,
        bdfs=given["bdfs"],
        by=given["by"] or "",
        timing=make_timing(given),
    )
    return _measure(ctx, settings, given)


def _measure(ctx: click.Context, settings: _Settings, given: dict[str, Any]) -> int:
    machine = kperf.Machine()
    output = make_output(
        given,
        no_color=ctx.obj["no_color"],
        live=settings.timing.interval is not None,
        # A command that writes to the same terminal would be drawn over.
        in_place=settings.timing.interval is not None and not settings.target.argv,
        after_command=bool(settings.target.argv),
    )
    measurement = _Measurement(
        settings, lambda measured: output.write(view(measured, settings.target, machine))
    )
    with output, Signals() as signals:
        ended = measurement.run(signals)
        caught = signals.caught
    return 3 if given["strict"] and measurement.lossy else exit_status(ended, caught)


def _list(ctx: click.Context, metrics: Sequence[str], given: dict[str, Any]) -> int:
    machine = kperf.Machine(ctx.obj["sysroot"] or "/")
    with make_output(given, no_color=ctx.obj["no_color"]) as output:
        output.write(listing(machine, metrics, verbose=given["verbose"]))
    return 0
