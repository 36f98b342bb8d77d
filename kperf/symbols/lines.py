"""Source lines: read by a process of their own, and kept by build-id for the next run."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from kperf.symbols import cache
from kperf.symbols.image import BadFile
from kperf.symbols.module import LineSource
from kperf.symbols.places import Row, pack, unpack

DEBUG_INFO_LIMIT = 512 << 20
_PATIENCE = 120.0  # seconds for one module: 512 MB of DWARF take about 20

_MOST_ROWS = 1 << 18  # kept of one file, the latest ones: about 20 MB

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from kperf.symbols.lines_worker import main; main()"
)


class _Worker:
    """The process that reads debug information."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        # -I: neither the working directory nor the environment may put modules in the way
        command = [sys.executable or "python3", "-I", "-c", _BOOTSTRAP, json.dumps(_import_path())]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us; it ends when we close its input
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer; OSError, EOFError or TimeoutError where none comes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read_line())
        return answer

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        deadline = time.monotonic() + _PATIENCE
        parts: list[bytes] = []
        while not parts or not parts[-1].endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError(f"it took longer than {_PATIENCE:.0f} s")
            part = os.read(fd, 1 << 20)
            if not part:
                raise EOFError("its reader ended: it ran out of memory, or the file is damaged")
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Ends the process; in a forked child it is not ours to end."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not written yet is for nobody
                    pipe.close()
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()


def _import_path() -> list[str]:
    """Ours, without what stands for the working directory, which is the user's and not kperf's."""
    return [path for path in sys.path if os.path.isabs(path)]


class _Rows:
    """What one file's addresses are known to be, in memory and on disk."""

    def __init__(self, path: str) -> None:
        self._path = path  # empty: in memory alone
        self.is_split = False
        self.known = self._load()

    def _load(self) -> dict[int, Row]:
        self._version = cache.version(self._path)
        data = cache.unseal(cache.read(self._path) or b"")
        if data is None:
            return {}
        try:
            stored = json.loads(data)
            self.is_split |= bool(stored["split"])
            return dict(zip(stored["addresses"], unpack(stored)))
        except (ValueError, KeyError, TypeError):
            return {}

    def save(self) -> None:
        """Keeps them, beside what other processes kept meanwhile."""
        if not self._path:
            return
        if cache.version(self._path) != self._version:
            self.known = {**self._load(), **self.known}
        kept = dict(islice(self.known.items(), max(0, len(self.known) - _MOST_ROWS), None))
        stored = {"addresses": list(kept), "split": self.is_split, **pack(kept.values())}
        cache.write(self._path, cache.seal(json.dumps(stored).encode()))
        self._version = cache.version(self._path)


class LineReader:
    """Addresses of files to their source lines, and to the functions inlined there if wanted."""

    def __init__(self, *, inlined: bool = False, limit: int = DEBUG_INFO_LIMIT) -> None:
        self._limit = limit
        self._inlined = inlined
        self._folder = cache.cache_dir()
        self._worker: _Worker | None = None
        self._rows: dict[object, _Rows] = {}

    def lookup(self, source: LineSource, addresses: Sequence[int]) -> list[Row]:
        """The places of each of the file's own addresses; BadFile where it cannot be read."""
        rows = self._rows_of(source)
        missing = sorted({address for address in addresses if address not in rows.known})
        if missing:
            found, is_split = self._read(source, missing)
            rows.known.update(zip(missing, found))
            rows.is_split |= is_split
            rows.save()
        return [rows.known[address] for address in addresses]

    def lacks_inlined(self, source: LineSource) -> bool:
        """Whether what was inlined is wanted, and told by other files than those that are read."""
        return self._inlined and self._rows_of(source).is_split

    def _rows_of(self, source: LineSource) -> _Rows:
        key = source.build_id or source
        rows = self._rows.get(key)
        if rows is None:
            rows = self._rows[key] = _Rows(self._rows_path(source.build_id))
        return rows

    def _rows_path(self, build_id: bytes) -> str:
        if not self._folder or not build_id:
            return ""
        kind = "inlined" if self._inlined else "lines"
        return os.path.join(self._folder, "lines", f"{build_id.hex()}.{kind}")

    def _read(self, source: LineSource, addresses: list[int]) -> tuple[list[Row], bool]:
        if source.debug_info_size > self._limit:
            raise BadFile(
                f"it has {source.debug_info_size >> 20} MB of debug information, more than the "
                f"{self._limit >> 20} MB that kperf reads, so its lines are not shown",
                "build it with -g1, which keeps the lines and little else",
            )
        request = {
            "path": source.path,
            "build_id": source.build_id.hex(),
            "load_address": source.load_address,
            "cache": os.path.join(self._folder, "symcache") if self._folder else "",
            "inlined": self._inlined,
            "addresses": [address + source.shift for address in addresses],
        }
        try:
            if self._worker is None:
                self._worker = _Worker()
            answer = self._worker.ask(request)
            if "error" not in answer:
                return unpack(answer), bool(answer.get("split"))
        except (OSError, EOFError, ValueError) as cause:
            self.close()
            raise BadFile(f"its source lines cannot be read ({cause})", _FIX) from cause
        reason = " ".join(str(answer["error"]).split())
        raise BadFile(f"its source lines cannot be read ({reason})", _FIX)

    def close(self) -> None:
        """Ends the process that reads."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __del__(self) -> None:
        self.close()


_FIX = "build it again with -g, or install its debug package again"
