"""Choosing a format, and what cannot be written in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import run_python

import kperf
from kperf import export


def test_each_suffix_chooses_its_format() -> None:
    for form, suffixes in export.FORMATS.items():
        for suffix in suffixes:
            assert export.format_of(f"/tmp/with.dots/a{suffix}") == form
            assert export.format_of(Path("a" + suffix)) == form


@pytest.mark.parametrize("name", ["a", "a.json", "a.txt.bak", "txt", "/dev/stdout", ""])
def test_another_suffix_is_an_error_that_lists_them(name: str) -> None:
    with pytest.raises(kperf.KperfError, match=r"stands for no format.*\.txt \(dump\)"):
        export.format_of(name)


def test_an_unknown_format(stacks: Any, target: Path) -> None:
    with pytest.raises(kperf.KperfError, match=r"no format 'xml'.*dump, .*folded"):
        export.write(stacks, target, "xml")
    assert not target.exists()


@pytest.mark.parametrize("form", [form for form in export.FORMATS if form != "dump"])
def test_counts_have_no_stacks(form: str, target: Path) -> None:
    with kperf.Counting("task-clock") as counting:
        data = counting.read()
    with pytest.raises(kperf.KperfError, match=r"counts.*dump"):
        export.write(data, target, form)
    assert not target.exists()


def test_what_was_freed_cannot_be_written(target: Path) -> None:
    with kperf.Counting("task-clock") as counting:
        data = counting.read()
    data.free()
    with pytest.raises(kperf.KperfError, match="freed"):
        export.write(data, target, "dump")
    assert not target.exists()


def test_importing_it_loads_no_writer() -> None:
    run_python(
        """
        import sys
        import kperf.export
        assert not [name for name in sys.modules if name.startswith("kperf.export.")]
        assert "kperf.samples" not in sys.modules
        assert "json" not in sys.modules
        """
    )
