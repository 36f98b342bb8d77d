"""Line programs alone, judged by addr2line: where no function's debug information covers code."""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from symbols.elfs import BIAS, addr2line, compile_c, mapping_of, nm, resolver, run

from kperf.symbols.dwarf import Cursor, FileTable, directories_of_programs
from kperf.symbols.image import BadFile
from kperf.symbols.linetable import LineTable

SOURCE = r"""
#include <stdlib.h>
static inline int twice(int n) { return n * 2; }
__attribute__((noinline)) int f1(int n)
{
    int t = n;

    for (int i = 0; i < n; i++)
        t ^= twice(t) + abs(i);
    return t;
}
#line 70000 "elsewhere/other.c"
__attribute__((noinline)) int f2(int n) { return f1(n) ^ n; }
int main(int argc, char **argv) { return f2(argc); }
"""


def _every_address(program: Path) -> list[int]:
    functions = [s for s in nm(program) if s.name in ("f1", "f2", "main")]
    assert len(functions) == 3
    return [a for s in functions for a in range(s.start, s.start + s.size)]


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ("-gdwarf-2",)),
        ("gcc", ("-gdwarf-3",)),
        ("gcc", ("-gdwarf-4", "-gz")),
        ("gcc", ("-gdwarf-5",)),
        ("gcc", ("-gdwarf-5", "-gz=zlib-gnu")),
        ("gcc", ("-gdwarf-4", "-gz=zlib-gnu", "-ffunction-sections", "-Wl,--gc-sections")),
        ("clang", ("-gdwarf-4",)),
        ("clang", ("-gdwarf-5",)),
        ("clang", ("-gdwarf-5", "-gdwarf64")),
        ("clang", ("-gline-tables-only",)),
    ],
    ids=str,
)
def test_lines_of_every_address(tmp_path: Path, compiler: str, flags: tuple[str, ...]) -> None:
    program = compile_c(tmp_path / "program", "-O2", *flags, source=SOURCE, compiler=compiler)
    addresses = _every_address(program)
    places = LineTable(str(program)).places(addresses)
    assert [places[address] for address in addresses] == addr2line(program, addresses)
    assert {"program.c", "other.c"} <= {Path(file).name for file, _ in places.values()}
    assert LineTable(str(program)).places([0, 1, 8, 2**64 - 1]) == {}


def test_lines_stay_where_the_rest_was_split_off(tmp_path: Path) -> None:
    """-gsplit-dwarf leaves the line programs in the file; what it takes away may be lost."""
    (tmp_path / "split").mkdir()
    whole = compile_c(tmp_path / "program", "-O2", source=SOURCE)
    split = compile_c(tmp_path / "split/program", "-O2", "-gsplit-dwarf", source=SOURCE)
    for file in split.parent.glob("*.dwo"):
        file.unlink()
    addresses = _every_address(whole)
    assert addresses == _every_address(split)
    names = resolver(lines=True)
    found = names.symbols(mapping_of(split), [BIAS + address for address in addresses])
    names.close()
    assert [symbol.lineNum for symbol in found] == [n for _, n in addr2line(whole, addresses)]


@pytest.mark.parametrize("version", [4, 5])
def test_relative_paths_begin_where_the_compiler_ran(tmp_path: Path, version: int) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.c").write_text(SOURCE)
    command = ["gcc", "-O2", f"-gdwarf-{version}", "./inner/../inner/a.c", "-o", "program"]
    subprocess.run(command, check=True, cwd=tmp_path)
    addresses = _every_address(tmp_path / "program")
    files = {file for file, _ in LineTable(str(tmp_path / "program")).places(addresses).values()}
    assert str(tmp_path / "inner/a.c") in files
    assert str(tmp_path / "elsewhere/other.c") in files


ASSEMBLY = """
.text
.globl main
.type main, @function
main: xor %eax, %eax
.size main, . - main
routine:
    nop
    ret
.section .note.GNU-stack, "", @progbits
"""


def test_code_without_a_function_has_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "program.s").write_text(ASSEMBLY)
    run("gcc", "-g", tmp_path / "program.s", "-o", tmp_path / "program")
    start = next(
        int(line.split()[0], 16)
        for line in run("nm", tmp_path / "program").splitlines()
        if line.endswith(" routine")
    )
    names = resolver(lines=True)
    found = names.symbols(mapping_of(tmp_path / "program"), [BIAS + start, BIAS + start + 1])
    names.close()
    assert [(s.symbolName, s.fileName, s.lineNum) for s in found] == [
        ("routine", str(tmp_path / "program.s"), 8),
        ("routine", str(tmp_path / "program.s"), 9),
    ]
    assert names.notes == []


def test_damaged_sections_raise_nothing_else(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", "-O2", "-gdwarf-4", source=SOURCE)
    addresses = _every_address(program)
    for number in range(40):
        chosen = random.Random(number)
        section = chosen.choice([".debug_line", ".debug_info", ".debug_abbrev"])
        contents = tmp_path / "contents"
        run(
            "objcopy",
            "-O",
            "binary",
            f"--only-section={section}",
            f"--set-section-flags={section}=alloc",
            program,
            contents,
        )
        data = bytearray(contents.read_bytes())
        for _ in range(chosen.randrange(1, 20)):
            data[chosen.randrange(len(data))] = chosen.choice(
                (0, 0x7F, 0xFF, chosen.randrange(256))
            )
        contents.write_bytes(data[: chosen.randrange(1, len(data) + 1)])
        run("objcopy", f"--update-section={section}={contents}", program, tmp_path / "damaged")
        with suppress(BadFile, ValueError):
            LineTable(str(tmp_path / "damaged")).places(addresses)


def test_endless_numbers_and_tables() -> None:
    with pytest.raises(ValueError, match="no end"):
        Cursor(b"\xff" * 100).leb()
    with pytest.raises(ValueError, match="too early"):
        Cursor(b"\xff" * 5).leb()
    header = b"\x05\x00\x08\x00\x00\x00\x00\x00" + b"\x01\x01\x01\x00\x01\x01"
    unit = header + b"\x00\xff\xff\xff\x7f"  # 2**28 directories of no bytes each
    section = len(unit).to_bytes(4, "little") + unit
    with pytest.raises(ValueError, match="files"):
        FileTable(section, 0, {}, bytes)
    assert directories_of_programs(b"\xff" * 64, b"", {}) == {}
    assert directories_of_programs(b"\x08\x00\x00\x00\x04\x00" + bytes(6), b"", {}) == {}
