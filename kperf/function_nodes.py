"""Call stacks as a tree of functions, those that were inlined among them.

The core's stacks are a tree of nodes with a frame each, an address; a frame may hold several
functions that the compiler inlined into one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class FunctionNodes(NamedTuple):
    """A tree of functions; node 0 is none, and every node stands after its caller's.

    parents, functions  of each node: its caller's node (0: none), its function's number
    inner, outer        of each stack: the nodes of its last frame, that of the innermost function
                        and that of the one it was inlined into; the same where nothing was
    """

    parents: Sequence[int]
    functions: Sequence[int]
    inner: Sequence[int]
    outer: Sequence[int]


def function_nodes(
    parents: Sequence[int], frames: Sequence[int], inlined: Mapping[int, Sequence[int]]
) -> FunctionNodes:
    """The functions of a tree of frames. `inlined`: of some frames, their functions' numbers from
    the innermost out; the others have the frame's own number."""
    if not inlined:
        same = range(len(parents))
        return FunctionNodes(parents, frames, same, same)
    above, functions, inner, outer = [0], [0], [0], [0]
    for node in range(1, len(parents)):
        caller = inner[parents[node]]
        outer.append(len(above))
        for function in reversed(inlined.get(frames[node], (frames[node],))):
            above.append(caller)
            functions.append(function)
            caller = len(above) - 1
        inner.append(caller)
    return FunctionNodes(above, functions, inner, outer)
