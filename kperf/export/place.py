"""Where a profile is written: a file appears whole or not at all, or grows by whole lines."""

from __future__ import annotations

import fcntl
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from kperf.errors import Error, KperfError, error
from kperf.whole_file import WholeFile, cut_back, replaceable
from kperf.write_fixes import fix_of

_BUFFER = 1 << 18


def refused(path: str, cause: OSError) -> KperfError:
    """What is raised where a profile's file cannot be written."""
    return error(
        Error.WRITE_FAILED,
        f"cannot write {path} ({cause.strerror or cause})",
        hint=fix_of(cause),
        errno=cause.errno or 0,
    )


# Names of descriptors that are open already: opened again by name, a file would begin anew under
# the one who redirected it.
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


def _descriptor_of(path: str) -> int | None:
    found = _DESCRIPTOR.fullmatch(path)
    return int(found[1]) if found else _STREAMS.get(path)


def _file(fd: int) -> BinaryIO:
    return os.fdopen(fd, "wb", buffering=_BUFFER)


@contextmanager
def _closing(file: BinaryIO) -> Iterator[BinaryIO]:
    """Closes it in any case; what is still in its buffer must go well unless something did not."""
    try:
        yield file
        file.close()
    finally:
        with suppress(OSError):
            file.close()


# ---- in place of an old file ----


@contextmanager
def _new_file(path: str, old: os.stat_result | None) -> Iterator[BinaryIO]:
    new = WholeFile(path, old)
    try:
        with _closing(_file(new.fd)) as file:
            yield file
            file.flush()
            new.appear()
    finally:
        new.abandon()


class _OldFile(io.FileIO):
    """A file that only its own bytes may change: the old ones go when there are new ones."""

    _is_old = True

    def write(self, data: Any) -> int:
        self.empty()
        return super().write(data)

    def empty(self) -> None:
        if self._is_old and stat.S_ISREG(os.fstat(self.fileno()).st_mode):
            self.truncate(0)
        self._is_old = False


@contextmanager
def _open_file(path: str) -> Iterator[BinaryIO]:
    """A device, a pipe, or a file with links or an owner to keep: written as it is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    old = _OldFile(fd, "wb")
    with _closing(io.BufferedWriter(old, _BUFFER)) as file:
        yield file
        old.empty()


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Has what cannot be written told as `KperfError`."""
    if not path or "\0" in path:
        raise error(
            Error.WRITE_FAILED, f"{path!r} is no name of a file", hint="give the path of a file"
        )
    try:
        yield
    except KperfError:
        raise
    except OSError as cause:
        raise refused(path, cause) from cause


def _place(path: str) -> Iterator[BinaryIO]:
    fd = _descriptor_of(path)
    if fd is not None:
        with _closing(_file(os.dup(fd))) as file:
            yield file
        return
    may_replace, old = replaceable(path)
    with _new_file(path, old) if may_replace else _open_file(path) as file:
        yield file


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write, which takes the old one's place when all is written.

    Devices, pipes and descriptors (/dev/stdout) are written as they are. Raises `KperfError`.
    """
    with _refusing(path):
        yield from _place(path)


# ---- behind what is there ----


def _append_to(path: str) -> Iterator[BinaryIO]:
    is_new = not os.path.lexists(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    with _closing(_file(fd)) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            yield file
            return
        fcntl.flock(fd, fcntl.LOCK_EX)  # others that append wait: what is cut off must be ours
        before = os.fstat(fd).st_size
        try:
            yield file
            file.flush()
        except BaseException:
            cut_back(path, fd, before, remove=is_new)
            raise


@contextmanager
def appending(path: str) -> Iterator[BinaryIO]:
    """A file to add to: all of it, or nothing. Raises `KperfError`."""
    with _refusing(path):
        yield from _append_to(path) if _descriptor_of(path) is None else _place(path)
