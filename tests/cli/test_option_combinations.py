"""Options together, with good values and with any text: a result, or one sentence and its status.

`test_every_option.py` tries each by itself with what is no value.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest
from cli.test_every_option import COMMANDS, REST, options_of, wrong
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import privileged

pytestmark = privileged

EXAMPLES = 60  # of each command

# By what stands for a value in help: some that are good, and quick.
GOOD = {
    "LIST": ["dummy", "page-faults", "{dummy,page-faults}", "0", "cpu-clock:u"],
    "NAME,...": ["ipc", "cpus", "retired"],
    "PID,...": ["1"],
    "TID,...": ["1"],
    "SECONDS": ["0.01", "0.02"],
    "MS": ["1", "10"],
    "N": ["1", "2", "3"],
    "FILE": ["a.json", "a.csv", "a.txt", "a.data", "a.folded"],
    "FORMAT": ["text", "json", "csv", "dump"],
    "HZ": ["100", "997"],
    "SIZE": ["64K", "1M"],
    "KEYS": ["comm", "pid,symbol", "cpu"],
    "PLACE": ["numa", "socket"],
    "BDF,...": ["00:00.0"],
    "PATH": ["/"],
    "EXPR": ["common_pid > 0"],
}


class Runner:
    """The process that the calls are forked from."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).with_name("every_option.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        status, out, err = json.loads(self._process.stdout.readline())
        return status, out, err

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("calls"))
    yield made
    made.close()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def option(param: click.Option) -> st.SearchStrategy[list[str]]:
    name = st.sampled_from(param.opts)
    if param.is_flag:
        return name.map(lambda flag: [flag])
    choices = getattr(param.type, "choices", ())
    good = list(choices) or GOOD.get(str(param.metavar), ["1"])
    value = st.one_of(st.sampled_from(good), st.sampled_from(good), TEXT)
    return st.tuples(name, value).map(list)


def calls(command: str) -> st.SearchStrategy[list[str]]:
    """Some options in some order; how long it runs is bounded by what it runs."""
    chosen = st.lists(st.one_of(list(map(option, options_of(command)))), max_size=6)
    rest = REST.get(command, [])
    return chosen.map(lambda options: [command, *chain.from_iterable(options), *rest])


@pytest.mark.parametrize("command", COMMANDS)
def test_together(command: str, runner: Runner) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(calls(command))
    def check(arguments: list[str]) -> None:
        answer: Any = runner.run(arguments)
        complaint = wrong(arguments, answer)
        assert complaint == "", arguments

    check()
