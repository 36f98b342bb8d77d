"""The process that reads debug information, so that its memory and its crashes are not ours.

One request a line comes in, one answer a line goes out, both JSON. A request holds `path`,
`build_id` (hex), `load_address`, `cache` (a directory or ""), `addresses` and whether `inlined`
functions are wanted; an answer either the rows of the addresses as `places` packs them, and `split`
where other files tell of what was inlined, or `error`.
Lines alone come from the line programs; what was inlined takes `symbolic`, and much longer.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from kperf.symbols import cache
from kperf.symbols.image import BadFile
from kperf.symbols.linetable import LineTable
from kperf.symbols.places import Place, Row, pack

_MEMORY = 6 << 30  # what 512 MB of debug information need at the most, and the file beside it


def _cached_table(folder: str, build_id: str) -> Any | None:
    """The converted table of an earlier run. Its file's name ends with its checksum."""
    from symbolic import symcache

    tables: Any = symcache.SymCache
    if not folder or not build_id or not os.path.isdir(folder):
        return None
    for name in os.listdir(folder):
        if not name.startswith(f"{build_id}-") or not name.endswith(".symcache"):
            continue
        data = cache.read(os.path.join(folder, name))
        if data is None or name != _table_name(build_id, data):
            continue
        try:
            table = tables.from_bytes(data)
            if table.version == symcache.SYMCACHE_LATEST_VERSION:
                return table
        except Exception:  # another version's, or a damaged one: it is made again
            continue
    return None


def _table_name(build_id: str, data: bytes) -> str:
    return f"{build_id}-{zlib.crc32(data):08x}.symcache"


def _converted_table(path: str, folder: str, build_id: str) -> Any:
    from symbolic.debuginfo import Archive

    found = next(iter(Archive.open(os.fsencode(path)).iter_objects()), None)
    if found is None:
        raise ValueError("it holds no object")
    if build_id and (found.code_id or build_id) != build_id:
        raise ValueError("it was replaced meanwhile")
    table: Any = found.make_symcache()
    if folder and build_id:
        data = table.open_stream().read()
        cache.write(os.path.join(folder, _table_name(build_id, data)), data)
    return table


class _Source:
    """One file's source lines and inlined functions."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._path, self._folder = request["path"], request["cache"]
        self._build_id = request["build_id"]
        self._lowest = request["load_address"]

    def lines(self, addresses: Sequence[int]) -> list[Row]:
        """The place of each address, whatever was inlined there."""
        found = self._line_table.places(addresses)
        return [(Place("", *found[a]),) if a in found else () for a in addresses]

    def rows(self, addresses: Sequence[int]) -> list[Row]:
        """All places of each address."""
        rows = [self._row(address - self._lowest) for address in addresses]
        missing = [i for i, row in enumerate(rows) if not row or not row[0].file]
        if missing:
            with suppress(BadFile, OSError, ValueError):  # costs these lines, and not the others
                found = self.lines([addresses[i] for i in missing])
                for i, line in zip(missing, found):
                    if line:
                        function = rows[i][0].function if rows[i] else ""
                        rows[i] = (line[0]._replace(function=function), *rows[i][1:])
        return rows

    def is_split(self) -> bool:
        """Whether what was inlined is told by other files."""
        with suppress(BadFile, OSError, ValueError):
            return self._line_table.is_split
        return False

    def _row(self, address: int) -> Row:
        if not 0 <= address < 1 << 32:
            return ()
        return tuple(
            Place(found.symbol or "", found.full_path or "", found.line if found.full_path else 0)
            for found in self._table.lookup(address)
        )

    @cached_property
    def _table(self) -> Any:
        table = _cached_table(self._folder, self._build_id)
        return table or _converted_table(self._path, self._folder, self._build_id)

    @cached_property
    def _line_table(self) -> LineTable:
        return LineTable(self._path)


class _Sources:
    """The file of the last request: a module's addresses come in a row."""

    def __init__(self) -> None:
        self._key: tuple[str, str] = ("", "")
        self._source: _Source | None = None

    def get(self, request: dict[str, Any]) -> _Source:
        key = request["path"], request["build_id"]
        if self._source is None or self._key != key:
            self._source, self._key = _Source(request), key
        return self._source


def main() -> None:
    """Answers until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    gc.disable()  # rows make no cycles
    sources = _Sources()
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            source = sources.get(request)
            find = source.rows if request["inlined"] else source.lines
            answer = pack(find(request["addresses"]))
            answer["split"] = request["inlined"] and source.is_split()
        except Exception as cause:
            answer = {"error": str(cause) or type(cause).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
