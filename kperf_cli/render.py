"""The one place that writes results: tables for people, plain text for pipes, JSON and CSV."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import kperf
from kperf_cli.sinks import CannotWriteError, cannot_write, open_sink
from kperf_cli.words import one_line

if TYPE_CHECKING:  # rich takes its time, and a pipe has no use for it
    from kperf_cli.screen import Screen

SCHEMA = 1

TEXT, JSON, CSV = FORMS = ("text", "json", "csv")
_SUFFIXES = {".json": JSON, ".csv": CSV}


class Column(NamedTuple):
    """One column of a table for people."""

    title: str
    right: bool = False
    folds: bool = False  # words that may go over several lines where a terminal is narrow


class Table(NamedTuple):
    """A table for people: a line above, cells as they are shown, and tables below it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    below: Sequence[Table] = ()


class Result(NamedTuple):
    """One result in every form; only the form that is asked for is made.

    `quality` is the line below a table, which CSV has on standard error.
    """

    quality: str
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


_SIZES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_BARS = ("▁▂▃▄▅▆▇█", "_.-~=+*#")  # the second where a terminal has no such characters


def _scaled(number: float) -> str:
    """A number with its size: 1.23 M."""
    for size, letter in _SIZES:
        if abs(number) >= size:
            return f"{number / size:,.2f} {letter}"
    return f"{number:,.0f} " if number == round(number) else f"{number:,.2f} "


def show_rate(value: float, unit: str) -> str:
    """A metric's value: bandwidths in GB/s, rates with their size, shares in percent."""
    if unit == "B/s":
        billions = value / 1e9
        return f"{billions:,.3f} GB/s" if billions >= 0.1 or not value else f"{billions:.6f} GB/s"
    if unit == "ratio":
        return f"{value:.2%}"
    return f"{_scaled(value)}{unit}" if unit == "/s" else f"{value:,.2f} {unit}"


def show_amount(count: float | None, unit: str) -> str:
    """What a rate adds up to: bytes with their size, counts in full."""
    if count is None:
        return "-"
    if unit == "Bytes":
        return f"{_scaled(count)}B"
    return f"{count:,.2f} {unit}" if unit == "Joules" else f"{count:,.0f}"


def show_history(shares: Sequence[float | None]) -> str:
    """Shares of a maximum as a small line of bars, the newest at its end."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    bars = _BARS[0] if encoding.lower().startswith("utf") else _BARS[1]
    last = len(bars) - 1
    return "".join(" " if v is None else bars[round(min(max(v, 0), 1) * last)] for v in shares)


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


def _plain_table(table: Table) -> list[str]:
    """The lines of a table without colour and boxes: columns two spaces apart."""
    cells = [[column.title for column in table.columns]]
    cells += [[one_line(cell) for cell in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = [one_line(table.title), ""]
    for row in cells:
        parts = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns)
        ]
        lines.append("  ".join(parts).rstrip())
    for other in table.below:
        lines += ["", *_plain_table(other)]
    return lines


def _plain_text(result: Result) -> str:
    return "\n".join([*_plain_table(result.table()), "", one_line(result.quality), ""])


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def csv_rows(rows: Iterable[Iterable[Any]]) -> str:
    """Records as RFC 4180 has them."""
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


# ---- where it goes ----


def can_go_back() -> bool:
    """Whether the terminal can draw over what it has shown."""
    return os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _stdout_has_text() -> bool:
    """Whether a launched command may have left standard output in the middle of a line."""
    try:
        return os.lseek(sys.stdout.fileno(), 0, os.SEEK_CUR) > 0
    except OSError:
        return True


def _shown(result: Result) -> bool:
    """Whether standard output took the result as text."""
    try:
        sys.stdout.write("\n" + _plain_text(result))
        sys.stdout.flush()
    except (OSError, AttributeError):
        return False
    return True


class Output:
    """Where a command's results go, and in which form.

    As a context: a result that is whole appears, one that is not leaves nothing behind.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        as_csv: bool,
        path: str | None,
        form: str | None,
        fd: int | None,
        quiet: bool,
        no_color: bool,
        live: bool = False,
        in_place: bool = False,
        after_command: bool = False,
    ) -> None:
        self.form = _choose_form(as_json, as_csv, path, form)
        if path is not None and fd is not None:
            raise click.UsageError("-o and --output-fd are two places: leave one out")
        self._quiet = quiet
        self._to_stdout = path is None and fd is None
        self._after_command = after_command
        self._last: Result | None = None
        self._has_parts = False
        self._said = ""
        self._sink = open_sink(path, fd, live=live, as_utf8=self.form != TEXT)
        self._on_terminal = self._to_stdout and sys.stdout.isatty()
        colorless = no_color or bool(os.environ.get("NO_COLOR"))
        self._in_place = in_place and self._on_terminal and can_go_back()
        self._screen: Screen | None = None
        self._rich = self._on_terminal and (self._in_place or not colorless)
        self._colorless = colorless

    def write(self, result: Result) -> None:
        """Writes one result, and hands it over at once."""
        is_first = self._last is None and not self._has_parts
        self._last = result
        self._hand_over(is_first, lambda: _WRITERS[self.form](self, result, is_first))
        self.tell(result.quality)

    def tell(self, quality: str) -> None:
        """The quality line of what was written, where its form has no place for it."""
        if self.form == CSV and not self._quiet:
            self._say(one_line(quality))

    def write_part(self, text: str) -> None:
        """Writes a piece of a result whose rows come one by one."""
        is_first, self._has_parts = not self._has_parts, True
        self._hand_over(is_first, lambda: self._sink.stream.write(text))

    def _hand_over(self, is_first: bool, write: Callable[[], object]) -> None:
        try:
            if is_first:
                self._sink.begin()
            if self._needs_line(is_first) and (is_first or not self._has_parts):
                self._sink.stream.write("\n")
            write()
            self._sink.stream.flush()
            self._sink.keep()
        except BrokenPipeError:
            raise
        except OSError as refused:
            raise self._not_written(refused) from refused

    def _say(self, quality: str) -> None:
        """The quality line on standard error, once as long as it is the same."""
        if quality != self._said:
            click.echo(f"kperf: {quality}", err=True)
            self._said = quality

    def _needs_line(self, is_first: bool) -> bool:
        """Whether an empty line sets a result off from what stands before it."""
        if not is_first:
            return self.form == TEXT and not self._in_place
        if not self._to_stdout:
            return False
        if self.form == TEXT:
            return self._after_command or self._on_terminal
        return self._after_command and _stdout_has_text()

    def _not_written(self, refused: OSError) -> CannotWriteError:
        """The error for a result without a place: standard output shows it instead, if it can."""
        self._sink.abandon()
        shown = not self._to_stdout and self._last is not None and _shown(self._last)
        afterword = "; the result is on standard output" if shown else ""
        return cannot_write(self._sink.name, refused, afterword)

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._screen is not None:
            self._screen.close()
        if kind is not None:
            self._sink.abandon()
            return
        try:
            self._sink.finish()
        except BrokenPipeError:
            raise
        except OSError as refused:
            raise self._not_written(refused) from refused

    def _write_text(self, result: Result, _is_first: bool) -> None:
        if not self._rich:
            self._sink.stream.write(_plain_text(result))
            return
        if self._screen is None:
            from kperf_cli.screen import Screen

            self._screen = Screen(
                self._sink.stream, in_place=self._in_place, no_color=self._colorless
            )
        self._screen.show(result)

    def _write_json(self, result: Result, _is_first: bool) -> None:
        import json

        self._sink.stream.write(json.dumps(result.document(), allow_nan=False) + "\n")

    def _write_csv(self, result: Result, is_first: bool) -> None:
        columns = result.csv_columns
        header = [columns] if is_first else []
        rows = ([row.get(name) for name in columns] for row in result.csv_rows())
        self._sink.stream.write(csv_rows(chain(header, rows)))


_WRITERS = {TEXT: Output._write_text, JSON: Output._write_json, CSV: Output._write_csv}


def make_output(
    given: Mapping[str, Any],
    *,
    no_color: bool,
    live: bool = False,
    in_place: bool = False,
    after_command: bool = False,
) -> Output:
    """The place and form that `options.output_options` were given. Raises CannotWriteError."""
    return Output(
        as_json=given["as_json"],
        as_csv=given["as_csv"],
        path=given["output"],
        form=given["form"],
        fd=given["output_fd"],
        quiet=given["quiet"],
        no_color=no_color,
        live=live,
        in_place=in_place,
        after_command=after_command,
    )


def _choose_form(as_json: bool, as_csv: bool, path: str | None, form: str | None) -> str:
    asked = {name for name, given in ((JSON, as_json), (CSV, as_csv), (form, form)) if given}
    if len(asked) > 1:
        forms = " and ".join(sorted(map(str, asked)))
        raise click.UsageError(f"a result has one form, not {forms}: leave one out")
    if asked:
        return str(asked.pop())
    return _SUFFIXES.get(os.path.splitext(path or "")[1], TEXT)
