"""Ways to run the installed command. None of them may leave a process behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.processes import KPERF, Argument, Done, Running, Terminal, user_prefix

PROGRAMS = Path(__file__).with_name("programs")

Start = Callable[..., Running]
Run = Callable[..., Done]
Open = Callable[..., Terminal]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process of any program."""
    running: list[Running] = []

    def begin(*argv: Argument, **options: Any) -> Running:
        running.append(Running(*argv, **options))
        return running[-1]

    yield begin
    left = [pid for process in running for pid in process.end()]
    assert left == [], "processes were left behind"


@pytest.fixture
def start_kperf(start: Start) -> Start:
    """Starts `kperf` with arguments, without waiting for its end."""

    def begin(*arguments: Argument, **options: Any) -> Running:
        return start(KPERF, *arguments, **options)

    return begin


@pytest.fixture
def kperf(start_kperf: Start) -> Run:
    """Runs `kperf` with arguments to its end."""

    def run(*arguments: Argument, **options: Any) -> Done:
        return start_kperf(*arguments, **options).finish()

    return run


@pytest.fixture
def shell(start: Start) -> Run:
    """Runs a script of bash, in which `kperf` is the installed one and $1 the first argument."""

    def run(script: str, *arguments: Argument, **options: Any) -> Done:
        env = {**os.environ, "PATH": f"{KPERF.parent}:{os.environ['PATH']}"}
        return start("bash", "-c", script, "bash", *arguments, env=env, **options).finish()

    return run


@pytest.fixture
def user_kperf(start: Start) -> Run:
    """Runs `kperf` to its end as an ordinary user."""

    def run(*arguments: Argument, **options: Any) -> Done:
        return start(*user_prefix(), KPERF, *arguments, **options).finish()

    return run


@pytest.fixture
def terminal() -> Iterator[Open]:
    """Starts a program on a terminal of its own."""
    opened: list[Terminal] = []

    def begin(*argv: Argument, **options: Any) -> Terminal:
        opened.append(Terminal(*argv, **options))
        return opened[-1]

    yield begin
    left = [pid for each in opened for pid in each.end()]
    assert left == [], "processes were left behind"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a program in programs/, compiled once."""
    folder = tmp_path_factory.mktemp("programs")
    folder.chmod(0o755)
    compiler = shutil.which("cc") or shutil.which("gcc")

    def compiled(name: str) -> Path:
        binary = folder / name
        if not binary.exists():
            assert compiler, "a C compiler built kperf, and is gone"
            source = PROGRAMS / f"{name}.c"
            flags = ["-O1", "-Wall", "-Wextra", "-pthread", "-no-pie", "-fno-pie"]
            subprocess.run([compiler, *flags, "-o", binary, source], check=True)
        return binary

    return compiled
