"""What `kperf stat` shows of a measurement: the table, the JSON document, the CSV rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import kperf
from kperf.data import NOT_COUNTED, NOT_SUPPORTED
from kperf.report.counts import CountRow, count_notes, multiplexed
from kperf.report.derived import NAMES, Derived, derive_all
from kperf_cli.render import (
    Column,
    Result,
    Table,
    envelope,
    show_count,
    show_share,
    show_time,
    show_value,
    utc_time,
)
from kperf_cli.target import Ended, Target

if TYPE_CHECKING:  # loaded where -M asks for metrics
    from kperf.metrics.metric import Chosen

_CSV_BEFORE = (
    *("event", "count", "state", "unit", "running", "group"),
    *("cpu", "core", "cluster", "numa", "socket", "pid", "tid", "comm"),
    *("mean", "stddev", "runs"),
)
_CSV_AFTER = ("raw_count", "enabled_ns", "running_ns")

# In percent for people, in 0..1 for machines.
_SHARES = {"miss_rate", "cycle_share"}

_HIDDEN = "no permission"
_STATE_WORDS = {NOT_COUNTED: "not counted", NOT_SUPPORTED: "not supported"}


class Measured(NamedTuple):
    """What one run, several runs together, or one interval gave."""

    rows: Sequence[CountRow]
    duration_ns: int
    start: float  # seconds since the epoch
    notes: Sequence[str]
    hidden: frozenset[str]  # names of events that this user may not count
    interval: int | None = None
    ended: Ended | None = None
    runs: int | None = None  # None: the command was not to be repeated
    metrics: Sequence[Chosen] = ()  # those that were asked for by name


def _derived_words(derived: Sequence[Derived]) -> str:
    parts = []
    for value in derived:
        is_share = value.is_share or value.name in _SHARES
        number = f"{value.value:.2%}" if is_share else show_value(value.value)
        parts.append(f"{number} {value.words}")
    return ", ".join(parts)


def _place_columns(rows: Sequence[CountRow]) -> list[str]:
    return list(rows[0].place) if rows else []


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _deviation(row: CountRow) -> str:
    if row.stddev is None or not row.mean or row.runs < 2:
        return "-"
    return f"+- {row.stddev / row.mean:.2%}"


def _table(measured: Measured, target: Target, derived: Sequence[Sequence[Derived]]) -> Table:
    rows = measured.rows
    places = _place_columns(rows)
    with_runs, with_share = measured.runs is not None, bool(multiplexed(rows))
    columns = [Column(name, right=name != "comm") for name in places]
    columns.append(Column("count", right=True))
    columns += [Column("deviation", right=True)] if with_runs else []
    columns += [Column("event"), Column("derived", folds=True)]
    columns += [Column("run share", right=True)] if with_share else []
    cells = []
    for row, values in zip(rows, derived):
        state = _HIDDEN if row.event.name in measured.hidden else _STATE_WORDS.get(row.state)
        line = [_cell(row.place[name]) for name in places]
        line.append(f"<{state}>" if state else show_count(row.total, row.event.unit))
        line += [_deviation(row)] if with_runs else []
        line += [row.event.name, _derived_words(values)]
        line += [show_share(row.running)] if with_share else []
        cells.append(line)
    return Table(_title(measured, target), columns, cells)


def _title(measured: Measured, target: Target) -> str:
    words = f"{target.describe()}: {show_time(measured.duration_ns)}"
    if measured.interval is not None:
        words = f"interval {measured.interval}, {words}"
    if measured.runs is not None:
        words += f" a run, {measured.runs} run{'' if measured.runs == 1 else 's'}"
    ended = measured.ended
    if ended is not None:
        words += (
            f" ({show_time(ended.user_s * 1e9)} user, {show_time(ended.system_s * 1e9)} system)"
        )
    return words


def _notes(measured: Measured) -> list[str]:
    """What the numbers do not hold."""
    return [*count_notes(measured.rows, measured.hidden), *measured.notes]


# ---- for machines ----


def _row_document(row: CountRow, derived: Sequence[Derived], *, with_runs: bool) -> dict[str, Any]:
    was_open = row.state != NOT_SUPPORTED
    document: dict[str, Any] = {
        "event": row.event.name,
        "count": row.total,
        "state": row.state,
        "unit": row.event.unit or None,
        "running": row.running,
        "group": row.group if row.group >= 0 else None,
        **{name: None if value == "" else value for name, value in row.place.items()},
        "derived": {value.name: value.value for value in derived},
        "raw_count": row.raw_count if was_open else None,
        "enabled_ns": row.enabled_ns if was_open else None,
        "running_ns": row.running_ns if was_open else None,
    }
    if with_runs:
        deviation = row.stddev if row.runs > 1 else None
        document.update(mean=row.mean, stddev=deviation, runs=row.runs)
    return document


def _document(
    measured: Measured, target: Target, machine: kperf.Machine, rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return envelope(
        "stat",
        machine,
        rows,
        kperf.Quality(_notes(measured)),
        measured.start,
        target=target.as_dict(),
        duration_ns=measured.duration_ns,
        interval=measured.interval,
        exit_status=measured.ended.status if measured.ended else None,
    )


def _csv_columns(metrics: Sequence[Chosen]) -> list[str]:
    names = dict.fromkeys([*NAMES, *(chosen.metric.name for chosen in metrics)])
    return [*_CSV_BEFORE, *(f"derived.{name}" for name in names), *_CSV_AFTER]


def _csv_row(document: dict[str, Any], measured: Measured) -> dict[str, Any]:
    flat = {f"derived.{name}": value for name, value in document["derived"].items()}
    when = {"interval": measured.interval, "start": utc_time(measured.start)}
    return {**when, **document, **flat}


def _derived(measured: Measured) -> list[list[Derived]]:
    """What rows say beside their counts: the metrics that were asked for come first."""
    rows = measured.rows
    derived = derive_all(rows, measured.duration_ns)
    if not measured.metrics:
        return derived
    from kperf.report.metrics import metric_values

    asked = metric_values(rows, measured.metrics)
    return [
        [*own, *(value for value in usual if value.name not in names)]
        for own, usual in zip(asked, derived)
        for names in [{chosen.metric.name for chosen in measured.metrics}]
    ]


def view(measured: Measured, target: Target, machine: kperf.Machine) -> Result:
    """A measurement in every form."""
    derived = _derived(measured)
    documents = [
        _row_document(row, values, with_runs=measured.runs is not None)
        for row, values in zip(measured.rows, derived)
    ]
    intervals = ("interval", "start") if measured.interval is not None else ()
    notes = "; ".join(_notes(measured)) or "every event was counted all the time"
    return Result(
        quality=f"quality: {notes}",
        table=lambda: _table(measured, target, derived),
        document=lambda: _document(measured, target, machine, documents),
        csv_columns=(*intervals, *_csv_columns(measured.metrics)),
        csv_rows=lambda: [_csv_row(document, measured) for document in documents],
    )
