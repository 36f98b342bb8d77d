"""Programs to sample, compiled once, and ways to sample them."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support import PATIENCE_S

import kperf

SOURCES = Path(__file__).with_name("sources")

# What the three functions of busy.c take of its time.
SHARES = {"sixty": 0.6, "thirty": 0.3, "ten": 0.1}

ROUNDS = 40_000  # about half a second of CPU time

# Bytes of buffer a CPU that hold every sample of these programs: where none may be lost, the
# machine that the tests run on may be as busy as it likes.
ROOM_FOR_ALL = 1 << 23

_FLAGS = ["-O1", "-g", "-Wall", "-Wextra", "-pthread"]
# Equal loops at equal places in a cache line take equally long.
_ALIGNED = ["-falign-functions=64"]
_WITH_FRAMES = ["-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]


class Programs(NamedTuple):
    """The compiled programs."""

    busy: Path
    other: Path
    library: Path


def compile_programs(folder: Path) -> Programs:
    folder.chmod(0o755)  # other users run them as well
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler built kperf, and is gone"
    made = Programs(folder / "busy", folder / "other", folder / "library.so")
    kinds = {"busy": ["-ldl"], "other": [], "library": ["-shared", "-fPIC"]}
    for name, flags in kinds.items():
        words = [compiler, *_FLAGS, *_WITH_FRAMES, *_ALIGNED, "-o", getattr(made, name)]
        subprocess.run([*words, SOURCES / f"{name}.c", *flags], check=True)
    return made


# ---- sampling ----


def wait_for(pid: int) -> None:
    """Until a child has ended well."""
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def sample(
    argv: Sequence[object], events: str | Sequence[str] = "cpu-clock", **options: Any
) -> Any:
    """The samples of a command from its start to its end, read when it is gone."""
    words = [str(word) for word in argv]
    with (
        kperf.Command(words) as command,
        kperf.Sampling(events, command=command, **options) as sampling,
    ):
        sampling.enable()
        command.start()
        wait_for(command.pid)
        sampling.disable()
        return sampling.read()


@contextmanager
def waiting(*argv: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs when its standard input is closed."""
    words = [str(word) for word in argv]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def watched(*argv: object, events: str = "cpu-clock") -> Iterator[tuple[Any, kperf.Sampling]]:
    """A program that waits, and a sampling of it that is not enabled yet."""
    with (
        waiting(*argv) as process,
        kperf.Sampling(events, pids=[process.pid], buffer_bytes=ROOM_FOR_ALL) as sampling,
    ):
        yield process, sampling


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Has a waiting program run to its end."""
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


# ---- judging ----


def top(row: Any) -> str:
    """The function that was sampled."""
    name: str = row.frames[0].symbolName
    return name


def tops(rows: Iterable[Any]) -> Counter[str]:
    return Counter(map(top, rows))


def check_shares(found: Counter[str]) -> None:
    """The functions have the shares that their loops give them, within five sigma."""
    n = sum(found[name] for name in SHARES)
    assert n >= 100, found
    for name, share in SHARES.items():
        sigma = math.sqrt(share * (1 - share) / n)
        assert abs(found[name] / n - share) <= 5 * sigma, (name, found)


def in_thread(action: Any) -> Any:
    """What `action` returns in another thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join(PATIENCE_S)
    (only,) = results
    return only
