"""What `kperf spe` shows: tables, JSON documents and CSV rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import kperf
from kperf.report.spe import (
    CacheLine,
    LatencyLine,
    SourceLine,
    SpeTables,
    SymbolLine,
    Touch,
)
from kperf_cli.render import Column, Result, Table, envelope, show_share, show_time
from kperf_cli.target import Ended

_MOST_TOUCHES = 8  # of one cache line, in a table
_BAR = 30

_MACHINE_COLUMNS = {
    "symbols": SymbolLine._fields,
    "sources": SourceLine._fields,
    "latency": LatencyLine._fields,
    "cachelines": CacheLine._fields,
}


class Collected(NamedTuple):
    """What one call gave."""

    tables: SpeTables
    quality: kperf.Quality
    described: str
    target: dict[str, object]
    duration_ns: int | None
    start: float
    ended: Ended | None = None


class Shown(NamedTuple):
    """What was asked for of it."""

    top: int
    with_lines: bool


# ---- for people ----


def _cycles(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _right(*titles: str) -> list[Column]:
    return [Column(title, right=True) for title in titles]


def _symbol_cells(line: SymbolLine) -> list[str]:
    return [
        show_share(line.share),
        f"{line.samples:,}",
        _cycles(line.latency_mean),
        _cycles(line.latency_p99),
        *map(show_share, (line.l1d_miss, line.llc_miss, line.tlb_walk, line.mispredict)),
        line.symbol,
        line.module,
    ]


_SYMBOL_COLUMNS = [
    *_right("share", "samples", "mean", "p99", "L1 miss", "LLC miss", "TLB walk", "mispredict"),
    Column("symbol"),
    Column("module"),
]


def _source_cells(line: SourceLine) -> list[str]:
    return [
        show_share(line.share),
        f"{line.samples:,}",
        _cycles(line.latency_mean),
        _cycles(line.latency_p99),
        line.source,
    ]


_SOURCE_COLUMNS = [*_right("share", "samples", "mean", "p99"), Column("data source of loads")]


def _latency_cells(line: LatencyLine) -> list[str]:
    return [
        f"{line.from_cycles:,} - {line.to_cycles - 1:,}",
        show_share(line.share),
        *(f"{n:,}" for n in (line.samples, line.loads, line.stores, line.branches, line.others)),
        "#" * round(line.share * _BAR),
    ]


_LATENCY_COLUMNS = [
    *_right("cycles", "share", "samples", "loads", "stores", "branches", "others"),
    Column(""),
]


def _line_cells(line: CacheLine) -> list[list[str]]:
    """A row for the line, then one for each of what threads do to it."""
    kind = "pa" if line.physical else "va"
    rows = [
        [
            show_share(line.share),
            f"{line.samples:,}",
            f"{line.reads:,}",
            f"{line.writes:,}",
            _cycles(line.latency_mean),
            f"{kind} {line.address:#x}",
            f"{line.sharing} sharing" if line.threads > 1 else "",
            f"{line.threads} threads" if line.threads > 1 else "1 thread",
        ]
    ]
    touches = sorted(line.touches, key=lambda touch: -touch.reads - touch.writes)
    rows += [_touch_cells(touch) for touch in touches[:_MOST_TOUCHES]]
    if len(touches) > _MOST_TOUCHES:
        rows.append([""] * 5 + [f"  and {len(touches) - _MOST_TOUCHES} more", "", ""])
    return rows


def _touch_cells(touch: Touch) -> list[str]:
    return [
        "",
        "",
        f"{touch.reads:,}",
        f"{touch.writes:,}",
        "",
        f"  +{touch.offset}",
        f"{touch.comm or '-'} {touch.tid}",
        ", ".join(touch.symbols),
    ]


_LINE_COLUMNS = [
    *_right("share", "samples", "reads", "writes", "mean"),
    Column("cache line"),
    Column("sharing, threads"),
    Column("symbols"),
]


def _cut(title: str, shown: int, all_of_them: int) -> str:
    return title if shown == all_of_them else f"{title}, the first {shown} of {all_of_them:,}"


def _symbols(collected: Collected, shown: Shown) -> Table:
    lines = collected.tables.symbols
    first = lines[: shown.top]
    title = f"{collected.described}: {collected.tables.samples:,} records"
    if collected.duration_ns is not None:
        title += f" in {show_time(collected.duration_ns)}"
    return Table(
        _cut(f"{title}, latencies in cycles", len(first), len(lines)),
        _SYMBOL_COLUMNS,
        [_symbol_cells(line) for line in first],
        below=_more(collected, shown),
    )


def _more(collected: Collected, shown: Shown) -> list[Table]:
    tables = collected.tables
    found = []
    if tables.sources:
        rows = [_source_cells(line) for line in tables.sources]
        found.append(Table("data sources", _SOURCE_COLUMNS, rows))
    if tables.latency:
        rows = [_latency_cells(line) for line in tables.latency]
        found.append(Table("latency from dispatch to completion", _LATENCY_COLUMNS, rows))
    if shown.with_lines:
        first = tables.cachelines[: shown.top]
        title = _cut("cache lines", len(first), len(tables.cachelines))
        found.append(
            Table(title, _LINE_COLUMNS, [row for line in first for row in _line_cells(line)])
        )
    return found


def quality_line(quality: kperf.Quality) -> str:
    """The line under the tables."""
    words = [f"{quality.samples or 0:,} records", f"{quality.lost or 0:,} lost"]
    if quality.unresolved:
        words.append(f"{quality.unresolved:,} without a symbol")
    return f"quality: {'; '.join([*words, *quality.notes])}"


# ---- for programs ----


def _as_dict(line: Any) -> dict[str, Any]:
    document: dict[str, Any] = line._asdict()
    if isinstance(line, CacheLine):
        document["touches"] = [touch._asdict() for touch in line.touches]
    return document


def _tables(collected: Collected, shown: Shown) -> dict[str, Sequence[Any]]:
    tables = collected.tables
    found: dict[str, Sequence[Any]] = {
        "symbols": tables.symbols,
        "sources": tables.sources,
        "latency": tables.latency,
    }
    return {**found, "cachelines": tables.cachelines} if shown.with_lines else found


def _documents(collected: Collected, shown: Shown) -> list[dict[str, Any]]:
    return [
        {"table": name, **_as_dict(line)}
        for name, lines in _tables(collected, shown).items()
        for line in lines
    ]


# What each thread does to a cache line is in JSON only.
_CSV_COLUMNS = tuple(
    dict.fromkeys(["table", *(name for names in _MACHINE_COLUMNS.values() for name in names)])
)


def view(collected: Collected, shown: Shown, machine: Callable[[], kperf.Machine]) -> Result:
    """One call's result in every form."""
    return Result(
        quality=quality_line(collected.quality),
        table=lambda: _symbols(collected, shown),
        document=lambda: envelope(
            "spe",
            machine(),
            _documents(collected, shown),
            collected.quality,
            collected.start,
            target=collected.target,
            duration_ns=collected.duration_ns,
            exit_status=collected.ended.status if collected.ended else None,
        ),
        csv_columns=tuple(name for name in _CSV_COLUMNS if name != "touches"),
        csv_rows=lambda: _documents(collected, shown),
    )
