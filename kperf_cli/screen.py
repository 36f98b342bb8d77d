"""Results on a terminal, drawn by rich: one below the other, or each in place of the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from kperf_cli.render import Column, Result, Table
from kperf_cli.words import one_line


def _narrowest(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> int:
    """The width below which even numbers and names must go over several lines."""
    folded = 12
    return sum(
        folded if column.folds else 2 + max([len(column.title), *(len(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    )


def _drawn(result: Result, width: int) -> list[Any]:
    """A result as rich draws it: title, tables and quality with empty lines between them."""
    from rich.text import Text

    table = result.table()
    parts = [part for one in (table, *table.below) for part in _drawn_table(one, width)]
    return [*parts, Text(one_line(result.quality), style="dim")]


def _drawn_table(table: Table, width: int) -> list[Any]:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, header_style="bold cyan", pad_edge=False, padding=(0, 2, 0, 0))
    cells = [[one_line(cell) for cell in row] for row in table.rows]
    is_wide = _narrowest(table.columns, cells) <= width
    for column in table.columns:
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=is_wide and not column.folds,
        )
    for row in cells:
        drawn.add_row(*map(Text, row))
    title = Text(one_line(table.title), style="bold")
    return [title, "", drawn, ""]


class Screen:
    """A terminal: results one below the other, or each in the place of the one before."""

    def __init__(self, stream: IO[str], *, in_place: bool, no_color: bool) -> None:
        from rich.console import Console

        self._console = Console(
            file=stream,
            highlight=False,
            soft_wrap=False,
            no_color=no_color or None,
            color_system=None if no_color else "auto",
        )
        self._live: Any = None
        if in_place:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()

    def show(self, result: Result) -> None:
        parts = _drawn(result, self._console.width)
        if self._live is None:
            for part in parts:
                self._console.print(part)
            return
        from rich.console import Group

        self._live.update(Group(*parts), refresh=True)

    def close(self) -> None:
        """Leaves the last result on the screen, and the cursor below it."""
        if self._live is not None:
            self._live.vertical_overflow = "visible"
            self._live.stop()
