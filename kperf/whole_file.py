"""A file that appears at its path whole or not at all, also where its writer is killed.

It has no name while it is written: where the kernel ends the writer, nothing is left of it. File
systems that know no files without a name (O_TMPFILE; some network ones) have one with a name of its
own meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

# EISDIR: a kernel that does not know the flag takes the directory itself to be opened.
_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
_OPEN_FILES = "/proc/self/fd"


class WholeFile:
    """The file in the making: `fd` is written and closed by its user, after `appear()`.

    Where the path is a link, the file that it names is replaced. With `old`, what is known of that
    file, the new one belongs to the same group and may be read by the same. Raises OSError.
    """

    def __init__(self, path: str, old: os.stat_result | None = None) -> None:
        self._path = os.path.realpath(path)
        self._folder = os.path.dirname(self._path)
        self._part = ""  # the name that it has meanwhile
        self.fd = self._open()
        if old is not None:
            with suppress(OSError):
                os.fchown(self.fd, -1, old.st_gid)
            os.fchmod(self.fd, stat.S_IMODE(old.st_mode))

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        if os.path.isdir(_OPEN_FILES):  # by which it is named in the end
            try:
                return os.open(self._folder, flags | os.O_TMPFILE, 0o666)
            except OSError as refused:
                if refused.errno not in _UNKNOWN:
                    raise
        self._part = self._spare_name()
        return os.open(self._part, flags | os.O_CREAT | os.O_EXCL, 0o666)

    def _spare_name(self) -> str:
        return os.path.join(self._folder, f".kperf-{os.getpid()}-{os.urandom(6).hex()}")

    @property
    def meanwhile(self) -> str:
        """Where it can be opened while it is at no other place."""
        return self._part or f"{_OPEN_FILES}/{self.fd}"

    def _link(self, path: str) -> None:
        # With a descriptor of a directory, os.link() follows the link that stands for the file.
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(f"{_OPEN_FILES}/{self.fd}", os.path.basename(path), dst_dir_fd=folder)
        finally:
            os.close(folder)

    def appear(self) -> None:
        """Puts it at its path. Everything must be written by then, and `fd` still open."""
        if not self._part:
            with suppress(FileExistsError):
                self._link(self._path)
                return
            part = self._spare_name()
            self._link(part)
            self._part = part
        os.replace(self._part, self._path)
        self._part = ""

    def abandon(self) -> None:
        """Leaves nothing of it; behind `appear()` it does nothing."""
        part, self._part = self._part, ""
        if part:
            with suppress(OSError):
                os.unlink(part)


def cut_back(path: str, fd: int, size: int, *, remove: bool) -> None:
    """Leaves a file its first `size` bytes, or removes it; `fd` then writes to nowhere."""
    with suppress(OSError):
        # What a buffer still holds is to go nowhere: the copy of the descriptor keeps the file.
        os.ftruncate(fd, size)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, fd, inheritable=False)
        os.close(null)
    if remove:
        with suppress(OSError):
            os.unlink(path)


def replaceable(path: str) -> tuple[bool, os.stat_result | None]:
    """Whether a new file may take this one's place without a link, an owner or a device lost.

    And what it is now; None where there is none.
    """
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return True, None
    whole = stat.S_ISREG(old.st_mode) and old.st_nlink == 1 and old.st_uid == os.geteuid()
    folder = os.path.dirname(os.path.realpath(path))
    return whole and os.access(path, os.W_OK) and os.access(folder, os.W_OK), old
