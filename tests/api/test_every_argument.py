"""Every argument of every public function with values that are none: never a crash, nor a hang."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support import PATIENCE_S, privileged

import kperf

# Of the exceptions, the contract knows two: of a wrong type, and of all else with a sentence.
DOCUMENTED = {"return", "TypeError", "KperfError"}


@privileged
def test_values_that_are_none() -> None:
    script = Path(__file__).with_name("every_argument.py")
    done = subprocess.run(
        [sys.executable, "-I", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wrong = [f"{name}({what}={value}): {end}" for name, what, value, end in found
             if end not in DOCUMENTED]  # fmt: skip
    assert wrong == []
    tried = {name for name, *_ in found}
    assert {"open", "read", "close", "enable", "dump", "Counting", "Sampling", "Device"} <= tried
    assert tried <= set(kperf.__all__)
    assert {end for *_, end in found} == DOCUMENTED
