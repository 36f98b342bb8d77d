"""`kperf trace`: times system calls of a command, processes, CPUs or the system."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import click

import kperf
from kperf.report.calls import SlowCall, calls, slowest
from kperf_cli import completion, options
from kperf_cli.render import TEXT, Output, make_output
from kperf_cli.target import Ended, Launched, Signals, Target, Waiter, exit_status, make_target
from kperf_cli.timing import Timing, intervals, make_timing, wall_clock
from kperf_cli.trace_listing import make_listing
from kperf_cli.trace_view import Span, calls_view, quality_line, slow_view, summary_view

_MS = 1_000_000

_MECHANISMS = {None: "", "bpf": "BPF", "ring": "tracepoints"}

_EVENTS_EVERY = 100 * _MS  # calls are listed as they happen
_SLOW_EVERY = 1000 * _MS  # the slowest are kept, and the others forgotten


class _Settings(NamedTuple):
    """What one call was asked for. Times in ns; None: not asked for."""

    target: Target
    funcs: list[str]
    by: str
    events: bool
    top_slow: int | None
    call_stack: bool
    histogram: bool
    inherit: bool
    delay: int
    timing: Timing
    engine: str | None

    @property
    def keeps_calls(self) -> bool:
        return self.events or self.top_slow is not None


# ---- what becomes of it ----


class _Taker(Protocol):
    """Takes what was traced, now and then, and shows it."""

    @property
    def every(self) -> int | None:
        """ns between two ticks; None: only the end counts."""

    def tick(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality | None:
        """Takes what came since the last time. Returns the quality of what it showed."""

    def finish(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality | None:
        """The same for the rest, when all is over."""


class _Summary:
    """Shows a summary at the end, or of each interval."""

    def __init__(self, settings: _Settings, output: Output) -> None:
        self._settings = settings
        self._output = output
        self.every = settings.timing.interval

    def tick(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality:
        settings, summary = self._settings, trace.summary()
        view = summary_view(summary, span, settings.by, with_histogram=settings.histogram)
        self._output.write(view)
        return summary.quality

    def finish(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality | None:
        return None if self.every else self.tick(trace, span)


class _Intervals:
    """Shows the calls of each interval."""

    def __init__(self, settings: _Settings, output: Output) -> None:
        self._output = output
        self.every = settings.timing.interval

    def tick(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality:
        data = trace.read()
        self._output.write(calls_view(calls(data), data.quality, span))
        return data.quality

    def finish(self, trace: kperf.SyscallTrace, span: Span) -> None:
        """The last interval was the rest."""


class _Slowest:
    """Keeps the slowest calls, and shows them at the end or of each interval."""

    def __init__(self, settings: _Settings, output: Output, most: int) -> None:
        self._by_interval = settings.timing.interval is not None
        self._with_stacks = settings.call_stack
        self._output = output
        self._most = most
        self.every = settings.timing.interval or _SLOW_EVERY
        self._known: list[SlowCall] = []

    def _show(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality:
        data = trace.read()
        known = slowest(self._known, data, self._most)
        view = slow_view(known, data.quality, span, with_stacks=self._with_stacks)
        self._output.write(view)
        self._known = []
        return data.quality

    def tick(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality | None:
        if self._by_interval:
            return self._show(trace, span)
        self._known = slowest(self._known, trace.calls(), self._most)
        return None

    def finish(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality | None:
        return None if self._by_interval else self._show(trace, span)


class _Listing:
    """Lists calls as they happen, and says at the end what they lack."""

    def __init__(self, settings: _Settings, output: Output) -> None:
        self._output = output
        self._listing = make_listing(output.form)
        self.every = settings.timing.interval or _EVENTS_EVERY
        self._begun = False

    def tick(self, trace: kperf.SyscallTrace, span: Span) -> None:
        if not self._begun:
            self._output.write_part(self._listing.opening(span))
            self._begun = True
        self._output.write_part(self._listing.rows(calls(trace.calls()), span))

    def finish(self, trace: kperf.SyscallTrace, span: Span) -> kperf.Quality:
        self.tick(trace, span)
        quality = trace.read().quality
        self._output.write_part(self._listing.ending(quality, span))
        self._output.tell(quality_line(quality))
        return quality


def _taker(settings: _Settings, output: Output) -> _Taker:
    if not settings.keeps_calls:
        return _Summary(settings, output)
    if settings.top_slow is not None:
        return _Slowest(settings, output, settings.top_slow)
    if settings.timing.interval is not None and output.form != TEXT:
        return _Intervals(settings, output)
    return _Listing(settings, output)


# ---- tracing ----


class _Traced(NamedTuple):
    """How a trace ended."""

    ended: Ended | None
    is_lossy: bool


def _open(settings: _Settings, launched: Launched | None) -> kperf.SyscallTrace:
    target = settings.target
    return kperf.SyscallTrace(
        settings.funcs,
        pids=target.pids,
        tids=target.tids,
        cpus=target.cpus,
        command=launched.held if launched and target.counts_command else None,
        cgroup=target.cgroup,
        inherit=settings.inherit,
        enable_on_exec=target.counts_command and not settings.delay,
        by=settings.by,
        keep_calls=settings.keeps_calls,
        mechanism=_MECHANISMS[settings.engine],
        call_stack=settings.call_stack,
    )


def _trace(settings: _Settings, signals: Signals, taker: _Taker) -> _Traced:
    target = settings.target
    launched = Launched(target.argv, signals) if target.argv else None
    try:
        with _open(settings, launched) as trace:
            return _run(settings, signals, launched, trace, taker)
    finally:
        if launched is not None:
            launched.close()


def _begin(
    settings: _Settings, launched: Launched | None, trace: kperf.SyscallTrace, waiter: Waiter
) -> int:
    """Starts the tracing and the command; returns when the tracing began."""
    begin = time.monotonic_ns()
    if not settings.delay and not settings.target.counts_command:
        trace.enable()
    if launched is not None:
        launched.start()
    if settings.delay:
        waiter.wait(begin + settings.delay)
        begin = time.monotonic_ns()
        trace.enable()
    return begin


def _run(
    settings: _Settings,
    signals: Signals,
    launched: Launched | None,
    trace: kperf.SyscallTrace,
    taker: _Taker,
) -> _Traced:
    target = settings.target
    watched = [launched.held.pid] if launched else [*target.pids, *target.tids]
    waiter = Waiter(signals, watched)
    shown = []
    try:
        begin = _begin(settings, launched, trace, waiter)
        span = Span(target, begin, wall_clock(begin), begin, 0)
        if taker.every is None:
            waiter.wait(settings.timing.deadline(begin))
        else:
            timing = settings.timing._replace(interval=taker.every)
            is_interval = settings.timing.interval is not None
            for step in intervals(timing, waiter, begin):
                part = span._replace(from_ns=step.begin, duration_ns=step.duration)
                number = step.number if is_interval else None
                shown.append(taker.tick(trace, part._replace(interval=number)))
    finally:
        waiter.close()
    trace.disable()
    duration = time.monotonic_ns() - begin
    ended = launched.end() if launched is not None else None
    status = None if ended is None else ended.status
    shown.append(taker.finish(trace, span._replace(duration_ns=duration, exit_status=status)))
    return _Traced(ended, any(quality.lost for quality in shown if quality is not None))


# ---- the command ----


class _TraceCommand(options.Command):
    """What stands behind -- is a command; what stands before it names system calls."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        argv: list[str] = []
        if "--" in args:
            at = args.index("--")
            args, argv = args[:at], args[at + 1 :]
            if not argv:
                ctx.fail("there is no command behind --: name one, or leave -- out")
        ctx.meta["kperf.argv"] = argv
        return super().parse_args(ctx, args)


def _names(texts: Sequence[str]) -> list[str]:
    names = [name.strip() for text in texts for name in text.split(",")]
    if any(not name for name in names):
        raise click.UsageError("a name between commas is empty: write them as in read,write")
    return list(dict.fromkeys(names))


def _check_combination(settings: _Settings) -> None:
    if settings.events and settings.top_slow is not None:
        raise click.UsageError("--events lists all calls and --top-slow a few: leave one out")
    if settings.call_stack and settings.top_slow is None:
        raise click.UsageError("-g shows who made the slowest calls: say how many with --top-slow")
    is_single = settings.target.tids or settings.target.cgroup
    if settings.engine == "bpf" and (settings.keeps_calls or is_single):
        raise click.UsageError(
            "BPF programs list no calls, and follow processes, not threads or cgroups: leave "
            "--engine bpf out"
        )
    if settings.keeps_calls and (settings.by or settings.histogram):
        option = "--by" if settings.by else "--histogram"
        raise click.UsageError(f"{option} is of summaries, and this lists calls: leave one out")


@click.command(
    "trace",
    cls=_TraceCommand,
    forms=(
        "[OPTIONS] [CALL,...] -- COMMAND [ARG]...",
        "[OPTIONS] [CALL,...] {-p PID,... | -t TID,... | -a | -C LIST} [-- COMMAND [ARG]...]",
    ),
)
@click.argument(
    "funcs",
    nargs=-1,
    shell_complete=completion.syscalls,
    metavar="[CALL,...] [-- COMMAND [ARG]...]",
)
@options.target_options
@options.interval_options
@click.option(
    "--by", type=click.Choice(["thread", "process"]), help="A row a call and thread or process."
)
@click.option("--histogram", is_flag=True, help="Draw how long the calls took.")
@click.option("--events", is_flag=True, help="List the calls one by one, as they happen.")
@click.option(
    "--top-slow", type=options.Whole(1), metavar="N", help="List the N calls that took longest."
)
@click.option(
    "-g",
    "--call-stack",
    is_flag=True,
    help="With --top-slow: who made these calls, as frame pointers tell.",
)
@click.option(
    "--engine",
    type=click.Choice(["bpf", "ring"]),
    help="Insist on BPF programs or on the tracepoints' buffers.",
)
@options.output_options
@options.strict_option
@click.pass_context
def command(ctx: click.Context, /, funcs: Sequence[str], **given: Any) -> int:
    """Time system calls: how many, how long, which ones are slow.

    \b
    kperf trace -- ls                       all calls of a command
    kperf trace read,write -p 4711 -d 10    two calls of a process
    kperf trace futex --by thread --histogram -p 4711
    kperf trace --top-slow 20 -a -d 5       the slowest of the whole system
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine is traced")
    argv: list[str] = ctx.meta["kperf.argv"]
    settings = _Settings(
        target=make_target(
            argv, given["pids"], given["tids"], given["cpus"], given["all_cpus"], given["cgroup"]
        ),
        funcs=_names(funcs),
        by=given["by"] or "",
        events=given["events"],
        top_slow=given["top_slow"],
        call_stack=given["call_stack"],
        histogram=given["histogram"],
        inherit=not given["no_inherit"],
        delay=given["delay"] * _MS,
        timing=make_timing(given),
        engine=given["engine"],
    )
    _check_combination(settings)
    is_live = settings.timing.interval is not None or settings.events
    output = make_output(
        given, no_color=ctx.obj["no_color"], live=is_live, after_command=bool(argv)
    )
    with output, Signals() as signals:
        traced = _trace(settings, signals, _taker(settings, output))
        caught = signals.caught
    return 3 if given["strict"] and traced.is_lossy else exit_status(traced.ended, caught)
