"""The bytes of a file that nobody vouches for: every read is bounded, and none maps the file.

A mapped file that somebody shortens kills its reader with SIGBUS; pread only returns less.
"""

from __future__ import annotations

import os
import stat


class BadFile(Exception):  # noqa: N818 - it says what the file is
    """A file that cannot be used: why, and what to do about it."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix


TRUNCATED = "install the file again: it is shorter than its headers say"


class Image:
    """Bytes with a size, read at an offset."""

    size: int

    def _pread(self, size: int, offset: int) -> bytes:
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes; BadFile where there are fewer."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BadFile("it is truncated or damaged", TRUNCATED)
        parts = []
        while size > 0:
            part = self._pread(min(size, 1 << 30), offset)
            if not part:
                raise BadFile("it was shortened while it was read", TRUNCATED)
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Frees what it holds."""


class BytesImage(Image):
    """An image in memory."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def _pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]


class FileImage(Image):
    """A regular file. Anything else (a pipe would block, a device would act) raises BadFile."""

    _fd = -1

    def __init__(self, path: str, flags: int = 0) -> None:
        self.path = path
        flags |= os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._fd = os.open(path, flags)
        self.stat = os.fstat(self._fd)
        if not stat.S_ISREG(self.stat.st_mode):
            self.close()
            raise BadFile("it is no regular file", "nothing is to be done: it holds no symbols")
        self.size = self.stat.st_size

    def _pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
