"""The one place that writes results: tables for people, plain text for pipes, JSON and CSV."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, NamedTuple

import click

import kperf

SCHEMA = 1

TEXT, JSON, CSV = "text", "json", "csv"
_SUFFIXES = {".json": JSON, ".csv": CSV}


class Column(NamedTuple):
    """One column of a table for people."""

    title: str
    right: bool = False


class Table(NamedTuple):
    """A table for people: a line above, cells as they are shown, lines below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    below: Sequence[str] = ()


class Result(NamedTuple):
    """One result in every form; only the form that is asked for is made."""

    table: Callable[[], Table]
    document: Callable[[], dict[str, Any]]
    csv_columns: Sequence[str]
    csv_rows: Callable[[], Sequence[dict[str, Any]]]


# ---- numbers for people ----

_TIMES = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))


def show_time(ns: float) -> str:
    """Nanoseconds in the unit that reads best."""
    for size, unit in _TIMES:
        if abs(ns) >= size:
            return f"{ns / size:,.2f} {unit}"
    return f"{ns:,.0f} ns"


def show_count(count: float | None, unit: str) -> str:
    """A count with its thousands grouped; a dash where there is none."""
    if count is None:
        return "-"
    if unit == "ns":
        return show_time(count)
    number = f"{count:,d}" if isinstance(count, int) else f"{count:,.2f}"
    return f"{number} {unit}".rstrip()


def show_value(value: float) -> str:
    """A derived value with as many digits as mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def utc_time(seconds: float) -> str:
    """Seconds since the epoch as 2026-01-31T12:00:00.000000Z."""
    whole, micro = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{micro:06d}Z"


def envelope(
    command: str,
    machine: kperf.Machine,
    rows: Sequence[dict[str, Any]],
    quality: kperf.Quality,
    start: float,
    **known: Any,
) -> dict[str, Any]:
    """The object of schema 1 that every command prints; what is not `known` is null."""
    return {
        "schema": SCHEMA,
        "kperf": kperf.__version__,
        "command": command,
        "target": known.get("target"),
        "start": utc_time(start),
        "duration_ns": known.get("duration_ns"),
        "interval": known.get("interval"),
        "machine": {
            "arch": machine.arch,
            "cpus": len(machine.online_cpus),
            "kernel": machine.kernel,
            "cpu": machine.cpu_model,
        },
        "rows": list(rows),
        "quality": quality.as_dict(),
        "exit_status": known.get("exit_status"),
    }


# ---- the forms ----


def _printable(cell: str) -> str:
    """A cell that moves no cursor: names of programs may hold anything."""
    return cell if cell.isprintable() else cell.encode("unicode_escape").decode("ascii")


def plain_lines(table: Table) -> list[str]:
    """The table without colour and boxes: columns two spaces apart."""
    cells = [[column.title for column in table.columns]]
    cells += [[_printable(cell) for cell in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = [table.title, ""]
    for row in cells:
        parts = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns)
        ]
        lines.append("  ".join(parts).rstrip())
    return [*lines, "", *table.below]


def _show_rich(table: Table, stream: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False, soft_wrap=False)
    drawn = RichTable(box=None, header_style="bold cyan", pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns:
        drawn.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_printable(cell)) for cell in row))
    console.print(Text(table.title, style="bold"))
    console.print()
    console.print(drawn)
    console.print()
    for line in table.below:
        console.print(Text(line, style="dim"))


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


# ---- where it goes ----


class _Sink:
    """A stream to write to. `finish` makes it count; `abandon` leaves nothing half done."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def finish(self) -> None:
        self.stream.flush()

    def abandon(self) -> None:
        pass


class _FileSink(_Sink):
    """A file that appears whole or not at all; devices and pipes are written as they are."""

    def __init__(self, path: str, *, at_once: bool) -> None:
        self._path = path
        self._written = path if at_once or _is_special(path) else f"{path}.{os.getpid()}.part"
        try:
            stream = open(self._written, "w", encoding="utf-8", newline="")  # noqa: SIM115
        except OSError as refused:
            raise _cannot_write(path, refused) from refused
        super().__init__(stream)

    def finish(self) -> None:
        try:
            self.stream.flush()
            if self._written != self._path:
                os.fsync(self.stream.fileno())
            self.stream.close()
            if self._written != self._path:
                os.replace(self._written, self._path)
        except OSError as refused:
            self.abandon()
            raise _cannot_write(self._path, refused) from refused

    def abandon(self) -> None:
        with suppress(OSError):
            self.stream.close()
        if self._written != self._path:
            with suppress(OSError):
                os.unlink(self._written)


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


class CannotWriteError(click.ClickException):
    """The result has no place: a file's or descriptor's name, and why."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"kperf: {self.message}", err=True)


def _cannot_write(path: str, refused: OSError) -> CannotWriteError:
    fixes = {
        "FileNotFoundError": "make its directory first",
        "IsADirectoryError": "name a file in it",
        "PermissionError": "choose a place that you may write to",
    }
    fix = fixes.get(type(refused).__name__, "choose another place")
    return CannotWriteError(f"cannot write {path} ({refused.strerror}): {fix}")


def _stdout_has_text() -> bool:
    """Whether a launched command may have left standard output in the middle of a line."""
    try:
        return os.lseek(sys.stdout.fileno(), 0, os.SEEK_CUR) > 0
    except OSError:
        return True


class Output:
    """Where a command's results go, and in which form."""

    def __init__(
        self,
        *,
        as_json: bool,
        as_csv: bool,
        path: str | None,
        form: str | None,
        fd: int | None,
        no_color: bool,
        live: bool = False,
        after_command: bool = False,
    ) -> None:
        self.form = _choose_form(as_json, as_csv, path, form)
        if path is not None and fd is not None:
            raise click.UsageError("-o and --output-fd are two places: leave one out.")
        self._to_stdout = path is None and fd is None
        self._after_command = after_command
        self._header_due = True
        self._sink = _open_sink(path, fd, live)
        self._rich = (
            self._to_stdout
            and not no_color
            and "NO_COLOR" not in os.environ
            and sys.stdout.isatty()
        )

    def write(self, result: Result) -> None:
        """Writes one result, and hands it over at once."""
        stream = self._sink.stream
        try:
            if self._header_due and self._to_stdout and self._after_command and self._breaks_line():
                stream.write("\n")
            _WRITERS[self.form](self, result)
            self._header_due = False
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as refused:
            raise _cannot_write("the result", refused) from refused

    def _breaks_line(self) -> bool:
        return self.form == TEXT or _stdout_has_text()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """A result that is whole appears; one that is not leaves nothing."""
        if kind is None:
            self._sink.finish()
        else:
            self._sink.abandon()

    def _write_text(self, result: Result) -> None:
        if self._rich:
            _show_rich(result.table(), self._sink.stream)
        else:
            self._sink.stream.write("\n".join(plain_lines(result.table())) + "\n")

    def _write_json(self, result: Result) -> None:
        import json

        self._sink.stream.write(json.dumps(result.document(), allow_nan=False) + "\n")

    def _write_csv(self, result: Result) -> None:
        import csv

        writer = csv.writer(self._sink.stream, lineterminator="\r\n")
        if self._header_due:
            writer.writerow(result.csv_columns)
        for row in result.csv_rows():
            writer.writerow([_csv_cell(row.get(name)) for name in result.csv_columns])


_WRITERS = {TEXT: Output._write_text, JSON: Output._write_json, CSV: Output._write_csv}


def _choose_form(as_json: bool, as_csv: bool, path: str | None, form: str | None) -> str:
    asked = {name for name, given in ((JSON, as_json), (CSV, as_csv), (form, form)) if given}
    if len(asked) > 1:
        raise click.UsageError(
            f"A result has one form, not {' and '.join(sorted(map(str, asked)))}."
        )
    if asked:
        return str(asked.pop())
    return _SUFFIXES.get(os.path.splitext(path or "")[1], TEXT)


def _open_sink(path: str | None, fd: int | None, live: bool) -> _Sink:
    if path is not None:
        return _FileSink(path, at_once=live)
    if fd is None:
        return _Sink(sys.stdout)
    try:
        return _Sink(os.fdopen(fd, "w", encoding="utf-8", newline="", closefd=False))
    except OSError as refused:
        raise _cannot_write(f"descriptor {fd}", refused) from refused
