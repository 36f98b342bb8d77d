"""Calls every public function and class with values that are none, each in a process of its own.

Prints a JSON list of [name, argument, value, outcome] for each call: the outcome is "return", the
name of the exception, or how the process ended. A forked process is as fresh as an imported one.
"""

from __future__ import annotations

import enum
import inspect
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import kperf

PATIENCE_S = 60

VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    1 << 31,
    1 << 63,
    1 << 64,
    -(1 << 70),
    1.5,
    float("nan"),
    "",
    "cycles",
    "a\0b",
    "ünï\u202e",
    "x" * 100_000,
    b"bytes",
    [],
    [1],
    [-1],
    ["a\0b"],
    [None],
    [[]],
    list(range(100_000)),
    ["task-clock"] * 1000,
    {},
    object(),
    print,
    (1, 2),
    kperf.PmuTaskType.COUNTING,
]

# Arguments that are good, for those beside the one that is tried.
GOOD: dict[str, list[Any]] = {
    "Command": [["true"]],
    "Counting": ["task-clock"],
    "Device": ["tsc"],
    "Sampling": ["task-clock"],
    "SyscallTrace": [["getppid"]],
}


def tries() -> Iterator[tuple[str, str, Any, Callable[[], Any]]]:
    for name in kperf.__all__:
        function = getattr(kperf, name)
        if not callable(function) or _is_plain(function):
            continue
        parameters = inspect.signature(function).parameters.values()
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        needed = sum(p.default is p.empty for p in places)
        for value in VALUES:
            for i, place in enumerate(places):
                arguments = [1] * i + [value] + [1] * max(needed - i - 1, 0)
                yield name, place.name, value, lambda f=function, a=arguments: f(*a)
            for p in parameters:
                if p.kind == p.KEYWORD_ONLY:
                    arguments = GOOD.get(name, [])
                    known = {p.name: value}
                    yield name, p.name, value, lambda f=function, a=arguments, k=known: f(*a, **k)


def _is_plain(function: Any) -> bool:
    """What Python itself makes: members of enumerations, tuples with names, exceptions."""
    kinds = (enum.Enum, tuple, BaseException)
    return isinstance(function, type) and issubclass(function, kinds)


def outcome(call: Callable[[], Any], told: int) -> None:
    signal.alarm(PATIENCE_S)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    before = len(os.listdir("/proc/self/fd"))
    try:
        kept = call()
        del kept
        name = "return"
    except BaseException as raised:
        name = type(raised).__name__
        if isinstance(raised, kperf.KperfError):
            name = "KperfError" if raised.message and "\n" not in raised.message else "no sentence"
            left = len(os.listdir("/proc/self/fd")) - before
            name = f"{left} descriptors left" if left > 0 else name
    os.write(told, name.encode())
    os._exit(0)


def answer(call: Callable[[], Any]) -> str:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome(call, theirs)
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said if status == 0 else f"status {status}"


os.chdir(tempfile.mkdtemp())
print(json.dumps([[name, what, repr(v)[:40], answer(call)] for name, what, v, call in tries()]))
