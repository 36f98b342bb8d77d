"""Places that a result is written to: standard output, a descriptor, a file."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import IO, Any

import click

from kperf.whole_file import WholeFile, cut_back, replaceable
from kperf.write_fixes import fix_of


class CannotWriteError(click.ClickException):
    """The result has no place: a file's or descriptor's name, why, and what to do."""

    exit_code = 1


def cannot_write(name: str, refused: OSError, afterword: str = "") -> CannotWriteError:
    reason = f"cannot write {name} ({refused.strerror})"
    return CannotWriteError(f"{reason}: {fix_of(refused)}{afterword}")


class Sink:
    """A stream to write to, under the name that an error calls it."""

    def __init__(self, stream: IO[str], name: str) -> None:
        self.stream = stream
        self.name = name

    def begin(self) -> None:
        """Called before the first result."""

    def keep(self) -> None:
        """Called when a result, or a piece of one, was written to its end."""

    def finish(self) -> None:
        """Makes it count. Raises OSError."""
        self.stream.flush()

    def abandon(self) -> None:
        """Leaves nothing half done, and nothing that is written later."""


class _Descriptor(Sink):
    """A descriptor of the caller's: closed by whoever opened it."""

    def __init__(self, fd: int) -> None:
        stream = os.fdopen(fd, "w", encoding="utf-8", newline="", closefd=False)
        super().__init__(stream, f"descriptor {fd}")
        if fd > 2:
            os.set_inheritable(fd, False)  # a launched command has no business with it

    def abandon(self) -> None:
        with suppress(OSError):
            self.stream.close()


class _NewFile(Sink):
    """A file that appears whole or not at all."""

    def __init__(self, path: str, old: os.stat_result | None) -> None:
        self._file = WholeFile(path, old)
        super().__init__(os.fdopen(self._file.fd, "w", encoding="utf-8", newline=""), path)

    def finish(self) -> None:
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self._file.appear()
        self.stream.close()

    def abandon(self) -> None:
        with suppress(OSError):
            self.stream.close()
        self._file.abandon()


class _OpenFile(Sink):
    """A file that is written as it is: a device, a pipe, or one whose lines come one by one."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._is_ours = not os.path.lexists(path)
        self._begun = False
        self._whole = 0  # bytes of what was written to its end
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._has_length = stat.S_ISREG(os.fstat(fd).st_mode)
        super().__init__(os.fdopen(fd, "w", encoding="utf-8", newline=""), name)

    def begin(self) -> None:
        """An old file's text goes when there is something to put in its place."""
        self._begun = True
        if self._has_length:
            os.ftruncate(self.stream.fileno(), 0)

    def keep(self) -> None:
        if self._has_length:
            self._whole = os.lseek(self.stream.fileno(), 0, os.SEEK_CUR)

    def finish(self) -> None:
        self.stream.close()

    def abandon(self) -> None:
        """A line that has no room is not left in half: a number cut short is another number."""
        if self._begun and self._has_length and not self.stream.closed:
            cut_back(self._path, self.stream.fileno(), self._whole, remove=False)
        with suppress(OSError):
            self.stream.close()
        if self._is_ours and not self._whole:
            with suppress(OSError):
                os.unlink(self._path)


def _open_file(path: str, *, live: bool) -> Sink:
    """What is replaced is a plain file of our own; the others keep their owner and their links."""
    may_replace, old = replaceable(path)
    if live or not may_replace:
        return _OpenFile(path, path)
    return _NewFile(path, old)


def _open_stdout(*, as_utf8: bool) -> Sink:
    stream: Any = sys.stdout
    if stream is None:
        raise CannotWriteError("cannot write standard output (it is closed): name a file with -o")
    stream.reconfigure(encoding="utf-8" if as_utf8 else None, errors="backslashreplace")
    return Sink(stream, "standard output")


def open_sink(path: str | None, fd: int | None, *, live: bool, as_utf8: bool) -> Sink:
    """The place for a result. `live`: written piece by piece. Raises CannotWriteError."""
    try:
        if path is not None:
            return _open_file(path, live=live)
        return _Descriptor(fd) if fd is not None else _open_stdout(as_utf8=as_utf8)
    except OSError as refused:
        raise cannot_write(path or f"descriptor {fd}", refused) from refused
