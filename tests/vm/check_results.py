"""Judges the guest's reports: a test that was skipped, or is missing, is a failure.

usage: check_results.py [--complete] TESTS_DIR JUNIT_XML...

Every `test_...` function of TESTS_DIR must be in a report (with --complete) and none may be
skipped: the guest has all the hardware that the tests ask for.
"""

from __future__ import annotations

import argparse
import ast
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path


def written(folder: Path) -> set[str]:
    """The tests in the source, as module.function."""
    return {
        f"{file.stem}.{node.name}"
        for file in folder.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def reported(reports: Iterable[Path]) -> tuple[set[str], list[str]]:
    """The tests that ran, and those that were skipped with the reason."""
    ran, skipped = set(), []
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}"
            ran.add(name)
            skip = case.find("skipped")
            if skip is not None:
                skipped.append(f"{name}: {skip.get('message')}")
    return ran, skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--complete", action="store_true")
    parser.add_argument("tests", type=Path)
    parser.add_argument("reports", type=Path, nargs="+")
    given = parser.parse_args()
    try:
        ran, skipped = reported(given.reports)
    except (OSError, ElementTree.ParseError) as missing:
        print(f"the guest left no report: {missing}", file=sys.stderr)
        return 1
    faults = [f"skipped, though the guest has what it needs: {name}" for name in skipped]
    if given.complete:
        faults += [f"did not run: {name}" for name in sorted(written(given.tests) - ran)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
