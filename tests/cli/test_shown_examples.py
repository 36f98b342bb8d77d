"""The commands that the manual, the help and README show, typed as they stand there.

Programs that they name are made for them, and process 4711 is one that runs. What this machine
lacks may be missed, in one sentence; what may not be is wrong usage: an option or a value that is
none, a file that no line before wrote.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.processes import KPERF
from support import PATIENCE_S, privileged
from unit.trees import BUILDERS

from kperf_cli.main import _COMMANDS

pytestmark = privileged

TOP = Path(__file__).parents[2]
PAGES = sorted(TOP.glob("man/*.1"))
README = TOP / "README.md"
SHIM = "#!/bin/sh\nexec sleep 0.1\n"
PROGRAMS = ("job", "server", "a.out", "benchmark", "make", "cc")

ENOUGH_S = 1.0  # for what goes on until Ctrl-C
WRONG = re.compile(r"shows the usage|Traceback|Exception ignored|No such option|command not found")


# ---- where they stand ----


def plain(text: str) -> str:
    """A manual's text without its mark-up."""
    for escaped, meant in (
        (r"\-", "-"),
        (r"\(aq", "'"),
        (r"\(dq", '"'),
        (r"\e", "\\"),
        (r"\&", ""),
    ):
        text = text.replace(escaped, meant)
    return text


def without_words(line: str) -> str:
    """A command without what stands behind it, some spaces further."""
    return re.split(r" {2,}", line.strip())[0]


def of_page(page: Path) -> list[str]:
    text = page.read_text()
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^\.B (kperf .*)", text.partition(".SH EXAMPLES")[2], re.MULTILINE)
    return list(map(plain, lines))


def of_help(name: str) -> list[str]:
    text = importlib.import_module(f"kperf_cli.{name}").command.help
    lines = map(without_words, text.splitlines())
    return [line for line in lines if line.startswith("kperf ")]


def of_readme() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    lines = [without_words(line) for block in blocks for line in block.splitlines()]
    return [line[2:] if line.startswith("$ ") else line for line in lines]


def typed(line: str) -> list[str]:
    """What of a line can be typed anywhere: no file of an Arm machine, no node that may lack."""
    if not re.search(r"(^|[$(; ])kperf ", line) or "COMPLETE" in line or "--decode" in line:
        return []
    return re.findall(r"\$\((kperf [^)]*)\)", line) or [line]


PLACES = {
    **{page.name: of_page(page) for page in PAGES},
    **{f"kperf {name} -h": of_help(name) for name in _COMMANDS},
    README.name: of_readme(),
}
EXAMPLES = {
    place: [command for line in lines for command in typed(line)] for place, lines in PLACES.items()
}


# ---- how they run ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The programs, some sources, and a copied tree."""
    for name in PROGRAMS:
        path = tmp_path / name
        path.write_text(SHIM)
        path.chmod(0o755)
    (tmp_path / "kperf").symlink_to(KPERF)
    (tmp_path / "csrc").mkdir()
    BUILDERS["kunpeng-96"](tmp_path / "copy-of-a-kunpeng")
    return tmp_path


@pytest.fixture
def process() -> Iterator[int]:
    """One that runs."""
    running = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield running.pid
    running.kill()
    running.wait()


def run(line: str, folder: Path, pid: int) -> str:
    """Runs one; returns what is wrong with how it ended."""
    quick = re.sub(r"(-d|--duration) \d+", r"\1 0.2", line.replace("4711", str(pid)))
    shell = subprocess.Popen(
        ["sh", "-c", quick.replace("10**7", "10**5")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        err = shell.communicate(timeout=ENOUGH_S)[1]
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGINT)
        err = shell.communicate(timeout=PATIENCE_S)[1]
    wrong = WRONG.search(err) or (shell.returncode == 2 and "kperf" in err)
    return f"{line}: status {shell.returncode}: {err[-400:]}" if wrong else ""


@pytest.mark.parametrize("place", EXAMPLES)
def test_they_run(place: str, folder: Path, process: int) -> None:
    complaints = [run(line, folder, process) for line in EXAMPLES[place]]
    assert not any(complaints), "\n".join(filter(None, complaints))


def test_none_is_overlooked() -> None:
    assert sum(map(len, EXAMPLES.values())) > 70
    assert [place for place, commands in EXAMPLES.items() if not commands] == []
