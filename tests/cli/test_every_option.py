"""Every option of every command with values that are none: one sentence and a documented status.

The options are those that the commands have: none is forgotten. `every_option.py` says why the
processes are forked.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support import PATIENCE_S, privileged

pytestmark = privileged

COMMANDS = ("device", "doctor", "list", "record", "report", "spe", "stat", "topo", "trace")

# What makes a call of a command whole, behind the option.
REST = {
    "device": ["tsc", "-d", "0.01"],
    "report": ["no such file"],
    "spe": ["--", "true"],
    "stat": ["--", "true"],
    "record": ["--", "true"],
    "trace": ["--", "true"],
}

VALUES = [
    "",
    " ",
    "-1",
    "0",
    "1e400",
    "nan",
    "99999999999999999999999",
    "-99999999999999999999999",
    "0x10",
    "1,,2",
    ",",
    "{",
    "{a,b",
    "a/b/c",
    "ünïcödé \u202e",
    "two\nlines\x1b[31m",
    "%s%n",
    "../../../no/such/place",
    "/dev/full",
    "x" * 100_000,
    ",".join(["cycles"] * 3000),
]

# An option is told here where any value is good, or where a good one waits for something.
DOCUMENTED = {0, 1, 2, 3, 126, 127}


def options_of(name: str) -> Iterator[click.Option]:
    command: click.Command = importlib.import_module(f"kperf_cli.{name}").command
    for param in command.params:
        if isinstance(param, click.Option) and "--help" not in param.opts:
            yield param


def calls(name: str) -> Iterator[list[str]]:
    rest = REST.get(name, [])
    for option in options_of(name):
        if option.is_flag:
            yield [name, option.opts[0], *rest]
            yield [name, option.opts[-1], option.opts[-1], *rest]
            yield [name, f"{option.opts[-1]}=value", *rest]
            continue
        yield [name, option.opts[0]]  # and no value
        for value in VALUES:
            yield [name, option.opts[0], value, *rest]
    for value in VALUES:  # as an argument
        yield [name, value, *rest[-2:]]
    yield [name, "--no-such-option", *rest]


def answers(name: str, asked: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    script = Path(__file__).with_name("every_option.py")
    done = subprocess.run(
        [sys.executable, "-I", script],
        input="".join(f"{json.dumps(arguments)}\n" for arguments in asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong(arguments: list[str], answer: tuple[int, str, str]) -> str:
    """What is wrong with an answer, "" if nothing."""
    status, _, err = answer
    short = [argument[:40] for argument in arguments]
    if "Traceback" in err or "Exception ignored" in err:
        return f"{short}: a traceback: {err[-600:]}"
    if status not in DOCUMENTED:
        return f"{short}: status {status}: {err[-300:]}"
    lines = [line for line in err.splitlines() if line]
    if status in (1, 2) and (len(lines) != 1 or not lines[0].startswith("kperf")):
        return f"{short}: status {status} with {lines[:3]}"
    if status == 2 and "shows the usage" in err and f"kperf {arguments[0]} -h" not in err:
        return f"{short}: the hint names another command: {err}"
    return ""


@pytest.mark.parametrize("name", COMMANDS)
def test_values_that_are_none(name: str, tmp_path: Path) -> None:
    asked = list(calls(name))
    found = answers(name, asked, tmp_path)
    assert len(found) == len(asked)
    complaints = [wrong(*pair) for pair in zip(asked, found)]
    assert not any(complaints), "\n".join(filter(None, complaints))
    left = {path.name for path in tmp_path.iterdir() if ".part" in path.name}
    assert left == set()


def test_no_command_is_left_out() -> None:
    from kperf_cli.main import _COMMANDS

    assert set(COMMANDS) == set(_COMMANDS)
