"""Symbols of JIT compilers: /tmp/perf-PID.map, as Node, Java and Python write it."""

from __future__ import annotations

import os

from kperf.symbols.image import BadFile, FileImage
from kperf.symbols.index import IndexBuilder, SymbolIndex

_MAX_BYTES = 1 << 30


def _status(root: str, pid: int, key: str) -> list[str]:
    """The words of one line of /proc/PID/status."""
    try:
        with open(f"{root}/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(f"{key}:"):
                    return line.split()[1:]
    except OSError:
        pass
    return []


def _paths(root: str, pid: int) -> list[str]:
    """Where the map may be: in the process's own /tmp, under its own idea of its pid."""
    inner = _status(root, pid, "NSpid")[-1:] or [str(pid)]
    return [f"{root}/proc/{pid}/root/tmp/perf-{inner[0]}.map", f"{root}/tmp/perf-{pid}.map"]


def _is_trusted(image: FileImage, owners: list[str]) -> bool:
    """Anybody may write to /tmp: a map counts if the process's user, root or we wrote it."""
    return not owners or image.stat.st_uid in {0, os.geteuid(), *map(int, owners)}


class PerfMaps:
    """The maps of all processes, read again when they have grown."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._read: dict[tuple[int, int], tuple[tuple[int, int], SymbolIndex]] = {}

    def index(self, pid: int) -> SymbolIndex | None:
        """The symbols of a process's JIT code; None where it wrote no map.

        Raises BadFile for a map that cannot be used.
        """
        owners = _status(self._root, pid, "Uid")
        for path in _paths(self._root, pid):
            try:
                image = FileImage(path, os.O_NOFOLLOW)  # a link there may lead out of a container
            except OSError:
                continue
            try:
                if not _is_trusted(image, owners):
                    raise BadFile(
                        "it belongs to another user than its process",
                        "remove it, and let the program write it anew",
                    )
                return self._parse(image)
            finally:
                image.close()
        return None

    def _parse(self, image: FileImage) -> SymbolIndex:
        info = image.stat
        key, state = (info.st_dev, info.st_ino), (info.st_size, info.st_mtime_ns)
        kept = self._read.get(key)
        if kept is not None and kept[0] == state:
            return kept[1]
        if image.size > _MAX_BYTES:
            raise BadFile(
                f"it has {image.size} bytes", "write a new one: kperf does not read so much"
            )
        builder = IndexBuilder()
        builder.add_perf_map(image.read(0, image.size))
        index = builder.finish()
        self._read[key] = (state, index)
        return index
