"""Programs to build, what binutils say of them, and mappings of them."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kperf.machine import Machine
from kperf.symbols.resolver import Mapping, Resolver

BIAS = 0x7F0000000000
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"

C_PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline)) int leaf(int n) { return n * 3 + 1; }
static __attribute__((noinline)) int middle(int n) { return leaf(n) + leaf(n + 1); }
int main(int argc, char **argv)
{
    printf("leaf %lx middle %lx main %lx\n", (long)leaf, (long)middle, (long)main);
    fflush(stdout);
    char byte;
    return argc > 1 && read(0, &byte, 1) >= 0 ? middle(argc) & 1 : 0;
}
"""


def run(*command: object) -> str:
    """A command's output; an error if it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    return result.stdout.decode("utf-8", "surrogateescape")


def compile_c(target: Path, *flags: str, source: str = C_PROGRAM, compiler: str = "gcc") -> Path:
    """Builds a program or library at `target`."""
    code = target.with_name(target.name + (".cc" if compiler == "g++" else ".c"))
    code.write_text(source)
    run(compiler, "-O1", "-g", "-w", code, "-o", target, *flags)
    return target


class Load(NamedTuple):
    """One PT_LOAD, as readelf shows it."""

    offset: int
    address: int
    size: int
    executable: bool


def loads(path: object) -> list[Load]:
    found = []
    for line in run("readelf", "-lW", path).splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            offset, address, size = (int(words[i], 16) for i in (1, 2, 4))
            found.append(Load(offset, address, size, "E" in words[6:-1]))
    return found


def text_load(path: object) -> Load:
    return next(load for load in loads(path) if load.executable)


def mapping_of(path: object, *, pid: int = 0, build_id: bytes = b"", at: int = BIAS) -> Mapping:
    """The mapping that the loader would make of a file's code, `at` plus its own address."""
    load = text_load(path)
    skew = load.offset % 4096
    info = os.stat(str(path))
    start = at + load.address - skew
    size = (load.size + skew + 4095) & ~4095
    device = (os.major(info.st_dev), os.minor(info.st_dev))
    return Mapping(
        start, start + size, load.offset - skew, str(path), build_id, info.st_ino, device, pid
    )


def resolver(*, lines: bool = False, inlined: bool = True, root: str = "/") -> Resolver:
    return Resolver(Machine(root), lines=lines, inlined=inlined)


class Named(NamedTuple):
    """A symbol as nm prints it."""

    start: int
    size: int
    kind: str
    name: str


def nm(path: object, *flags: str) -> list[Named]:
    """The sized functions of a file."""
    found = []
    for line in run("nm", "-S", *flags, path).splitlines():
        words = line.split(None, 3)
        if len(words) == 4 and words[2] in "tTwWi":
            found.append(Named(int(words[0], 16), int(words[1], 16), words[2], words[3]))
    return found


def addr2line(program: object, addresses: list[int]) -> list[tuple[str, int]]:
    """File and line of each address, as binutils has them."""
    text = "\n".join(hex(address) for address in addresses)
    out = subprocess.run(
        ["addr2line", "-e", str(program)], input=text, check=True, capture_output=True, text=True
    ).stdout
    places = [line.split(" (")[0].rpartition(":") for line in out.splitlines()]
    return [(file, int(line) if line.isdigit() else 0) for file, _, line in places]


class Judge:
    """What nm says of an address: the names of the innermost function that covers it."""

    def __init__(self, symbols: list[Named]) -> None:
        self.symbols = symbols

    def names(self, address: int) -> set[str]:
        covering = [s for s in self.symbols if s.start <= address < s.start + s.size]
        if not covering:
            return set()
        innermost = max(s.start for s in covering)
        return {s.name for s in covering if s.start == innermost}


def random_addresses(symbols: list[Named], number: int, seed: int = 1) -> list[int]:
    """Addresses inside functions, and some between them."""
    chosen = random.Random(seed)
    picks = [chosen.choice(symbols) for _ in range(number)]
    return [s.start + chosen.randrange(s.size + 2) for s in picks]


@contextmanager
def running(path: object, *before: str) -> Iterator[tuple[int, dict[str, int]]]:
    """A C_PROGRAM that waits: its pid, and where its functions are.

    `before` is a command that makes the process, and becomes what its last arguments say.
    """
    process = subprocess.Popen(
        [*before, str(path), "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        yield process.pid, {n: int(a, 16) for n, a in zip(words[::2], words[1::2])}
    finally:
        process.kill()
        process.communicate()


def live_mapping(pid: int, address: int) -> Mapping:
    """The line of /proc/PID/maps that holds an address."""
    for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
        words = line.split(None, 5)
        start, end = (int(word, 16) for word in words[0].split("-"))
        if start <= address < end:
            device = tuple(int(word, 16) for word in words[3].split(":"))
            path = words[5] if len(words) > 5 else ""
            return Mapping(
                start, end, int(words[2], 16), path, b"", int(words[4]), (device[0], device[1]), pid
            )
    raise AssertionError(f"nothing is mapped at {address:#x}")
