"""What can go wrong: the stable codes, the exceptions, and the last error of the functional API."""

from __future__ import annotations

import threading
from enum import IntEnum
from errno import EMFILE, ENFILE, ENOMEM
from typing import Any


class Error(IntEnum):
    """Stable codes: below 100 common, 100 to 999 symbols, 1000 to 2999 collection."""

    SUCCESS = 0
    NO_MEMORY = 1
    WRITE_FAILED = 2
    INVALID_ARGUMENT = 3
    SYSTEM = 4
    FORKED = 5
    DATA_FREED = 6
    INVALID_EVENT = 1000
    INVALID_EVENT_LIST = 1001
    INVALID_PID_LIST = 1002
    INVALID_CPU_LIST = 1003
    NO_SUCH_PROCESS = 1004
    NO_PERMISSION = 1005
    DEVICE_BUSY = 1006
    NOT_SUPPORTED_BY_KERNEL = 1007
    NOT_SUPPORTED_BY_CPU = 1008
    SPE_UNAVAILABLE = 1009
    INVALID_DESCRIPTOR = 1010
    INVALID_TASK_TYPE = 1011
    INVALID_SAMPLE_RATE = 1012
    INVALID_BRANCH_FILTER = 1013
    BRANCH_FILTER_OUTSIDE_SAMPLING = 1014
    TOO_MANY_FILES = 1015
    MMAP_BUDGET = 1016
    INVALID_FIELD = 1017
    INVALID_METRIC = 1018
    INVALID_BDF = 1019
    INVALID_TRACE_TYPE = 1020
    INVALID_SYSCALL = 1021
    NO_FREQUENCY = 1022
    INVALID_CLUSTER = 1023
    INVALID_NUMA_NODE = 1024
    INVALID_FILTER = 1025
    INVALID_GROUP = 1026
    COMMAND_NOT_FOUND = 1027
    COMMAND_NOT_EXECUTABLE = 1028
    TRACEFS_UNAVAILABLE = 1029
    INVALID_CGROUP = 1030


class KperfError(Exception):
    """Something failed: what and why in `message`, what to do about it in `hint` (may be empty).

    `code` is an `Error`; `errno` is the system's number, or 0.
    """

    errno: int | None  # as in OSError, which some subclasses are as well

    def __init__(self, code: Error, message: str, *, hint: str = "", errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies, and for the way from a worker process to its parent."""
        return _again, (type(self), self.code, self.message, self.hint, self.errno or 0)


def _again(kind: type[KperfError], code: Error, message: str, hint: str, errno: int) -> KperfError:
    return kind(code, message, hint=hint, errno=errno)


class NotPermittedError(KperfError, PermissionError):
    """The kernel does not let this user do it."""


class NotSupportedError(KperfError, NotImplementedError):
    """This machine or its kernel has no such thing."""


class InvalidArgumentError(KperfError, ValueError):
    """An argument means nothing here."""


_SUBCLASSES: dict[Error, type[KperfError]] = {
    Error.NO_PERMISSION: NotPermittedError,
    Error.NOT_SUPPORTED_BY_KERNEL: NotSupportedError,
    Error.NOT_SUPPORTED_BY_CPU: NotSupportedError,
    Error.SPE_UNAVAILABLE: NotSupportedError,
    Error.TRACEFS_UNAVAILABLE: NotSupportedError,
    Error.NO_FREQUENCY: NotSupportedError,
}


def error(code: Error, message: str, *, hint: str = "", errno: int = 0) -> KperfError:
    """The exception of the right class for a code."""
    kind = _SUBCLASSES.get(code)
    if kind is None:
        kind = InvalidArgumentError if code.name.startswith("INVALID_") else KperfError
    return kind(code, message, hint=hint, errno=errno)


_SYSTEM_CODES = {
    ENOMEM: Error.NO_MEMORY,
    EMFILE: Error.TOO_MANY_FILES,
    ENFILE: Error.TOO_MANY_FILES,
}
_SYSTEM_HINTS = {
    Error.NO_MEMORY: "give this process more memory",
    Error.TOO_MANY_FILES: "close some, or raise the limit (ulimit -n)",
}


def as_kperf_error(cause: KperfError | OSError | MemoryError) -> KperfError:
    """The exception itself, or what the system refused as one of ours."""
    if isinstance(cause, KperfError):
        return cause
    if isinstance(cause, MemoryError):
        number, message = ENOMEM, "there is no memory left"
    else:
        number = cause.errno or 0
        message = f"{cause.filename or 'a system call'}: {cause.strerror or cause}"
    code = _SYSTEM_CODES.get(number, Error.SYSTEM)
    return error(code, message, hint=_SYSTEM_HINTS.get(code, ""), errno=number)


_last = threading.local()


def set_last(failure: KperfError | None) -> None:
    """Keeps the calling thread's last error for the functional API; None clears it."""
    _last.failure = failure


def last_code() -> int:
    """The code of the calling thread's last error, 0 if its last call went well."""
    failure: KperfError | None = getattr(_last, "failure", None)
    return int(failure.code) if failure else 0


def last_message() -> str:
    """One sentence on the calling thread's last error, "" if its last call went well."""
    failure: KperfError | None = getattr(_last, "failure", None)
    return str(failure) if failure else ""
