"""What the command says of itself: help, versions, and calls that are nearly right."""

from __future__ import annotations

import importlib
import os
import re

import pytest
from cli.conftest import Run

from kperf_cli.main import _COMMANDS

CALLS = [["-h"], *([name, "-h"] for name in _COMMANDS)]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("width", ["80", "200"])
def test_help_fits_80_columns(kperf: Run, call: list[str], width: str) -> None:
    done = kperf(*call, env={**os.environ, "COLUMNS": width})
    assert (done.status, done.err) == (0, "")
    assert max(map(len, done.lines())) <= 80


@pytest.mark.parametrize("call", CALLS)
def test_both_help_options_say_the_same(kperf: Run, call: list[str]) -> None:
    assert kperf(*call).out == kperf(*call[:-1], "--help").out


def test_no_command_is_a_wrong_call_that_shows_the_help(kperf: Run) -> None:
    done = kperf()
    assert (done.status, done.out) == (2, "")
    assert done.err == kperf("-h").out
    assert kperf("--no-color").status == 2


def test_help_names_the_commands(kperf: Run) -> None:
    commands = kperf("-h").out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert {"list", "stat"} <= set(re.findall(r"^  (\w+) ", commands, re.MULTILINE))


def test_every_option_is_in_the_help(kperf: Run) -> None:
    """In sections, none of them forgotten; but for those that are meant to be hidden."""
    for name in _COMMANDS:
        shown = kperf(name, "-h").out
        for param in importlib.import_module(f"kperf_cli.{name}").command.params:
            is_shown = param.param_type_name == "option" and not param.hidden
            for option in param.opts if is_shown else []:
                assert re.search(rf"^  .*{option}\b", shown, re.MULTILINE), option


def test_the_version(kperf: Run) -> None:
    done = kperf("--version")
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"kperf \d+\.\d+\.\d+\n", done.out)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (["nosuch"], "stat"),
        (["stta"], "did you mean 'stat'?"),
        (["lsit"], "did you mean 'list'?"),
        (["stat", "--jsn"], "--json"),
        (["stat", "--per-nodes"], "--per-"),
        (["--nosuch"], "--nosuch"),
    ],
)
def test_a_word_that_does_not_exist(kperf: Run, call: list[str], hint: str) -> None:
    done = kperf(*call)
    assert (done.status, done.out) == (2, "")
    assert hint in done.error()
    assert " -h' shows the usage" in done.error()
