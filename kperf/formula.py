"""Arithmetic over counts, written as one reads it: `flux / time`, `1 - (a + b) / (4 * cycles)`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Formula:
    """A formula of names, numbers, `+ - * /` and brackets. Raises ValueError for anything else."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text, mode="eval").body
        except SyntaxError:
            raise ValueError(f"'{text}' is no formula") from None
        names: dict[str, None] = {}
        self._gather(self._tree, names)
        self.names = tuple(names)

    def _gather(self, node: ast.expr, names: dict[str, None]) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            self._gather(node.left, names)
            self._gather(node.right, names)
        elif isinstance(node, ast.Name):
            names[node.id] = None
        elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
            raise ValueError(f"'{self.text}' is no formula of names and numbers")

    def value(self, counts: Mapping[str, float]) -> float | None:
        """The result for these counts; None where it divides by 0, as of something idle."""
        try:
            return self._compute(self._tree, counts)
        except ZeroDivisionError:
            return None

    def _compute(self, node: ast.expr, counts: Mapping[str, float]) -> float:
        if isinstance(node, ast.BinOp):
            left, right = self._compute(node.left, counts), self._compute(node.right, counts)
            return _OPERATIONS[type(node.op)](left, right)
        if isinstance(node, ast.Name):
            return counts[node.id]
        return float(ast.literal_eval(node))
