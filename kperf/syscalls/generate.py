"""Writes table.py from the tables of a kernel's source tree: python generate.py LINUX >table.py

The numbers are the kernel's interface and never change; a new kernel only adds some.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Architecture: its table in the kernel's source (6.11 and later), and the rows of it that count.
_TABLES = {
    "x86_64": ("arch/x86/entry/syscalls/syscall_64.tbl", {"common", "64"}),
    "i386": ("arch/x86/entry/syscalls/syscall_32.tbl", {"i386"}),
    "aarch64": ("scripts/syscall.tbl", {"common", "64", "renameat", "rlimit", "memfd_secret"}),
    "arm": ("arch/arm64/tools/syscall_32.tbl", {"common"}),
}

# Added behind Linux 6.12; from 424 on all architectures share their numbers.
_SHARED = {
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
_NEWER = {"x86_64": {"uprobe": 336}}

_HEAD = '''"""Numbers of system calls, written by generate.py: not to be edited.

One line a name: its number on each architecture of the first line, - where there is none.
"""

TABLE = """\\
'''


def _numbers(linux: Path, arch: str) -> dict[str, int]:
    path, abis = _TABLES[arch]
    found = {}
    for line in (linux / path).read_text().splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 2 and words[1] in abis:
            found[words[2]] = int(words[0])
    return {**found, **_SHARED, **_NEWER.get(arch, {})}


def main() -> None:
    numbers = {arch: _numbers(Path(sys.argv[1]), arch) for arch in _TABLES}
    names = sorted({name for of_arch in numbers.values() for name in of_arch})
    lines = [" ".join(["name", *_TABLES])]
    lines += [
        " ".join([name, *(str(of_arch.get(name, "-")) for of_arch in numbers.values())])
        for name in names
    ]
    sys.stdout.write(f'{_HEAD}{chr(10).join(lines)}\n"""\n')


if __name__ == "__main__":
    main()
