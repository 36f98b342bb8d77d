"""What `kperf device` shows: tables, JSON documents and CSV rows of values and of the catalog."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import kperf
from kperf.device.catalog import ListedMetric, catalog
from kperf.device.find import metric_of
from kperf.report.device import DeviceRow, device_notes, multiplexed, totals
from kperf_cli.render import (
    Column,
    Result,
    Table,
    envelope,
    show_amount,
    show_history,
    show_rate,
    show_share,
    show_time,
    utc_time,
)
from kperf_cli.target import Ended, Target

_PLACES = ("socket", "numa", "cluster", "core", "cpu", "channel", "bdf")
_CSV_COLUMNS = (
    *("metric", "value", "unit", "running"),
    *("channel", "numa", "socket", "core", "cluster", "bdf"),
    *("cpu", "device", "amount", "amount_unit", "share"),
)


class Measured(NamedTuple):
    """What one call, or one interval, gave."""

    rows: Sequence[DeviceRow]
    duration_ns: int
    start: float  # seconds since the epoch
    notes: Sequence[str]
    interval: int | None = None
    ended: Ended | None = None


def _notes(measured: Measured) -> list[str]:
    return [*device_notes(measured.rows), *measured.notes]


def _title(measured: Measured, target: Target) -> str:
    words = f"{target.describe()}: {show_time(measured.duration_ns)}"
    return words if measured.interval is None else f"interval {measured.interval}, {words}"


# ---- for people ----


def _place_cells(row: DeviceRow, places: Sequence[str]) -> list[str]:
    cells = []
    for name in places:
        value = getattr(row.place, name)
        words = f"{value} ({row.device})" if name == "bdf" and row.device else str(value)
        cells.append("-" if value is None else words)
    return cells


def _value_cell(row: DeviceRow) -> str:
    if row.value is None:
        return "<nothing>" if row.running else "<not counted>"
    return show_rate(row.value, row.unit)


def _table(measured: Measured, target: Target) -> Table:
    rows = measured.rows
    places = [name for name in _PLACES if any(getattr(row.place, name) is not None for row in rows)]
    with_share, live = bool(multiplexed(rows)), measured.interval is not None
    columns = [Column("metric"), *(Column(name, right=name != "bdf") for name in places)]
    columns += [Column("value", right=True), Column("total", right=True)]
    columns += [Column("of max", right=True)]
    columns += [Column("run share", right=True)] if with_share else []
    columns += [Column("history")] if live else []
    cells = []
    for row in rows:
        line = [row.metric, *_place_cells(row, places), _value_cell(row)]
        line += [show_amount(row.amount, row.amount_unit), show_share(row.share)]
        line += [show_share(row.running)] if with_share else []
        line += [show_history(row.history)] if live else []
        cells.append(line)
    for total in totals(rows):
        line = [total.metric, *("all" if at == 0 else "" for at in range(len(places)))]
        line += [show_rate(total.value, total.unit), show_amount(total.amount, total.amount_unit)]
        cells.append(line + [""] * (len(columns) - len(line)))
    return Table(_title(measured, target), columns, cells)


# ---- for machines ----


def _document(row: DeviceRow) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "value": row.value,
        "unit": row.unit,
        "running": row.running,
        **row.place._asdict(),
        "device": row.device or None,
        "amount": row.amount,
        "amount_unit": row.amount_unit or None,
        "share": row.share,
    }


def _envelope(measured: Measured, target: Target, machine: kperf.Machine) -> dict[str, Any]:
    document = envelope(
        "device",
        machine,
        [_document(row) for row in measured.rows],
        kperf.Quality(_notes(measured)),
        measured.start,
        target=target.as_dict(),
        duration_ns=measured.duration_ns,
        interval=measured.interval,
        exit_status=measured.ended.status if measured.ended else None,
    )
    document["totals"] = [total._asdict() for total in totals(measured.rows)]
    return document


def view(measured: Measured, target: Target, machine: kperf.Machine) -> Result:
    """A measurement in every form."""
    when = {"interval": measured.interval, "start": utc_time(measured.start)}
    notes = "; ".join(_notes(measured)) or "every counter counted all the time"
    return Result(
        quality=f"quality: {notes}",
        table=lambda: _table(measured, target),
        document=lambda: _envelope(measured, target, machine),
        csv_columns=(*(when if measured.interval is not None else ()), *_CSV_COLUMNS),
        csv_rows=lambda: [{**when, **_document(row)} for row in measured.rows],
    )


# ---- the catalog ----


def _where(metric: ListedMetric) -> str:
    if not metric.available:
        return metric.reason
    if metric.devices:
        return f"for {len(metric.devices)} PCIe devices"
    return f"by {metric.scope}, from {_counted(len(metric.pmus), 'PMU')}"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _confirmed(metric: ListedMetric) -> str:
    if not metric.source:
        return ""
    return metric.source if metric.confirmed else f"UNCONFIRMED: {metric.source}"


def _list_table(found: Sequence[ListedMetric], *, verbose: bool) -> Table:
    columns = [Column("metric"), Column("here"), Column("unit"), Column("what", folds=True)]
    columns.append(Column("where, or why not", folds=True))
    if verbose:
        columns += [Column(name, folds=True) for name in ("formula", "first events", "source")]
    rows = []
    for metric in found:
        line = [metric.name, "yes" if metric.available else "no", metric.unit, metric.description]
        line.append(_where(metric))
        if verbose:
            line += [metric.formula, metric.encoding, _confirmed(metric)]
        rows.append(line)
    here = sum(metric.available for metric in found)
    return Table(f"{here} of {_counted(len(found), 'metric')} can be measured here", columns, rows)


_LIST_COLUMNS = (
    *("name", "available", "reason", "unit", "scope", "description", "pmus", "devices"),
    *("formula", "encoding", "source", "confirmed"),
)


def _list_document(metric: ListedMetric) -> dict[str, Any]:
    document = {name: getattr(metric, name) for name in _LIST_COLUMNS}
    empty = {name: None for name, value in document.items() if value == ""}
    return {**document, **empty, "pmus": list(metric.pmus), "devices": list(metric.devices)}


def _list_csv(metric: ListedMetric) -> dict[str, Any]:
    document = _list_document(metric)
    return {**document, "pmus": " ".join(metric.pmus), "devices": " ".join(metric.devices)}


def listing(machine: kperf.Machine, wanted: Sequence[str], *, verbose: bool) -> Result:
    """The metrics of a machine (`wanted`: those alone), and why some are missing."""
    names = [metric_of(name).name for name in wanted]
    found = [metric for metric in catalog(machine) if not names or metric.name in names]
    notes = [f"left out: {broken}" for metric in found for broken in metric.skipped]
    notes = list(dict.fromkeys(notes))
    missing = sum(not metric.available for metric in found)
    words = [f"{missing} missing"] if missing else []
    return Result(
        quality=f"quality: {'; '.join([*words, *notes]) or 'nothing is missing'}",
        table=lambda: _list_table(found, verbose=verbose),
        document=lambda: envelope(
            "device",
            machine,
            [_list_document(metric) for metric in found],
            kperf.Quality(notes),
            time.time(),
        ),
        csv_columns=_LIST_COLUMNS,
        csv_rows=lambda: [_list_csv(metric) for metric in found],
    )
