"""`kperf spe`: memory accesses and branches, sampled by Arm SPE or read from a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

import kperf
from kperf.events.event import Event
from kperf.report.spe import SpeTables, spe_tables
from kperf.spe.data import SpeData
from kperf.spe.decode import Keep, decode_file
from kperf.spe.events import parse_events
from kperf_cli import options
from kperf_cli.render import make_output
from kperf_cli.saving import collect_and_save
from kperf_cli.spe_files import OpenFiles, files_of
from kperf_cli.spe_view import Collected, Shown, quality_line, view
from kperf_cli.target import Launched, Signals, Target, Waiter, make_target
from kperf_cli.window import collect
from kperf_cli.words import one_line

_MS, _S = 1_000_000, 1_000_000_000

_FILTERS = {
    "load": kperf.SpeFilter.LOAD_FILTER,
    "store": kperf.SpeFilter.STORE_FILTER,
    "branch": kperf.SpeFilter.BRANCH_FILTER,
}


class _Settings(NamedTuple):
    """What one call was asked for. Times in ns; None: not asked for."""

    target: Target
    data_filter: int
    events: int
    any_event: bool
    min_latency: int
    period: int
    keep: Keep
    aux_bytes: int
    inherit: bool
    duration: int | None
    delay: int


class _Read(NamedTuple):
    """What one call gave, and of what; a file that is read tells no event."""

    collected: Collected
    data: SpeData
    event: Event | None


# ---- recording ----


def _open(settings: _Settings, launched: Launched | None, spool_fd: int) -> kperf.SpeSampling:
    target = settings.target
    cpus = target.cpus
    if target.system and (target.pids or target.tids):
        cpus = list(kperf.Machine().online_cpus)
    return kperf.SpeSampling(
        pids=target.pids,
        tids=target.tids,
        cpus=cpus,
        command=launched.held if launched and target.counts_command else None,
        inherit=settings.inherit,
        enable_on_exec=target.counts_command and not settings.delay,
        period=settings.period,
        data_filter=settings.data_filter,
        event_filter=0 if settings.any_event else settings.events,
        any_events=settings.events if settings.any_event else 0,
        min_latency=settings.min_latency,
        keep=settings.keep,
        aux_bytes=settings.aux_bytes,
        spool_fd=spool_fd,
    )


def _record(settings: _Settings, signals: Signals, files: OpenFiles) -> _Read:
    target = settings.target
    launched = Launched(target.argv, signals) if target.argv else None
    try:
        with _open(settings, launched, files.spool_fd) as sampling:
            return _run(settings, signals, launched, sampling)
    finally:
        if launched is not None:
            launched.close()


def _run(
    settings: _Settings, signals: Signals, launched: Launched | None, sampling: kperf.SpeSampling
) -> _Read:
    target = settings.target
    watched = [launched.held.pid] if launched else [*target.pids, *target.tids]
    waiter = Waiter(signals, watched)
    try:
        window = collect(
            sampling, target, launched, waiter, duration=settings.duration, delay=settings.delay
        )
    finally:
        waiter.close()
    data = sampling.read()
    tables = spe_tables(data)
    quality = _quality(data, tables)
    about = (target.describe(), target.as_dict(), window.duration_ns, window.start, window.ended)
    return _Read(Collected(tables, quality, *about), data, sampling.events[-1])


def _quality(data: SpeData, tables: SpeTables) -> kperf.Quality:
    """The quality of what is shown, which the sums know."""
    quality: kperf.Quality = data.quality
    quality.notes = [*quality.notes, *tables.notes]  # looks the rows' symbols up
    quality.unresolved = tables.unresolved
    return quality


def _decode(path: str, keep: Keep) -> _Read:
    data = decode_file(path, keep, midr=kperf.Machine().midr)
    tables = spe_tables(data)
    quality = _quality(data, tables)
    return _Read(Collected(tables, quality, path, {"file": path}, None, time.time()), data, None)


# ---- the command ----


def _exit_status(collected: Collected, caught: int | None, strict: bool) -> int:
    quality = collected.quality
    losses = (quality.lost, quality.throttled, quality.aux_truncated, quality.aux_collisions)
    if strict and any(losses):
        return 3
    if collected.ended is None:
        return 0
    if collected.ended.by_itself:
        return collected.ended.status
    return 128 + caught if caught is not None else 0


def _events(text: str | None) -> int:
    try:
        return parse_events(text) if text else 0
    except kperf.KperfError as wrong:
        raise click.UsageError(str(wrong)) from None


def _data_filter(given: dict[str, Any]) -> int:
    """Loads and stores, unless operations are named."""
    named = [bit for name, bit in _FILTERS.items() if given[name]]
    chosen = named or [kperf.SpeFilter.LOAD_FILTER, kperf.SpeFilter.STORE_FILTER]
    if given["physical"]:
        chosen.append(kperf.SpeFilter.PA_ENABLE)
    return int(sum(chosen))


_LIVE = (
    *("pids", "tids", "cpus", "all_cpus", "duration", "load", "store", "branch", "physical"),
    *("min_latency", "period", "raw"),
)


def _check(ctx: click.Context, argv: Sequence[str], given: dict[str, Any]) -> None:
    if given["any_event"] and not given["event"]:
        raise click.UsageError("--any-event says how --event is meant: name events")
    if given["decode"] is None:
        if ctx.obj["sysroot"]:
            raise click.UsageError("--sysroot is a description, and only a real machine is sampled")
        return
    if argv or any(given[name] for name in _LIVE):
        raise click.UsageError("--decode reads a file: leave out what is for a recording")
    if given["event"] and not given["any_event"]:
        raise click.UsageError("a file was filtered when it was recorded: use --any-event")


def _settings(given: dict[str, Any], argv: Sequence[str], keep: Keep) -> _Settings:
    return _Settings(
        target=make_target(argv, given["pids"], given["tids"], given["cpus"], given["all_cpus"]),
        data_filter=_data_filter(given),
        events=_events(given["event"]),
        any_event=given["any_event"],
        min_latency=given["min_latency"] or 0,
        period=given["period"] or 0,
        keep=keep,
        aux_bytes=given["aux_kib"] << 10,
        inherit=not given["no_inherit"],
        duration=None if given["duration"] is None else round(given["duration"] * _S),
        delay=given["delay"] * _MS,
    )


@click.command(
    "spe",
    cls=options.Command,
    forms=(*options.TARGET_FORMS, "[OPTIONS] --decode FILE"),
    context_settings={"allow_interspersed_args": False},
)
@click.option("--load", is_flag=True, help="Loads (the default, with --store).")
@click.option("--store", is_flag=True, help="Stores (the default, with --load).")
@click.option("--branch", is_flag=True, help="Branches.")
@click.option(
    "--event", metavar="NAME,...", help="Records with all of these: l1d-miss, tlb-walk, llc-miss."
)
@click.option("--any-event", is_flag=True, help="With any of them, which software filters.")
@click.option(
    "--min-latency", type=options.Whole(1), metavar="N", help="Records of at least N cycles."
)
@click.option("--period", type=options.Whole(1), metavar="N", help="One every N operations.")
@click.option("--pa", "physical", is_flag=True, help="Physical addresses, too (as root).")
@click.option("--aux-kib", type=options.Whole(8), default=4096, hidden=True)
@click.option(
    "--decode",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Show a file instead: raw AUX bytes, or a perf.data with SPE.",
)
@click.option(
    "--raw", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the raw AUX bytes, too."
)
@options.target_options_without_cgroup
@click.option("--top", type=options.Whole(1), default=20, metavar="N", help="Rows a table.")
@click.option(
    "--lines-of-cache", is_flag=True, help="Hot cache lines, and the threads that share them."
)
@options.output_options
@options.strict_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[[--] COMMAND [ARG]...]")
@click.pass_context
def command(ctx: click.Context, /, argv: Sequence[str], **given: Any) -> int:
    """Sample memory accesses with Arm SPE: which miss, what they cost, where data comes from.

    \b
    kperf spe -- ./server --bench        hot symbols, data sources, latencies
    kperf spe -p 4711 -d 10 --lines-of-cache
                                         which cache lines do threads fight for
    kperf spe --event l1d-miss,tlb-walk --any-event -a -d 5
    """
    _check(ctx, argv, given)
    files = files_of(given)
    keep = Keep(rows=files.is_dump, sums=True, lines=given["lines_of_cache"])
    for_table = {**given, "output": None} if files.profile else given
    output = make_output(for_table, no_color=ctx.obj["no_color"], after_command=bool(argv))
    shown = Shown(given["top"], given["lines_of_cache"])
    settings = None if given["decode"] is not None else _settings(given, argv, keep)
    caught = None

    def get(places: OpenFiles) -> _Read:
        nonlocal caught
        if settings is None:
            return _decode(given["decode"], keep._replace(any_events=_events(given["event"])))
        with Signals() as signals:
            read = _record(settings, signals, places)
            caught = signals.caught
            return read

    with output:
        read, failure = collect_and_save(
            files.open, get, lambda places, read: places.save(read.data, read.event)
        )
        collected = read.collected
        if files.profile is None or failure is not None:
            output.write(view(collected, shown, kperf.Machine))
    if failure is not None:
        raise failure
    if files.profile is not None and not given["quiet"]:
        wrote = f"kperf: wrote {files.profile}; {quality_line(collected.quality)}"
        click.echo(one_line(wrote), err=True)
    return _exit_status(collected, caught, given["strict"])
