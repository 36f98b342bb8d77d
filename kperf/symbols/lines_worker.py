"""The process that reads debug information, so that its memory and its crashes are not ours.

One request a line comes in, one answer a line goes out, both JSON. A request holds `path`,
`build_id` (hex), `load_address`, `cache` (a directory or "") and `addresses`; an answer either the
rows of the addresses as `places` packs them, or `error`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import zlib
from typing import Any

from kperf.symbols import cache
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


class _Tables:
    """The table of the last request: a module's addresses come in a row."""

    def __init__(self) -> None:
        self._key: tuple[str, str] = ("", "")
        self._table: Any = None

    def get(self, path: str, folder: str, build_id: str) -> Any:
        if self._table is None or self._key != (path, build_id):
            table = _cached_table(folder, build_id)
            self._table = table or _converted_table(path, folder, build_id)
            self._key = (path, build_id)
        return self._table


def _row(table: Any, address: int) -> Row:
    if not 0 <= address < 1 << 32:
        return ()
    return tuple(
        Place(found.symbol or "", found.full_path or "", found.line if found.full_path else 0)
        for found in table.lookup(address)
    )


def _answer(request: dict[str, Any], tables: _Tables) -> dict[str, Any]:
    table = tables.get(request["path"], request["cache"], request["build_id"])
    lowest = request["load_address"]
    return pack(_row(table, address - lowest) for address in request["addresses"])


def main() -> None:
    """Answers until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    tables = _Tables()
    for line in sys.stdin.buffer:
        try:
            answer = _answer(json.loads(line), tables)
        except Exception as cause:
            answer = {"error": str(cause) or type(cause).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
