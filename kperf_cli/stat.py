"""`kperf stat`: counts events for a command, processes, CPUs or the system."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import kperf
from kperf.data import NOT_COUNTED
from kperf.report.counts import CountRow, aggregate, combine_runs
from kperf_cli import options
from kperf_cli.render import Output, make_output
from kperf_cli.stat_view import Measured, view
from kperf_cli.target import Ended, Launched, Signals, Target, Waiter, exit_status, make_target
from kperf_cli.timing import Timing, intervals, make_timing, wall_clock

if TYPE_CHECKING:  # loaded where -M asks for metrics
    from kperf.metrics.metric import Chosen

_DEFAULT_EVENTS = (
    "task-clock,context-switches,cpu-migrations,page-faults,"
    "cycles,instructions,branches,branch-misses"
)


class _Place(NamedTuple):
    """An option that chooses how rows are added up."""

    option: str
    by: str
    needs_cpus: bool


_PLACES = (
    _Place("--per-thread", "thread", False),
    _Place("--no-aggr", "cpu", True),
    _Place("--per-core", "core", True),
    _Place("--per-cluster", "cluster", True),
    _Place("--per-numa", "numa", True),
    _Place("--per-socket", "socket", True),
)


class _Settings(NamedTuple):
    """What one call was asked for. Times in ns; None: not asked for."""

    target: Target
    events: list[str]
    metrics: list[Chosen]
    filters: list[str]
    by: str
    inherit: bool
    timing: Timing
    delay: int
    repeat: int


_Show = Callable[[Measured], None]


class _Run:
    """One run: opens, waits, reads, and leaves nothing behind."""

    def __init__(self, settings: _Settings, signals: Signals) -> None:
        self._settings = settings
        self._signals = signals
        target = settings.target
        self._on_exec = target.counts_command and not settings.delay
        self._launched = Launched(target.argv, signals) if target.argv else None
        self.ended: Ended | None = None
        try:
            self._counting = self._open()
        except BaseException:
            self._close_command()
            raise
        self._hidden = frozenset(event.name for event in self._counting.hidden)

    def _open(self) -> kperf.Counting:
        settings, target = self._settings, self._settings.target
        cpus = target.cpus
        if target.system and (target.pids or target.tids):  # those tasks, CPU by CPU
            cpus = list(kperf.Machine().online_cpus)
        return kperf.Counting(
            settings.events,
            filters=settings.filters,
            pids=target.pids,
            tids=target.tids,
            cpus=cpus,
            command=self._launched.held if self._launched and target.counts_command else None,
            cgroup=target.cgroup,
            inherit=settings.inherit,
            enable_on_exec=self._on_exec,
            unsupported="row",
        )

    def close(self) -> None:
        self._counting.close()
        self._close_command()

    def _close_command(self) -> None:
        if self._launched is not None:
            self._launched.close()

    def measure(self, show: _Show) -> Measured | None:
        """Runs to its end. Intervals go to `show` one by one, and leave nothing to return."""
        target = self._settings.target
        watched = [self._launched.held.pid] if self._launched else [*target.pids, *target.tids]
        waiter = Waiter(self._signals, watched)
        try:
            begin = self._begin(waiter)
            if self._settings.timing.interval is not None:
                self._measure_intervals(waiter, begin, show)
                self._end()
                return None
            waiter.wait(self._settings.timing.deadline(begin))
            duration = time.monotonic_ns() - begin
            rows = self._read()
            return self._measured(rows, begin, duration, ended=self._end())
        finally:
            waiter.close()

    def _begin(self, waiter: Waiter) -> int:
        """Starts the counting and the command; returns when the counting began."""
        begin = time.monotonic_ns()
        if not self._on_exec and not self._settings.delay:
            self._counting.enable()
        if self._launched is not None:
            self._launched.start()
        if self._settings.delay:
            waiter.wait(begin + self._settings.delay)
            begin = time.monotonic_ns()
            self._counting.enable()
        return begin

    def _measure_intervals(self, waiter: Waiter, begin: int, show: _Show) -> None:
        for interval in intervals(self._settings.timing, waiter, begin):
            show(
                self._measured(
                    self._read(), interval.begin, interval.duration, interval=interval.number
                )
            )

    def _measured(
        self, rows: Sequence[CountRow], begin: int, duration: int, **known: Any
    ) -> Measured:
        start = wall_clock(begin)
        return Measured(
            rows,
            duration,
            start,
            self._counting.notes,
            self._hidden,
            metrics=self._settings.metrics,
            **known,
        )

    def _read(self) -> list[CountRow]:
        if self._settings.timing.interval is None:
            self._counting.disable()
        counting = self._counting
        return aggregate(
            counting.read(), counting.events, counting.groups, self._settings.by, counting.topology
        )

    def _end(self) -> Ended | None:
        """The command's end, where one was launched."""
        self._counting.close()
        self.ended = self._launched.end() if self._launched is not None else None
        return self.ended


# ---- repeated runs ----


def _mean_ended(measured: Sequence[Measured]) -> Ended | None:
    """The last run's end with the mean of the times."""
    ended = [run.ended for run in measured if run.ended is not None]
    if not ended:
        return None
    return ended[-1]._replace(
        user_s=sum(run.user_s for run in ended) / len(ended),
        system_s=sum(run.system_s for run in ended) / len(ended),
    )


def _combined(measured: Sequence[Measured], *, cut_short: bool) -> Measured:
    """Several runs as one result: means."""
    notes = list(measured[0].notes)
    if cut_short:
        notes.append(f"run {len(measured) + 1} was interrupted, and is left out")
    return measured[0]._replace(
        rows=combine_runs([run.rows for run in measured]),
        duration_ns=sum(run.duration_ns for run in measured) // len(measured),
        notes=notes,
        ended=_mean_ended(measured),
        runs=len(measured),
    )


class _Session:
    """All runs of one call, and where their results go."""

    def __init__(self, settings: _Settings, output: Output) -> None:
        self._settings = settings
        self._output = output
        self._machine = kperf.Machine()
        self.lossy = False
        self.ended: Ended | None = None
        self.caught: int | None = None

    def _show(self, measured: Measured) -> None:
        uncounted = (row for row in measured.rows if row.state == NOT_COUNTED and not row.is_idle)
        self.lossy = self.lossy or any(uncounted)
        self._output.write(view(measured, self._settings.target, self._machine))

    def run(self) -> None:
        """Runs what was asked for, shows it, and leaves nothing behind."""
        with Signals() as signals:
            done = self._repeat(signals) if self._settings.repeat > 1 else [self._once(signals)]
            self.caught = signals.caught
        whole = [measured for measured in done if measured is not None]
        if whole:
            self._show(whole[0] if self._settings.repeat == 1 else self._mean_of(whole))

    def _once(self, signals: Signals) -> Measured | None:
        run = _Run(self._settings, signals)
        try:
            return run.measure(self._show)
        finally:
            run.close()
            self.ended = run.ended

    def _repeat(self, signals: Signals) -> list[Measured | None]:
        done: list[Measured | None] = []
        while len(done) < self._settings.repeat and signals.caught is None:
            done.append(self._once(signals))
        return done

    def _mean_of(self, runs: Sequence[Measured]) -> Measured:
        """One that a signal cut short counts only where there is no other."""
        cut_short = self.caught is not None and len(runs) > 1
        return _combined(runs[:-1] if cut_short else runs, cut_short=cut_short)

    def exit_status(self, strict: bool) -> int:
        return 3 if strict and self.lossy else exit_status(self.ended, self.caught)


# ---- the command ----


def _place(given: dict[str, bool], target: Target) -> str:
    chosen = [place for place in _PLACES if given[place.by]]
    if len(chosen) > 1:
        names = " and ".join(place.option for place in chosen)
        raise click.UsageError(f"rows are added up in one way, not by {names}")
    if not chosen:
        return "total"
    place = chosen[0]
    if place.needs_cpus and not (target.system or target.cpus):
        raise click.UsageError(f"{place.option} needs counters on each CPU: add -a, or -C LIST")
    if not place.needs_cpus and not (target.pids or target.tids or target.counts_command):
        raise click.UsageError(f"{place.option} needs threads: add -p PID, -t TID or a command")
    return place.by


def _what(given: dict[str, Any]) -> tuple[list[str], list[Chosen]]:
    """The event lists to count, and the metrics to make of them."""
    if not given["metrics"]:
        return given["events"] or [_DEFAULT_EVENTS], []
    from kperf.metrics.metric import choose, event_groups

    metrics = choose(given["metrics"], kperf.Machine())
    return [*given["events"], *event_groups(metrics)], metrics


def _check_combination(settings: _Settings) -> None:
    if settings.repeat == 1:
        return
    if not settings.target.argv:
        raise click.UsageError("-r repeats a command: name one after --")
    if settings.timing.interval is not None:
        raise click.UsageError("-r and -I cannot be shown together: leave one out")
    if settings.by == "thread":
        raise click.UsageError("-r has other threads in each run: leave --per-thread out")


_MS = 1_000_000


@click.command(
    "stat",
    cls=options.Command,
    forms=options.TARGET_FORMS,
    context_settings={"allow_interspersed_args": False},
)
@options.event_option
@options.metric_option
@options.filter_option
@options.target_options
@options.interval_options
@click.option(
    "-r",
    "--repeat",
    type=options.Whole(1),
    default=1,
    metavar="N",
    help="Run the command N times; show means and deviations.",
)
@click.option("--per-thread", "by_thread", is_flag=True, help="A row a thread.")
@click.option("-A", "--no-aggr", "by_cpu", is_flag=True, help="A row a CPU.")
@click.option("--per-core", "by_core", is_flag=True, help="A row a core.")
@click.option("--per-cluster", "by_cluster", is_flag=True, help="A row a cluster.")
@click.option("--per-numa", "by_numa", is_flag=True, help="A row a NUMA node.")
@click.option("--per-socket", "by_socket", is_flag=True, help="A row a socket.")
@options.output_options
@options.strict_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[[--] COMMAND [ARG]...]")
@click.pass_context
def command(ctx: click.Context, /, argv: Sequence[str], **given: Any) -> int:
    """Count events for a command, processes, CPUs or the system.

    \b
    kperf stat -- make -j8             the default events for a command
    kperf stat -e cycles:u -p 4711     until Ctrl-C, or the process ends
    kperf stat -M topdown-l1 -- ./job  metrics by name: see kperf list metrics
    kperf stat -a -I 1000 --csv        the whole system, every second
    """
    if ctx.obj["sysroot"]:
        raise click.UsageError("--sysroot is a description, and only a real machine counts")
    target = make_target(
        argv, given["pids"], given["tids"], given["cpus"], given["all_cpus"], given["cgroup"]
    )
    events, metrics = _what(given)
    settings = _Settings(
        target=target,
        events=events,
        metrics=metrics,
        filters=options.filters_of(ctx, events, given["filters"]),
        by=_place({place.by: given[f"by_{place.by}"] for place in _PLACES}, target),
        inherit=not given["no_inherit"],
        timing=make_timing(given),
        delay=given["delay"] * _MS,
        repeat=given["repeat"],
    )
    _check_combination(settings)
    output = make_output(
        given,
        no_color=ctx.obj["no_color"],
        live=settings.timing.interval is not None,
        after_command=bool(argv),
    )
    session = _Session(settings, output)
    with output:
        session.run()
    return session.exit_status(given["strict"])
