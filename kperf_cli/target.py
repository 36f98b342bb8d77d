"""Whom a command measures, for how long, and what ends it: launching, attaching, signals."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import click

from kperf import Command
from kperf_cli.words import clean

_POLL_NS = 50_000_000  # how often to look where the kernel has no descriptor for a process
_SHOW_NS = 250_000_000  # how often progress is shown
_LONGEST_MS = 1_000_000_000  # poll() takes an int
_GRACE_NS = 500_000_000  # for a command that got the terminal's Ctrl-C as well


class Target(NamedTuple):
    """What the command line named."""

    argv: list[str]
    pids: list[int]
    tids: list[int]
    cpus: list[int]
    system: bool
    cgroup: str

    @property
    def counts_command(self) -> bool:
        """Whether the launched command is what is measured, and not only how long."""
        return bool(self.argv) and not (self.pids or self.tids or self.system or self.cpus)

    def describe(self) -> str:
        parts = []
        if self.argv:
            import shlex

            parts.append(f"'{shlex.join(self.argv)}'")
        for word, numbers in (("process", self.pids), ("thread", self.tids), ("CPU", self.cpus)):
            if numbers:
                parts.append(f"{word} {','.join(map(str, numbers))}")
        if self.cgroup:
            parts.append(f"cgroup {self.cgroup}")
        if self.system and not (self.pids or self.tids):
            parts.append("the whole system")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, object]:
        named: dict[str, object] = {
            "argv": [clean(argument) for argument in self.argv],
            "pids": self.pids,
            "tids": self.tids,
            "cpus": self.cpus,
            "cgroup": self.cgroup,
        }
        known = {name: value for name, value in named.items() if value}
        return {**known, "system": True} if self.system or not known else known


def make_target(
    argv: Sequence[str],
    pids: list[int] | None,
    tids: list[int] | None,
    cpus: list[int] | None,
    all_cpus: bool,
    cgroup: str | None = None,
) -> Target:
    """Checks that the options name somebody, and do not contradict each other."""
    target = Target(list(argv), pids or [], tids or [], cpus or [], all_cpus, cgroup or "")
    if all_cpus and cpus:
        raise click.UsageError("-a is all CPUs and -C some of them: leave one out")
    if cgroup and not (all_cpus or cpus):
        raise click.UsageError("a cgroup is counted CPU by CPU: add -a, or -C LIST")
    if cgroup and (pids or tids):
        raise click.UsageError(
            "a cgroup and processes cannot be counted at once: leave -G, or -p and -t out"
        )
    if not (argv or pids or tids or cpus or all_cpus):
        raise click.UsageError(
            "there is nothing to measure: name a command after --, "
            "or use -p PID, -t TID, -a or -C LIST"
        )
    return target


# ---- signals ----


class Signals:
    """SIGINT, SIGTERM and SIGHUP end the measuring, not the program; SIGCHLD wakes it up."""

    _ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.caught: int | None = None
        self._old: dict[int, Any] = {}
        self.wakeup, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def _ending(self, number: int, _frame: FrameType | None) -> None:
        self.caught = number

    def _nothing(self, _number: int, _frame: FrameType | None) -> None:
        """A handler must exist for the wake-up descriptor to be written."""

    def __enter__(self) -> Signals:
        self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._ending)
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._nothing)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self.wakeup)
        os.close(self._write)

    def drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self.wakeup, 4096):
                pass


# ---- processes ----


class Ended(NamedTuple):
    """How a launched command ended."""

    status: int  # 128 + N where signal N ended it
    user_s: float
    system_s: float
    by_itself: bool = True  # not by us, when the measuring was over


def exit_status(ended: Ended | None, caught: int | None) -> int:
    """The command's own status if it ended by itself; 0 without a command."""
    if ended is None:
        return 0
    if ended.by_itself:
        return ended.status
    return 128 + caught if caught is not None else 0


def _exit_status(raw: int) -> int:
    return 128 + os.WTERMSIG(raw) if os.WIFSIGNALED(raw) else os.WEXITSTATUS(raw)


def _is_running(pid: int) -> bool:
    """Whether a process or thread has not ended; one whose status nobody fetched has."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


class _Process:
    """Tells when a process has ended: through its descriptor, or by looking."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self.fd = os.pidfd_open(pid)
        except (OSError, AttributeError):  # a thread that leads no process, or Linux before 5.3
            self.fd = -1

    def has_ended(self) -> bool:
        if self.fd < 0:
            return not _is_running(self.pid)
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


ENDED, TIME, SIGNAL = "ended", "time", "signal"


class Waiter:
    """Waits for the targets' end, a point in time, or a signal, whichever comes first.

    `show` is called now and then meanwhile.
    """

    def __init__(
        self,
        signals: Signals,
        pids: Sequence[int],
        show: Callable[[], None] | None = None,
    ) -> None:
        self._signals = signals
        self._show = show
        self._waiting = [_Process(pid) for pid in pids]
        self._has_targets = bool(pids)

    def wait(self, until_ns: int | None) -> str:
        """`until_ns` is of CLOCK_MONOTONIC."""
        while True:
            self._forget_ended()
            if self._signals.caught is not None:
                return SIGNAL
            if self._has_targets and not self._waiting:
                return ENDED
            now = time.monotonic_ns()
            if until_ns is not None and now >= until_ns:
                return TIME
            if self._show is not None:
                self._show()
            self._sleep(None if until_ns is None else until_ns - now)

    def _forget_ended(self) -> None:
        for process in [process for process in self._waiting if process.has_ended()]:
            process.close()
            self._waiting.remove(process)

    def _sleep(self, ns: int | None) -> None:
        poll = select.poll()
        poll.register(self._signals.wakeup, select.POLLIN)
        if self._show is not None:
            ns = _SHOW_NS if ns is None else min(ns, _SHOW_NS)
        for process in self._waiting:
            if process.fd >= 0:
                poll.register(process.fd, select.POLLIN)
            else:
                ns = _POLL_NS if ns is None else min(ns, _POLL_NS)
        poll.poll(None if ns is None else min(max(1, -(-ns // 1_000_000)), _LONGEST_MS))
        self._signals.drain()

    def close(self) -> None:
        for process in self._waiting:
            process.close()
        self._waiting = []


class Launched:
    """A command from its fork to its exit status."""

    def __init__(self, argv: Sequence[str], signals: Signals) -> None:
        self.held = Command(argv)
        self._signals = signals
        self._runs = False

    def start(self) -> None:
        self.held.start()
        self._runs = True

    def end(self) -> Ended:
        """Waits for it; ends it first where it still runs when the measuring is over."""
        pid = self.held.pid
        caught, self._signals.caught = self._signals.caught, None
        waiter = Waiter(self._signals, [pid])
        try:
            grace = time.monotonic_ns() + (_GRACE_NS if caught == signal.SIGINT else 0)
            by_itself = waiter.wait(grace) == ENDED
            if not by_itself:
                self._terminate(waiter)
        finally:
            waiter.close()
            self._signals.caught = caught
        _, raw, usage = os.wait4(pid, 0)
        self._runs = False
        return Ended(_exit_status(raw), usage.ru_utime, usage.ru_stime, by_itself)

    def _terminate(self, waiter: Waiter) -> None:
        self._signals.caught = None
        self._kill(signal.SIGTERM)
        if waiter.wait(None) == SIGNAL:  # asked again: no more waiting
            self._kill(signal.SIGKILL)

    def _kill(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.held.pid, number)

    def close(self) -> None:
        """Leaves no child behind: one that never started, or that an error left running."""
        if self._runs:
            self.end()
        self.held.close()
