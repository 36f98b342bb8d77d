"""What tests share: interpreters and forks to run things in, and a program with known counts."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_WORKER = Path(__file__).with_name("worker.py")

# A guard against tests that hang; nothing here is measured against it.
PATIENCE_S = 300

_NOBODY = 65534
_PR_SET_DUMPABLE = 4


def _may_watch_everything() -> bool:
    if os.geteuid() == 0:
        return True
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) < 0
    except OSError:
        return False


privileged = pytest.mark.skipif(
    not _may_watch_everything(),
    reason="tracepoints and whole CPUs are root's here (kernel.perf_event_paranoid)",
)
rooted = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def online_cpus() -> list[int]:
    """From the kernel, without kperf."""
    cpus: list[int] = []
    for part in Path("/sys/devices/system/cpu/online").read_text().strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


# ---- descriptors ----


def descriptors(kind: str = "") -> list[int]:
    """This process's open descriptors whose target has `kind` in its name."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
        if kind in target:
            found.append(int(name))
    return sorted(found)


def perf_descriptors() -> list[int]:
    gc.collect()
    return descriptors("anon_inode:[perf_event]")


# ---- processes ----


def run_python(
    source: str,
    *arguments: object,
    before: Sequence[str] = (),
    check: bool = True,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs source in an interpreter of its own, where the source tree cannot shadow kperf.

    `before` is the command that starts the interpreter, if not this process.
    """
    command = [*before, sys.executable, "-I", "-c", textwrap.dedent(source), *map(str, arguments)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options
    )
    if check:
        assert run.returncode == 0, f"exit {run.returncode}\n{run.stdout}\n{run.stderr}"
    return run


def ask_python(source: str, *arguments: object, **options: Any) -> Any:
    """What the source prints as its last line, read as JSON."""
    return json.loads(run_python(source, *arguments, **options).stdout.splitlines()[-1])


def in_fork(action: Callable[[], object]) -> Any:
    """What `action` returns in a forked child of this process, by way of JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, json.dumps(action()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    return json.loads(answer)


def as_nobody(action: Callable[[], object]) -> Any:
    """What `action` returns in a forked child that is an ordinary user. Imports come before."""

    def become_nobody() -> object:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
        # Its own /proc files are root's otherwise, as for a program that changed its user.
        assert ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
        return action()

    return in_fork(become_nobody)


# ---- threads ----


def together(*actions: Callable[[], object]) -> None:
    """Runs actions at once, each in a thread of its own; raises what one of them raised."""
    start = threading.Barrier(len(actions))
    failures: list[BaseException] = []

    def run(action: Callable[[], object]) -> None:
        start.wait()
        try:
            action()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# ---- a program with known counts ----


class Worker:
    """A process that writes as often as it is asked to. Every answer is one more write.

    The answer comes after the work, so that between two answers exactly the work was done.
    """

    ANSWER = 1

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self.ask("write", 0)

    def begin(self, command: str, *numbers: int) -> None:
        """Asks without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command} {' '.join(map(str, numbers))}\n".encode())
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the worker ended with {self._process.wait()}"
        return json.loads(line)

    def ask(self, command: str, *numbers: int) -> Any:
        self.begin(command, *numbers)
        return self.answer()

    def threads(self) -> list[int]:
        return sorted(int(name) for name in os.listdir(f"/proc/{self.pid}/task"))

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(PATIENCE_S)


@contextmanager
def worker() -> Iterator[Worker]:
    running = Worker()
    try:
        yield running
    finally:
        running.end()


def total(rows: Iterable[Any]) -> int:
    return sum(row.count for row in rows)
