"""`kperf record`: samples a command, processes, CPUs or the system, and shows the hot symbols."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

import kperf
from kperf.report.hot import SORT_KEYS, HotLine, hot_lines
from kperf_cli import options
from kperf_cli.render import (
    Column,
    Result,
    Table,
    envelope,
    make_output,
    show_share,
    show_time,
)
from kperf_cli.target import Ended, Launched, Signals, Target, Waiter, make_target

_MS, _S = 1_000_000, 1_000_000_000

_NUMBERS = {"line", "pid", "tid", "cpu"}  # keys that stand to the right


class _Settings(NamedTuple):
    """What one call was asked for. Times in ns; None: not asked for."""

    target: Target
    events: list[str]
    filters: list[str]
    period: int
    frequency: int
    keys: tuple[str, ...]
    top: int
    inherit: bool
    lines: bool
    duration: int | None
    delay: int


class _Recorded(NamedTuple):
    """What one recording gave."""

    lines: list[HotLine]
    quality: kperf.Quality
    duration_ns: int
    start: float
    ended: Ended | None


# ---- recording ----


def _open(settings: _Settings, events: list[str], launched: Launched | None) -> kperf.Sampling:
    target = settings.target
    cpus = target.cpus
    if target.system and (target.pids or target.tids):
        cpus = list(kperf.Machine().online_cpus)
    mode = kperf.SymbolMode.RESOLVE_ELF_DWARF if settings.lines else kperf.SymbolMode.RESOLVE_ELF
    return kperf.Sampling(
        events,
        filters=settings.filters,
        pids=target.pids,
        tids=target.tids,
        cpus=cpus,
        command=launched.held if launched and target.counts_command else None,
        cgroup=target.cgroup,
        inherit=settings.inherit,
        enable_on_exec=target.counts_command and not settings.delay,
        period=settings.period,
        frequency=settings.frequency,
        symbol_mode=mode,
    )


def _open_or_fall_back(settings: _Settings, launched: Launched | None) -> kperf.Sampling:
    """With the events that were asked for; by default cycles, or the clock where there are none."""
    if settings.events:
        return _open(settings, settings.events, launched)
    try:
        return _open(settings, ["cycles"], launched)
    except kperf.NotSupportedError:
        sampling = _open(settings, ["cpu-clock"], launched)
        sampling.notes.append("cpu-clock instead of cycles, which this machine does not count")
        return sampling


def _record(settings: _Settings, signals: Signals) -> _Recorded:
    target = settings.target
    launched = Launched(target.argv, signals) if target.argv else None
    try:
        with _open_or_fall_back(settings, launched) as sampling:
            return _run(settings, signals, launched, sampling)
    finally:
        if launched is not None:
            launched.close()


def _run(
    settings: _Settings, signals: Signals, launched: Launched | None, sampling: kperf.Sampling
) -> _Recorded:
    target = settings.target
    watched = [launched.held.pid] if launched else [*target.pids, *target.tids]
    waiter = Waiter(signals, watched)
    start, begin = time.time(), time.monotonic_ns()
    try:
        if not settings.delay and not target.counts_command:
            sampling.enable()
        if launched is not None:
            launched.start()
        if settings.delay:
            waiter.wait(begin + settings.delay)
            begin = time.monotonic_ns()
            sampling.enable()
        waiter.wait(None if settings.duration is None else begin + settings.duration)
    finally:
        waiter.close()
    sampling.disable()
    duration = time.monotonic_ns() - begin
    ended = launched.end() if launched is not None else None
    data = sampling.read()
    return _Recorded(hot_lines(data, settings.keys), data.quality, duration, start, ended)


# ---- showing ----


def _cells(line: HotLine, keys: Sequence[str], with_event: bool) -> list[str]:
    cells = [show_share(line.share), f"{line.samples:,}"]
    cells += [str(line.values[key]) for key in keys]
    return [line.event, *cells] if with_event else cells


def _table(recorded: _Recorded, settings: _Settings) -> Table:
    events = {line.event for line in recorded.lines}
    with_event = len(events) > 1
    columns = [Column("share", right=True), Column("samples", right=True)]
    columns += [Column(key, right=key in _NUMBERS) for key in settings.keys]
    shown = _top(recorded.lines, settings.top)
    if len(shown) < len(recorded.lines):
        title_end = f", the first {len(shown)} of {len(recorded.lines):,} rows"
    else:
        title_end = ""
    title = f"{settings.target.describe()}: {show_time(recorded.duration_ns)}"
    if len(events) == 1:
        title += f", {events.pop()}"
    title += title_end
    return Table(
        title,
        [Column("event"), *columns] if with_event else columns,
        [_cells(line, settings.keys, with_event) for line in shown],
    )


def _top(lines: Sequence[HotLine], most: int) -> list[HotLine]:
    """The first lines of each event."""
    taken: dict[str, int] = {}
    shown = []
    for line in lines:
        taken[line.event] = taken.get(line.event, 0) + 1
        if taken[line.event] <= most:
            shown.append(line)
    return shown


def _quality_line(recorded: _Recorded) -> str:
    quality = recorded.quality
    words = [f"{quality.samples or 0:,} samples", f"{quality.lost or 0:,} lost"]
    if quality.throttled:
        words.append(f"{quality.throttled:,} times throttled")
    if quality.unresolved:
        words.append(f"{quality.unresolved:,} without a symbol")
    return f"quality: {'; '.join([*words, *quality.notes])}"


def _documents(recorded: _Recorded) -> list[dict[str, Any]]:
    return [
        {
            **line.values,
            "event": line.event,
            "share": line.share,
            "samples": line.samples,
            "period": line.period,
        }
        for line in recorded.lines
    ]


def _view(recorded: _Recorded, settings: _Settings) -> Result:
    return Result(
        quality=_quality_line(recorded),
        table=lambda: _table(recorded, settings),
        document=lambda: envelope(
            "record",
            kperf.Machine(),
            _documents(recorded),
            recorded.quality,
            recorded.start,
            target=settings.target.as_dict(),
            duration_ns=recorded.duration_ns,
            exit_status=recorded.ended.status if recorded.ended else None,
        ),
        csv_columns=(*settings.keys, "event", "share", "samples", "period"),
        csv_rows=lambda: _documents(recorded),
    )


# ---- the command ----


def _keys(text: str, with_lines: bool) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    unknown = [key for key in keys if key not in SORT_KEYS]
    if unknown:
        known = ", ".join(SORT_KEYS)
        raise click.UsageError(f"there is no sort key '{unknown[0]}': choose from {known}")
    return (*keys, *(key for key in ("file", "line") if with_lines and key not in keys))


def _exit_status(recorded: _Recorded, caught: int | None, strict: bool) -> int:
    if strict and (recorded.quality.lost or recorded.quality.throttled):
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
@options.target_options
@click.option(
    "--sort",
    default="symbol,module",
    metavar="KEYS",
    help="Add samples up by: symbol, module, file, line, comm, pid, tid, cpu.",
)
@click.option("--top", type=options.Whole(1), default=30, metavar="N", help="Rows an event.")
@click.option("--lines", is_flag=True, help="Name source files and lines.")
@options.output_options
@options.strict_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[[--] COMMAND [ARG]...]")
@click.pass_context
def command(ctx: click.Context, /, argv: Sequence[str], **given: Any) -> int:
    """Sample a command, processes, CPUs or the system, and show the hot symbols.

    \b
    kperf record -- make -j8              where a command spends its time
    kperf record -p 4711 -d 10 --lines    down to source lines
    kperf record -a -d 5 --sort comm,symbol
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine is sampled")
    if given["period"] and given["frequency"]:
        raise click.UsageError("-F and -c both say how often: leave one out")
    settings = _Settings(
        target=make_target(
            argv, given["pids"], given["tids"], given["cpus"], given["all_cpus"], given["cgroup"]
        ),
        events=given["events"],
        filters=options.filters_of(ctx, given["events"], given["filters"]),
        period=given["period"] or 0,
        frequency=given["frequency"] or 0,
        keys=_keys(given["sort"], given["lines"]),
        top=given["top"],
        inherit=not given["no_inherit"],
        lines=given["lines"],
        duration=None if given["duration"] is None else round(given["duration"] * _S),
        delay=given["delay"] * _MS,
    )
    output = make_output(given, no_color=ctx.obj["no_color"], after_command=bool(argv))
    with output:
        with Signals() as signals:
            recorded = _record(settings, signals)
            caught = signals.caught
        output.write(_view(recorded, settings))
    return _exit_status(recorded, caught, given["strict"])
