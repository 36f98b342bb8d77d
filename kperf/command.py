"""A launched command, held before its exec until the counters are open."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence

from kperf._core import ffi, lib
from kperf._native import last_failure, plain_error
from kperf.closing import Closing
from kperf.errors import Error, KperfError, error

# A session raises this process's limit for itself; what is launched gets the limit as it was.
_FILES_SOFT, _FILES_HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
_NO_LIMIT = (1 << 64) - 1


def _limit(value: int) -> int:
    return _NO_LIMIT if value == resource.RLIM_INFINITY else value


def _find(name: str, env: Mapping[str, str]) -> str:
    """The file that a shell would run. Raises where there is none, or only one that may not run."""
    refused = ""
    if "/" in name:
        candidates = [name]
    else:
        path = env.get("PATH", os.defpath)
        candidates = [os.path.join(directory or ".", name) for directory in path.split(os.pathsep)]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
        if os.path.exists(candidate) and (not refused or not os.path.isdir(candidate)):
            refused = candidate
    if refused:
        raise _not_executable(refused)
    raise error(
        Error.COMMAND_NOT_FOUND,
        f"there is no command '{name}'",
        hint="check the path" if "/" in name else "check the spelling, or give its whole path",
    )


def _not_executable(path: str) -> KperfError:
    is_dir = os.path.isdir(path)
    return error(
        Error.COMMAND_NOT_EXECUTABLE,
        f"{path} is a directory" if is_dir else f"{path} may not be executed",
        hint="name a program in it" if is_dir else f"make it executable: chmod +x {path}",
    )


class Command(Closing):
    """A child that waits before its exec, so that it is measured from its first instruction.

    `start()` lets it go. Leaving the `with` block ends a child that was never started; one that was
    is left alone, and its status is the caller's to collect (`os.waitpid(command.pid, 0)`).
    Raises `KperfError` with COMMAND_NOT_FOUND or COMMAND_NOT_EXECUTABLE.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        if not argv or not argv[0]:
            raise error(Error.INVALID_ARGUMENT, "there is no command to launch")
        if any("\0" in argument for argument in argv):
            raise error(Error.INVALID_ARGUMENT, "an argument of the command has a NUL byte")
        self.argv = list(argv)
        self._env = dict(os.environ if env is None else env)
        self._path = _find(argv[0], self._env)
        out = ffi.new("struct kp_child **")
        arguments = self._strings(self.argv)
        script = self._strings(["/bin/sh", self._path, *self.argv[1:]])
        pairs = self._strings([f"{name}={value}" for name, value in self._env.items()])
        path = ffi.new("char[]", os.fsencode(self._path))
        soft, hard = _limit(_FILES_SOFT), _limit(_FILES_HARD)
        if lib.kp_child_create(path, arguments[0], script[0], pairs[0], soft, hard, out) != 0:
            raise plain_error(last_failure())
        self._child = out[0]
        self.pid: int = lib.kp_child_pid(self._child)

    @staticmethod
    def _strings(texts: Sequence[str]) -> tuple[object, list[object]]:
        """A NULL-terminated char *[], and what must live as long as it."""
        kept = [ffi.new("char[]", os.fsencode(text)) for text in texts]
        return ffi.new("char *[]", [*kept, ffi.NULL]), kept

    def start(self) -> None:
        """Lets the child exec. Raises where the kernel refuses the file after all."""
        if self._child is None:
            raise error(Error.INVALID_ARGUMENT, "the command was closed")
        if lib.kp_child_release(self._child) != 0:
            failure = last_failure()
            if failure.code in (Error.COMMAND_NOT_FOUND, Error.COMMAND_NOT_EXECUTABLE):
                os.waitpid(self.pid, 0)
                cause = os.strerror(failure.errno)
                raise error(
                    failure.code,
                    f"{self._path} cannot be executed ({cause})",
                    hint="check that its interpreter exists and is for this machine",
                    errno=failure.errno,
                )
            raise plain_error(failure)

    def close(self) -> None:
        """Ends a child that was never started. May be called again."""
        if self._child is not None:
            lib.kp_child_destroy(self._child)
            self._child = None
