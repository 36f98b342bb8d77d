"""Files that spare a second run its work: bounded, written atomically, ignored when damaged."""

from __future__ import annotations

import contextlib
import os
import zlib

from kperf.whole_file import WholeFile

_MAX_TOTAL = 1 << 30


def cache_dir() -> str:
    """Where kperf keeps what can be made again; "" where there is no such place."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "kperf") if os.path.isabs(base) else ""


def write(path: str, data: bytes) -> None:
    """Puts `data` at `path`, whole or not at all. A cache that cannot be written is no error."""
    folder = os.path.dirname(path)
    if len(data) > _MAX_TOTAL:
        return
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _make_room(folder, len(data))
        new = WholeFile(path)
        try:
            with open(new.fd, "wb") as file:
                file.write(data)
                file.flush()
                new.appear()
        finally:
            new.abandon()


def _make_room(folder: str, size: int) -> None:
    """Removes what was used longest ago, until `size` more bytes fit."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another process does so as well
                info = entry.stat(follow_symlinks=False)
                files.append((info.st_mtime, info.st_size, entry.path))
    total = size + sum(own for _, own, _ in files)
    for _, own, path in sorted(files):
        if total <= _MAX_TOTAL:
            break
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        total -= own


def seal(data: bytes) -> bytes:
    """The data with its checksum before it."""
    return b"kperf-2 %08x\n" % zlib.crc32(data) + data


def unseal(sealed: bytes) -> bytes | None:
    """The data, or None where a byte of it was damaged."""
    head, _, data = sealed.partition(b"\n")
    return data if head == b"kperf-2 %08x" % zlib.crc32(data) else None


def read(path: str) -> bytes | None:
    """A cached file's bytes; None where there is none. Using it keeps it from being removed."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return data


def version(path: str) -> tuple[int, int]:
    """Changes whenever another file is put at `path`, and not when it is read."""
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_ino, info.st_size
