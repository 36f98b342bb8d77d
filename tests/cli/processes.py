"""The installed command as a process: run to its end, held while it runs, or on a terminal."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import sysconfig
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from support import PATIENCE_S

KPERF = Path(sysconfig.get_path("scripts")) / "kperf"
ORDINARY_USER = 65534
_LAST_BREATH_S = 3

Argument = Union[str, bytes, Path, int]


# ---- results ----


@dataclass
class Done:
    """How one call ended, and what it wrote."""

    status: int
    out: str
    err: str = ""

    def documents(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, whatever a launched command wrote before them."""
        return documents_in(self.out)

    def document(self) -> dict[str, Any]:
        (only,) = self.documents()
        return only

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.document()["rows"]
        return rows

    def row(self, event: str) -> dict[str, Any]:
        (only,) = (row for row in self.rows() if row["event"] == event)
        return only

    def records(self) -> list[dict[str, str]]:
        """The records of a CSV result; one after a command begins on a line of its own."""
        return records_in(self.out.lstrip("\n"))

    def lines(self) -> list[str]:
        return self.out.splitlines()

    def error(self) -> str:
        """The one line that says what went wrong; fails where there are more, or none."""
        (line,) = self.err.splitlines()
        assert line.startswith("kperf"), line
        return line


def documents_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"schema"')]


def records_in(text: str) -> list[dict[str, str]]:
    """The records of RFC 4180 text with a header."""
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


# ---- processes ----


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives, once that is true."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.005)
    return value


def _session_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[3])
    except OSError:
        return -1


def _members_of(session: int) -> list[int]:
    """The processes of a session, but its leader."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != session and _session_of(pid) == session]


def _left_behind(session: int) -> list[int]:
    """Who stays in a session whose leader has gone; ended here. What is just ending may do so."""
    end = time.monotonic() + _LAST_BREATH_S
    while (left := _members_of(session)) and time.monotonic() < end:
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _has_counters(pid: int) -> bool:
    try:
        targets = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any("perf_event" in target or "bpf" in target for target in targets)


def is_measuring(pid: int) -> bool:
    """Whether a profiler has opened its counters, and now sleeps until what it measures ends."""
    try:
        sleeps_in = Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False
    return _has_counters(pid) and any(call in sleeps_in for call in ("poll", "nanosleep", "wait"))


class Running:
    """A process that runs until it ends, or its test does. It leads a session of its own."""

    def __init__(self, *argv: Argument, **options: Any) -> None:
        self.process = subprocess.Popen(
            [argument if isinstance(argument, bytes) else str(argument) for argument in argv],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            start_new_session=True,
            **options,
        )
        self.pid = self.process.pid

    def wait_for_counters(self) -> None:
        """Returns when it counts."""
        wait_until(lambda: is_measuring(self.pid) or self.process.poll() is not None, "counters")
        assert self.process.poll() is None, f"it ended early: {self.finish()}"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """As a terminal does."""
        os.killpg(self.pid, number)

    def finish(self, text: bytes | None = None) -> Done:
        """How it ended. Fails where it shows a traceback."""
        out, err = self.process.communicate(text, timeout=PATIENCE_S)
        done = Done(self.process.returncode, *map(_decoded, (out, err)))
        assert "Traceback" not in done.err, done.err
        assert "Exception ignored" not in done.err, done.err
        return done

    def end(self) -> list[int]:
        """Ends it if it still runs; returns what it left behind, which is ended as well."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait()
        return _left_behind(self.pid)


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")


# ---- another user ----

# Shows the places that it is told in directories that were closed to others (root's home), with
# nothing else in them. Nobody but the command that follows sees that.
_OPEN_UP = """
    mount -t tmpfs none /mnt
    number=0
    for place in $1; do
        mkdir /mnt/$number; mount --bind "$place" /mnt/$number; number=$((number + 1))
    done
    for folder in $2; do mount -t tmpfs -o mode=755 none "$folder"; done
    number=0
    for place in $1; do
        mkdir -p "$place"; mount --bind /mnt/$number "$place"; number=$((number + 1))
    done
    shift 2
    exec "$@"
"""


def _closed_part(path: Path) -> Path | None:
    """The outermost directory on the way to a place that only its owner may enter."""
    closed = (part for part in (*reversed(path.parents), path) if not part.stat().st_mode & 0o001)
    return next(closed, None)


def private_mounts(script: str, *arguments: str) -> list[str]:
    """The words before a command that let a script of bash change mounts for it alone."""
    return ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script, *arguments]


def user_prefix() -> list[str]:
    """The words before a command that make it an ordinary user's; none for whom is one already."""
    if os.geteuid() != 0:
        return []
    user = ["setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
    places = {Path(os.path.realpath(place)) for place in (sys.prefix, sys.base_prefix)}
    closed = {place: part for place in places if (part := _closed_part(place)) is not None}
    if not closed:
        return user
    words = (" ".join(map(str, names)) for names in (sorted(closed), sorted({*closed.values()})))
    return [*private_mounts(_OPEN_UP, "bash", *words), *user]


# ---- terminals ----

_OF_THE_TERMINAL = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM"}


class Terminal:
    """A program on a terminal of its own."""

    def __init__(
        self, *argv: Argument, columns: int = 100, env: Mapping[str, str] | None = None
    ) -> None:
        words = [str(argument) for argument in argv]
        plain = {name: os.environ[name] for name in os.environ if name not in _OF_THE_TERMINAL}
        environment = {**plain, "TERM": "xterm-256color", **(env or {})}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(words[0], words, environment)
            finally:
                os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.seen = ""
        self._status: int | None = None

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def read_until(self, text: str) -> None:
        wait_until(lambda: self._read() and text in self.seen, f"{text!r} in {self.seen!r}")

    def _read(self) -> bool:
        """Takes what there is; False when the terminal has closed."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(1000):
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: the last process has closed it
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def wait_for_counters(self) -> None:
        wait_until(lambda: is_measuring(self.pid), "counters")

    def finish(self) -> Done:
        wait_until(lambda: not self._read(), "the end of the terminal's session")
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert "Traceback" not in self.seen, self.seen
        return Done(self._status, self.seen)

    def end(self) -> list[int]:
        """Ends it if it still runs; returns what it left behind, which is ended as well."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)
        return _left_behind(self.pid)
