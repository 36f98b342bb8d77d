"""What `kperf trace` shows: tables, documents and CSV of calls and of their summaries."""

from __future__ import annotations

from collections.abc import Sequence
from errno import errorcode
from typing import Any, NamedTuple

import kperf
from kperf.calls import CallRow, CallSummary
from kperf.report.calls import Call, SlowCall, octaves
from kperf_cli.render import Column, Result, Table, envelope, show_share, show_time, utc_time
from kperf_cli.target import Target
from kperf_cli.words import one_line

_BAR = 40  # characters of the fullest range

_OWNERS: dict[str, tuple[str, ...]] = {
    "": (),
    "process": ("pid", "comm"),
    "thread": ("tid", "pid", "comm"),
}

_SUMMARY_KEYS = (
    "syscall",
    "count",
    "errors",
    "unfinished",
    "total_ns",
    "mean_ns",
    "p50_ns",
    "p95_ns",
    "p99_ns",
    "max_ns",
    "share",
    "begun_before",
    "bits",
)


class Span(NamedTuple):
    """Whom a result is of, and when it was taken. ns of CLOCK_MONOTONIC; start in s since 1970."""

    target: Target
    begin_ns: int  # of the whole trace
    start: float
    from_ns: int
    duration_ns: int
    interval: int | None = None
    exit_status: int | None = None

    @property
    def own_start(self) -> float:
        """When this part of the trace began, in s since 1970."""
        return self.start + (self.from_ns - self.begin_ns) / 1e9

    def describe(self) -> str:
        return f"{self.target.describe()}: {show_time(self.duration_ns)}"


def quality_line(quality: kperf.Quality) -> str:
    calls = "1 call" if quality.samples == 1 else f"{quality.samples or 0:,} calls"
    words = [calls, f"{quality.lost or 0:,} lost"]
    if quality.unfinished:
        words.append(f"{quality.unfinished:,} unfinished")
    return f"quality: {'; '.join([*words, *quality.notes])}"


def _document(rows: Sequence[dict[str, Any]], quality: kperf.Quality, span: Span) -> dict[str, Any]:
    return envelope(
        "trace",
        kperf.Machine(),
        rows,
        quality,
        span.own_start,
        target=span.target.as_dict(),
        duration_ns=span.duration_ns,
        interval=span.interval,
        exit_status=span.exit_status,
    )


def _with_interval(
    rows: Sequence[dict[str, Any]], span: Span, keys: Sequence[str]
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """CSV's columns and rows: those of an interval begin with it."""
    if span.interval is None:
        return tuple(keys), list(rows)
    known = {"interval": span.interval, "start": utc_time(span.own_start)}
    return ("interval", "start", *keys), [{**known, **row} for row in rows]


# ---- summaries ----


def _time(ns: float | None) -> str:
    return "-" if ns is None else show_time(ns)


def _cells(row: CallRow, by: str, with_unfinished: bool) -> list[str]:
    owner = [str(getattr(row, key)) for key in _OWNERS[by]]
    unfinished = [f"{row.unfinished:,}"] if with_unfinished else []
    times = (row.total_ns, row.mean_ns, row.p50_ns, row.p95_ns, row.p99_ns, row.max_ns)
    return [
        *owner,
        row.syscall if row.bits == 64 else f"{row.syscall} ({row.bits}-bit)",
        f"{row.count:,}",
        f"{row.errors:,}",
        *unfinished,
        *map(_time, times),
        show_share(row.share),
    ]


def _histogram(row: CallRow, by: str) -> Table:
    """How many calls took how long, on a logarithmic scale."""
    owner = ", ".join(f"{key} {getattr(row, key)}" for key in _OWNERS[by])
    lines = [
        [
            show_time(octave.from_ns),
            show_time(octave.to_ns),
            f"{octave.calls:,}",
            "#" * max(round(_BAR * octave.share), int(octave.calls > 0)),
        ]
        for octave in octaves(row)
    ]
    columns = [Column("from", right=True), Column("to", right=True), Column("calls", right=True)]
    return Table(f"{row.syscall}{owner and f' of {owner}'}", [*columns, Column("")], lines)


def _summary_table(summary: CallSummary, span: Span, by: str, with_histogram: bool) -> Table:
    with_unfinished = any(row.unfinished for row in summary.rows)
    titles = ["count", "errors", *(["unfinished"] if with_unfinished else [])]
    titles += ["total", "mean", "p50", "p95", "p99", "max", "share"]
    owners = [Column(key, right=key != "comm") for key in _OWNERS[by]]
    columns = [*owners, Column("system call"), *(Column(title, right=True) for title in titles)]
    rows = [_cells(row, by, with_unfinished) for row in summary.rows]
    below = [_histogram(row, by) for row in summary.rows if row.count] if with_histogram else []
    return Table(span.describe(), columns, rows, below)


def _summary_row(row: CallRow, by: str) -> dict[str, Any]:
    return {key: getattr(row, key) for key in (*_SUMMARY_KEYS, *_OWNERS[by])}


def summary_view(summary: CallSummary, span: Span, by: str, *, with_histogram: bool) -> Result:
    rows = [_summary_row(row, by) for row in summary.rows]
    columns, csv_rows = _with_interval(rows, span, (*_SUMMARY_KEYS, *_OWNERS[by]))

    def document() -> dict[str, Any]:
        full = [
            {**shown, "histogram": [list(part) for part in row.histogram]}
            for shown, row in zip(rows, summary.rows)
        ]
        return _document(full, summary.quality, span)

    return Result(
        quality=quality_line(summary.quality),
        table=lambda: _summary_table(summary, span, by, with_histogram),
        document=document,
        csv_columns=columns,
        csv_rows=lambda: csv_rows,
    )


# ---- calls one by one ----


def _result(ret: int) -> str:
    return f"{ret} {errorcode[-ret]}" if -ret in errorcode else str(ret)


def _calls_table(found: Sequence[Call], title: str, span: Span) -> Table:
    rows = [
        [
            show_time(call.elapsed_ns),
            call.syscall,
            _result(call.ret),
            f"{(call.start_ns - span.begin_ns) / 1e9:.6f}",
            str(call.pid),
            str(call.tid),
            str(call.cpu),
            call.comm,
        ]
        for call in found
    ]
    columns = [Column("time", right=True), Column("system call"), Column("result")]
    columns += [Column(title, right=True) for title in ("start (s)", "pid", "tid", "cpu")]
    return Table(title, [*columns, Column("comm")], rows)


def calls_document(found: Sequence[Call], quality: kperf.Quality, span: Span) -> dict[str, Any]:
    """The object of schema 1 for calls one by one."""
    return _document([call._asdict() for call in found], quality, span)


def calls_view(found: Sequence[Call], quality: kperf.Quality, span: Span) -> Result:
    """Calls together."""
    rows = [call._asdict() for call in found]
    columns, csv_rows = _with_interval(rows, span, Call._fields)
    return Result(
        quality=quality_line(quality),
        table=lambda: _calls_table(found, span.describe(), span),
        document=lambda: calls_document(found, quality, span),
        csv_columns=columns,
        csv_rows=lambda: csv_rows,
    )


def _stack_table(slow: SlowCall) -> Table:
    call = slow.call
    rows = [[caller.symbol, caller.module] for caller in slow.stack] or [["not known", ""]]
    title = f"{show_time(call.elapsed_ns)} in {call.syscall}, thread {call.tid}"
    return Table(title, [Column("called from"), Column("module")], rows)


def slow_view(
    found: Sequence[SlowCall], quality: kperf.Quality, span: Span, *, with_stacks: bool
) -> Result:
    """The slowest calls; with stacks, below them who made each of them. CSV has no stacks."""
    calls = [slow.call for slow in found]
    view = calls_view(calls, quality, span)

    def table() -> Table:
        title = f"{span.describe()}, the {len(found):,} slowest calls"
        below = [_stack_table(slow) for slow in found] if with_stacks else []
        return _calls_table(calls, title, span)._replace(below=below)

    def document() -> dict[str, Any]:
        rows = [
            {**slow.call._asdict(), "stack": [caller._asdict() for caller in slow.stack]}
            for slow in found
        ]
        return _document(rows, quality, span)

    return view._replace(table=table, document=document if with_stacks else view.document)


_LINE = "{:>12}  {:>10}  {:>7}  {:<15}  {:>3}  {:<22}  {}\n"


def list_header(span: Span) -> str:
    """What stands above calls that are listed line by line."""
    titles = _LINE.format("start (s)", "time", "tid", "comm", "cpu", "system call", "result")
    return f"{one_line(span.target.describe())}\n\n{titles}"


def list_lines(found: Sequence[Call], span: Span) -> str:
    """A line a call, in the order of their return."""
    begin = span.begin_ns
    return "".join(
        _LINE.format(
            f"{(call.start_ns - begin) / 1e9:.6f}",
            show_time(call.elapsed_ns),
            call.tid,
            one_line(call.comm),
            call.cpu,
            call.syscall,
            _result(call.ret),
        )
        for call in found
    )
