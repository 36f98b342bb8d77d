"""Names of addresses in ELF files, against nm, addr2line and objdump."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from symbols.elfs import (
    BIAS,
    LIBC,
    Judge,
    compile_c,
    live_mapping,
    loads,
    mapping_of,
    nm,
    random_addresses,
    resolver,
    run,
    running,
)

SHAPES = {
    "pie": ("-pie", "-fPIE"),
    "no-pie": ("-no-pie", "-fno-pie"),
    "separate-code": ("-Wl,-z,separate-code",),
    "one-segment": ("-Wl,-z,noseparate-code",),
    "high-vaddr": ("-pie", "-fPIE", "-Wl,-Ttext-segment=0x200000"),
    "static": ("-static",),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_functions_of_a_running_program(shape: str, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", *SHAPES[shape])
    if shape == "high-vaddr":
        assert any(load.address != load.offset for load in loads(program))
    with running(program) as (pid, places):
        for name, address in places.items():
            mapping = live_mapping(pid, address)
            found = resolver().symbols(mapping, [address, address + 3])
            assert [symbol.symbolName for symbol in found] == [name, name]
            assert [symbol.offset for symbol in found] == [0, 3]
            assert found[0].codeMapAddr == address
            size = next(s.size for s in nm(program) if s.name == name)
            assert found[0].codeMapEndAddr == address + size
            assert found[0].module == str(program)


def _check_against_nm(path: str, *flags: str, named_at_least: float) -> None:
    symbols = nm(path, *flags)
    judge, addresses = Judge(symbols), random_addresses(symbols, 1000)
    names = resolver()
    found = names.symbols(mapping_of(path), [BIAS + address for address in addresses])
    agreed = 0
    for address, symbol in zip(addresses, found):
        expected = {re.sub("@.*", "", name) for name in judge.names(address)}
        if not expected:
            continue  # between functions: a symbol without a size may reach here
        assert re.sub("@.*", "", symbol.mangleName) in expected, hex(address)
        agreed += 1
    assert agreed >= named_at_least * len(addresses)


def test_a_library_by_its_dynamic_symbols(tmp_path: Path) -> None:
    stripped = tmp_path / "libc.so.6"
    run("objcopy", "--remove-section=.note.gnu.build-id", LIBC, stripped)
    _check_against_nm(str(stripped), "-D", named_at_least=0.9)


def test_a_large_program_by_its_full_table(tmp_path: Path) -> None:
    functions = "".join(f"int f{i}(int n) {{ return n * {i} + 1; }}\n" for i in range(5000))
    program = compile_c(tmp_path / "large", source=functions + "int main(void) { return 0; }")
    _check_against_nm(str(program), named_at_least=0.5)


def test_between_functions_there_is_no_name(tmp_path: Path) -> None:
    source = r"""
    __asm__(".text\n.globl one\n.type one,@function\none: nop\n.size one,1\n.zero 64\n"
            ".globl two\n.type two,@function\ntwo: ret\n.size two,1\n");
    int main(void) { return 0; }"""
    program = compile_c(tmp_path / "gap", source=source)
    one = next(s.start for s in nm(program) if s.name == "one")
    names = resolver()
    found = names.symbols(mapping_of(program), [BIAS + one, BIAS + one + 1, BIAS + one + 65])
    assert [s.symbolName for s in found] == ["one", "[unknown]", "two"]
    assert [s.resolved for s in found] == [True, False, True]
    assert found[1].offset == one + 1
    assert names.unresolved == 1


NEVER_RETURNS = r"""
__asm__(".text; .balign 16; nop\n"
        ".globl first; .type first, @function\n first: call leave\n .size first, . - first\n"
        ".globl second; .type second, @function\n second: ret\n .size second, . - second\n"
        ".balign 16; nop; .balign 16\n"
        ".globl alone; .type alone, @function\n alone: ret\n .size alone, . - alone\n");
void leave(void) { for (;;); }
int main(void) { return 0; }
"""


def test_a_caller_is_named_by_its_call(tmp_path: Path) -> None:
    """The address behind a call that never returns may be the next function's."""
    program = compile_c(tmp_path / "program", source=NEVER_RETURNS)
    start = {symbol.name: BIAS + symbol.start for symbol in nm(program)}
    addresses = [start["second"], start["second"], start["alone"], start["alone"] + 1]
    found = resolver().symbols(mapping_of(program), addresses, callers=[True, False, True, True])
    assert [symbol.symbolName for symbol in found] == ["first", "second", "alone", "alone"]
    assert [symbol.addr for symbol in found] == addresses
    assert [symbol.offset for symbol in found] == [5, 0, 0, 1]


def test_aliases_are_named_as_perf_names_them(tmp_path: Path) -> None:
    source = r"""
    int plain(void) { return 1; }
    int __plain(void) __attribute__((alias("plain")));
    int weak_one(void) __attribute__((weak, alias("plain")));
    static int local(void) __attribute__((used, alias("plain")));
    int main(void) { return plain(); }"""
    program = compile_c(tmp_path / "alias", source=source)
    start = next(s.start for s in nm(program) if s.name == "plain")
    assert resolver().symbols(mapping_of(program), [BIAS + start])[0].symbolName == "plain"


def test_cxx_names_as_nm_demangles_them(tmp_path: Path) -> None:
    source = r"""
    #include <map>
    #include <string>
    #include <vector>
    template <class T> struct Box { T v; __attribute__((noinline)) T get(int n) { return v * n; } };
    namespace outer { __attribute__((noinline)) int call(std::map<std::string, std::vector<int>> &m)
    { return m.size(); } }
    int main(int c, char **) { std::map<std::string, std::vector<int>> m; Box<double> b{1.5};
    return (int)b.get(c) + outer::call(m); }"""
    program = compile_c(tmp_path / "cxx", source=source, compiler="g++")
    mangled, plain = {s.start: s for s in nm(program)}, {s.start: s for s in nm(program, "-C")}
    starts = sorted(start for start, s in mangled.items() if s.name.startswith("_Z"))
    found = resolver().symbols(mapping_of(program), [BIAS + start for start in starts])
    assert any(symbol.symbolName == "Box<double>::get(int)" for symbol in found)
    for start, symbol in zip(starts, found):
        assert symbol.symbolName in {s.name for s in nm(program, "-C") if s.start == start}
        assert symbol.mangleName.startswith("_Z")
    assert plain


def test_plt_entries_have_their_function_s_name(tmp_path: Path) -> None:
    source = r"""
    #include <stdio.h>
    #include <stdlib.h>
    int main(int c, char **v) { puts(v[0]); return atoi(v[c - 1]); }"""
    for flags in (("-fcf-protection=full",), ("-fcf-protection=none",), ("-Wl,-z,now", "-fno-plt")):
        program = compile_c(tmp_path / "plt", *flags, source=source)
        listing = run("objdump", "-d", "--no-show-raw-insn", program)
        stubs = re.findall(r"^([0-9a-f]+) <(\w+@plt)>:", listing, re.MULTILINE)
        assert stubs or "-fno-plt" in flags
        found = resolver().symbols(mapping_of(program), [BIAS + int(a, 16) + 5 for a, _ in stubs])
        assert [symbol.symbolName for symbol in found] == [name for _, name in stubs]


@pytest.mark.parametrize(
    "name", ["with blanks in it", "caf\udce9-\udcff", "new\nline", "plain (deleted)x"]
)
def test_paths_of_any_bytes(name: str, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    strange = tmp_path / name
    shutil.move(str(program), str(strange))
    mapping = mapping_of(program := compile_c(tmp_path / "twin"))
    info = os.stat(str(strange))
    mapping = mapping._replace(path=str(strange), inode=info.st_ino)
    start = next(s.start for s in nm(program) if s.name == "leaf")
    names = resolver()
    found = names.symbols(mapping, [BIAS + start])
    shown = os.fsencode(strange).decode("utf-8", "replace")
    assert (found[0].symbolName, found[0].module, names.notes) == ("leaf", shown, [])


def test_symbol_names_of_any_bytes(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    strange = tmp_path / "strange"
    run(
        "objcopy",
        "--redefine-sym",
        b"leaf=le af\xff".decode("utf-8", "surrogateescape"),
        program,
        strange,
    )
    start = next(s.start for s in nm(program) if s.name == "leaf")
    found = resolver().symbols(mapping_of(strange), [BIAS + start])
    assert found[0].symbolName == "le af\\xff"


def test_one_file_in_two_processes_is_read_once(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    names = resolver()
    start = next(s.start for s in nm(program) if s.name == "leaf")
    assert names.symbols(mapping_of(program, pid=1), [BIAS + start])[0].resolved
    os.rename(program, tmp_path / "elsewhere")
    mapping = mapping_of(tmp_path / "elsewhere", pid=2)._replace(path=str(program))
    assert names.symbols(mapping, [BIAS + start])[0].symbolName == "leaf"


def test_nothing_mapped_has_no_name() -> None:
    names = resolver()
    found = names.symbols(None, [0x1234, 0])
    assert [(s.symbolName, s.module, s.offset) for s in found] == [
        ("[unknown]", "[unknown]", 0x1234),
        ("[unknown]", "[unknown]", 0),
    ]
    assert names.unresolved == 2
    assert names.symbols(None, []) == []
