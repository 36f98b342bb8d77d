"""Names and source lines of random addresses beside llvm-symbolizer. Prints figures; asserts none.

python tests/bench/bench_symbols.py [RUNS [FILE]]

FILE is an ELF file with debug information; without one, this interpreter's library. Both tell the
function, file and line of every address, then also the functions inlined there: llvm-symbolizer as
a process, kperf in a program that runs anyway.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import in_turn, show

from kperf.machine import Machine
from kperf.symbols.elf import ElfFile
from kperf.symbols.image import FileImage
from kperf.symbols.resolver import Mapping, Resolver

ADDRESSES = 5000
BIAS = 0x7F0000000000


def default_file() -> Path:
    library = Path(
        str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME"))
    )
    return library if library.suffix != ".a" and library.is_file() else Path(sys.executable)


def random_addresses(path: Path) -> list[int]:
    """Addresses within functions, as the file has them."""
    out = subprocess.run(["nm", "-S", path], capture_output=True, check=True, text=True).stdout
    words = [line.split(None, 3) for line in out.splitlines()]
    functions = [(int(w[0], 16), int(w[1], 16)) for w in words if len(w) == 4 and w[2] in "tTwW"]
    chosen = random.Random(1)
    return [
        start + chosen.randrange(size)
        for start, size in chosen.choices([f for f in functions if f[1]], k=ADDRESSES)
    ]


def mapping_of(path: Path) -> Mapping:
    """The mapping that the loader would make of the file's code."""
    elf = ElfFile(FileImage(str(path)))
    code = next(segment for segment in elf.loads if segment.executable)
    skew = code.offset % 4096
    start = BIAS + code.address - skew
    return Mapping(
        start, start + skew + code.file_size, code.offset - skew, str(path), b"", 0, (0, 0), 0
    )


def resolve(path: Path, addresses: list[int], *, inlined: bool = False) -> float:
    mapping = mapping_of(path)
    begin = time.perf_counter()
    resolver = Resolver(Machine(), lines=True, inlined=inlined)
    found = resolver.symbols(mapping, [BIAS + address for address in addresses])
    resolver.close()
    spent = time.perf_counter() - begin
    assert sum(symbol.lineNum > 0 for symbol in found) > len(found) // 2, resolver.notes
    return spent


def compare(path: Path, addresses: list[int], cache: Path, runs: int, *, inlined: bool) -> None:
    lines = "\n".join(map(hex, addresses))
    judge = shutil.which("llvm-symbolizer")
    flag = "--inlines" if inlined else "--no-inlines"
    command = [judge or "", f"--obj={path}", flag, "--functions=linkage"]

    def symbolizer() -> float:
        begin = time.perf_counter()
        subprocess.run(command, input=lines, check=True, text=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    def kept() -> float:
        return resolve(path, addresses, inlined=inlined)

    def cold() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return kept()

    others: dict[str, Callable[[], float]] = {"llvm-symbolizer": symbolizer} if judge else {}
    title = f"lines{' and inlined functions' * inlined} of {ADDRESSES:,} addresses of {path.name}"
    show(in_turn(f"{title}, nothing cached", {"kperf": cold, **others}, runs))
    show(in_turn(f"{title}, from the cache", {"kperf": kept, **others}, runs))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    path = (Path(sys.argv[2]) if len(sys.argv) > 2 else default_file()).resolve()
    if not ElfFile(FileImage(str(path))).debug_info_size:
        print(f"\nsource lines: {path} has no debug information; name a file that has")
        return
    addresses = random_addresses(path)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for inlined in (False, True):
            compare(path, addresses, Path(cache, "kperf"), runs, inlined=inlined)
        print(f"  symbolic was imported here: {'symbolic' in sys.modules}")


if __name__ == "__main__":
    main()
