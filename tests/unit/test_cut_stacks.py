"""Which call stacks count as cut, on trees written by hand."""

from __future__ import annotations

import pytest

from kperf.cut_stacks import count_cut, is_entry
from kperf.symbols.symbol import KERNEL_MODULE, UNKNOWN, Symbol

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
NAMELESS = (UNKNOWN, LIBC)
MOST = 5


def cut(*outward: str | tuple[str, str]) -> bool:
    """Whether one stack was cut, given from its sampled function out; "k:" marks the kernel's."""
    symbols, kernel = [Symbol(0, "")], [False]
    for frame in reversed(outward):
        name, module = frame if isinstance(frame, tuple) else (frame, "/program")
        kernel.append(name.startswith("k:"))
        symbols.append(Symbol(1, KERNEL_MODULE if kernel[-1] else module, name))
    n = len(symbols)
    samples = [0] * (n - 1) + [1]
    return count_cut([0, *range(n - 1)], list(range(n)), samples, symbols, kernel, MOST) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("_start", "main", "__libc_start_main", "__libc_start_main@@GLIBC_2.34"),
        *("__libc_start_call_main", "__libc_start_main_impl", "start_thread", "thread_start"),
        *("clone", "__clone", "clone3", "__clone3", "__clone2", "_dl_start_user"),
        *("runtime.goexit", "runtime.goexit.abi0", "runtime.mstart", "_rt0_amd64_linux"),
    ],
)
def test_threads_begin_there(name: str) -> None:
    assert is_entry(Symbol(0, "/program", name))


@pytest.mark.parametrize("name", ["domain", "main_loop", "restart", "clones", "_starts", UNKNOWN])
def test_threads_do_not_begin_there(name: str) -> None:
    assert not is_entry(Symbol(0, "/program", name))


@pytest.mark.parametrize(
    "stack",
    [
        ("work", "main"),
        ("work", "main", NAMELESS),
        ("work", "start_thread", "junk"),  # what lies beyond an entry point is no matter
        ("k:syscall", "write", "main"),
        ("work", NAMELESS),  # a C library without names for its own
        ("_start",),
        ("k:kthread", "k:ret_from_fork"),  # the kernel's own thread
    ],
)
def test_whole(stack: tuple[str | tuple[str, str], ...]) -> None:
    assert not cut(*stack)


@pytest.mark.parametrize(
    "stack",
    [
        ("work",),
        ("work", "caller"),
        ("work", UNKNOWN),
        (NAMELESS,),  # a function of the C library that was sampled, and no caller known
        ("clone", "pthread_create", "caller"),  # called like any other function
        ("k:clone", "clone", "caller"),
        ("k:syscall", "write"),
        ("k:a", "k:b", "k:c", "k:d", "k:e"),  # as many as the kernel records
    ],
)
def test_cut(stack: tuple[str | tuple[str, str], ...]) -> None:
    assert cut(*stack)


def test_each_sample_of_a_cut_stack_counts() -> None:
    symbols = [Symbol(0, ""), Symbol(1, "/p", "main"), Symbol(2, "/p", "work")]
    # 1: main, 2: work called by main, 3: work called by nobody
    parents, frames, samples = [0, 0, 1, 0], [0, 1, 2, 2], [0, 0, 70, 30]
    assert count_cut(parents, frames, samples, symbols, [False] * 3, MOST) == 30
