"""Which call stacks were cut: those that do not reach back to where their thread began.

A stack with frames of a program is whole where one of its callers is an entry point: a function
in which a thread or a process begins (`_start`, `main`, `start_thread`, `clone`, ...). What a
stack shows beyond it is no matter. The sampled function alone proves nothing, as `clone` may be
called like any other function, unless nothing stands beyond it. Some C libraries have no names for
their own entry points: their outermost frame counts as one if it has no name.

A stack of the kernel alone has no entry point of a program: it is cut where it has as many frames
as the kernel records.

Stacks are given as a tree of nodes, numbered from 1, each after its caller's; 0 is no node.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kperf.symbols.symbol import Symbol

# Of C libraries and their loaders, Go, and the first code of a process that makes no frame.
_ENTRY = re.compile(
    r"""_start | _start_c | start_c | _dl_start | _dl_start_user
    | main | libc_start_main_stage2 | _*libc_start_(main|call_main)(_impl)?
    | start_thread | thread_start | start | _*clone[23]? | __start_thread
    | runtime\.(goexit|rt0_go|mstart|mcall|systemstack)(\.abi0)? | runtime\.goexit[01]
    | _rt0_\w+""",
    re.VERBOSE,
)
_C_LIBRARY = re.compile(r"(libc|libpthread)[.-][^/]*$|ld-musl[^/]*$")


def is_entry(symbol: Symbol) -> bool:
    """Whether threads or processes begin in this function."""
    return _ENTRY.fullmatch(symbol.mangleName.partition("@")[0]) is not None


def _is_nameless_libc(symbol: Symbol) -> bool:
    name = symbol.module.rpartition("/")[2]
    return not symbol.resolved and _C_LIBRARY.match(name) is not None


def count_cut(
    parents: Sequence[int],
    frames: Sequence[int],
    samples: Sequence[int],
    symbols: Sequence[Symbol],
    is_kernel: Sequence[bool],
    most_frames: int,
) -> int:
    """Samples whose stack was cut.

    parents, frames, samples  of each node: its caller's node, its frame, samples that end in it
    symbols, is_kernel        of each frame
    most_frames               how many frames the kernel records of a stack
    """
    entry = [is_entry(symbol) for symbol in symbols]
    nameless = [_is_nameless_libc(symbol) for symbol in symbols]
    n = len(parents)
    began = [False] * n  # an entry point is among this node and its callers
    whole = [False] * n  # as a stack that ends in this node
    in_program = [False] * n  # it has a frame of a program
    depth = [0] * n
    cut = 0
    for node in range(1, n):
        parent, frame = parents[node], frames[node]
        depth[node] = depth[parent] + 1
        if is_kernel[frame]:
            began[node], whole[node] = began[parent], whole[parent]
            in_program[node] = in_program[parent]
        else:
            is_first = parent == 0
            began[node] = began[parent] or entry[frame] or (is_first and nameless[frame])
            whole[node] = began[parent] or (is_first and entry[frame])
            in_program[node] = True
        if not whole[node] and (in_program[node] or depth[node] >= most_frames):
            cut += samples[node]
    return cut
