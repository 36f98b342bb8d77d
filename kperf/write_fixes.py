"""What to do where a file cannot be written, by the cause."""

from __future__ import annotations

import errno

_FIXES = {
    errno.ENOENT: "make its directory first",
    errno.ENOTDIR: "make its directory first",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that is not mounted read-only",
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some of your quota, or choose another place",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or record less",
    errno.EPIPE: "keep its reader running to the end",
    errno.EBADF: "open that descriptor for writing, or name a file",
}


def fix_of(cause: OSError) -> str:
    """The words behind the colon of an error."""
    return _FIXES.get(cause.errno or 0, "choose another place")
