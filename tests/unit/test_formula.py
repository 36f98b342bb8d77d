"""Arithmetic over counts."""

from __future__ import annotations

import pytest

from kperf.formula import Formula


def test_value() -> None:
    formula = Formula("1 - (a + b) / (4 * cycles)")
    assert formula.names == ("a", "b", "cycles")
    assert formula.value({"a": 1, "b": 3, "cycles": 2}) == 0.5
    assert Formula("a - b - c").value({"a": 5, "b": 2, "c": 1}) == 2


def test_division_by_nothing_has_no_value() -> None:
    assert Formula("a / (b - c)").value({"a": 1, "b": 2, "c": 2}) is None


@pytest.mark.parametrize(
    "text", ["", "a b", "f(a)", "a ** b", "a if b else c", "a.b", "'a'", "a[0]", "a; b", "-a"]
)
def test_anything_else_is_no_formula(text: str) -> None:
    with pytest.raises(ValueError, match="no formula"):
        Formula(text)
