"""Kernel symbols against /proc/kallsyms, and the maps of JIT compilers."""

from __future__ import annotations

import bisect
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from symbols.elfs import mapping_of, resolver

from kperf.symbols.index import IndexBuilder, SymbolIndex
from kperf.symbols.resolver import Mapping

# ---- the kernel ----


def _kallsyms() -> list[tuple[int, str, str, str]]:
    """Address, type, name and module of every line."""
    found = []
    for line in Path("/proc/kallsyms").read_text().splitlines():
        words = line.split()
        found.append((int(words[0], 16), words[1], words[2], words[3] if len(words) > 3 else ""))
    return found


def test_random_kernel_addresses_as_kallsyms_has_them() -> None:
    lines = sorted(_kallsyms())
    starts = sorted({line[0] for line in lines})
    code = {}
    for start, kind, name, module in lines:
        if kind in "tTwW":
            code.setdefault(start, set()).add((name, module or "[kernel.kallsyms]"))
    names = resolver()
    if starts[-1] == 0:
        assert names.symbols(None, [2**63], kernel=True)[0].symbolName == "[kernel]"
        return
    chosen = random.Random(3)
    addresses = [chosen.choice(list(code)) for _ in range(2000)]
    addresses = [a + chosen.randrange(64) for a in addresses if a]
    for address, symbol in zip(addresses, names.symbols(None, addresses, kernel=True)):
        start = starts[bisect.bisect_right(starts, address) - 1]
        if start not in code:
            assert not symbol.resolved
            continue
        assert (symbol.symbolName, symbol.module) in code[start]
        assert (symbol.codeMapAddr, symbol.offset) == (start, address - start)
    assert names.unresolved < len(addresses) / 20


def _tree(root: Path, kallsyms: str, kptr_restrict: int = 0) -> str:
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/kallsyms").write_text(kallsyms)
    (root / "proc/sys/kernel/kptr_restrict").write_text(f"{kptr_restrict}\n")
    return str(root)


def test_modules_and_data_among_code(tmp_path: Path) -> None:
    root = _tree(
        tmp_path,
        "ffffffff81000000 T first\n"
        "ffffffff81000100 t second\n"
        "ffffffff81000200 d data\n"
        "ffffffff81000300 T after data\n"
        "ffffffffc0001000 t ext4_read\t[ext4]\n"
        "ffffffffc0009000 t other_read\t[other]\n",
    )
    base, ext4 = 0xFFFFFFFF81000000, 0xFFFFFFFFC0000000
    names = resolver(root=root)
    found = names.symbols(
        None,
        [base + i for i in (0, 0x150, 0x210, 0x301)]
        + [ext4 + i for i in (0x1FFF, 0x5000, 0x9010)]
        + [base - 1],
        kernel=True,
    )
    assert [(s.symbolName, s.module) for s in found] == [
        ("first", "[kernel.kallsyms]"),
        ("second", "[kernel.kallsyms]"),
        ("[unknown]", "[kernel.kallsyms]"),
        ("after data", "[kernel.kallsyms]"),
        ("ext4_read", "[ext4]"),
        ("[unknown]", "[kernel.kallsyms]"),
        ("other_read", "[other]"),
        ("[unknown]", "[kernel.kallsyms]"),
    ]
    assert (found[1].codeMapAddr, found[1].codeMapEndAddr) == (base + 0x100, base + 0x200)


def test_hidden_kernel_symbols_collapse_and_are_told_once(tmp_path: Path) -> None:
    root = _tree(tmp_path, "0000000000000000 T one\n0000000000000000 t two\t[ext4]\n", 2)
    names = resolver(root=root)
    for _ in range(2):
        found = names.symbols(None, [2**63 + 1, 2**63 + 2], kernel=True)
        assert [(s.symbolName, s.resolved) for s in found] == [("[kernel]", False)] * 2
    assert len(names.notes) == 1
    assert "kptr_restrict is 2" in names.notes[0]
    assert "sysctl kernel.kptr_restrict=0" in names.notes[0]


@pytest.mark.parametrize("text", ["", "garbage\n\n \n", "ffff\n" * 50, "zz T x\n", "1 T\n1 T \n"])
def test_kallsyms_that_make_no_sense(tmp_path: Path, text: str) -> None:
    names = resolver(root=_tree(tmp_path, text))
    assert not names.symbols(None, [1, 2**64 - 1], kernel=True)[0].resolved
    assert len(names.notes) == 1


# ---- perf maps ----


def _index(text: bytes) -> SymbolIndex:
    builder = IndexBuilder()
    builder.add_perf_map(text)
    return builder.finish()


def _name(index: SymbolIndex, address: int) -> str:
    entry = index.lookup([address])[0]
    return entry.name.decode("utf-8", "backslashreplace") if entry else ""


def test_later_lines_of_a_perf_map_override_earlier_ones() -> None:
    index = _index(b"1000 100 old\n0x1040 0x20 new code here\n2000 10 a\n2000 10 b\n")
    wanted = {0x1000: "old", 0x103F: "old", 0x1040: "new code here", 0x105F: "new code here"}
    wanted |= {0x1060: "old", 0x10FF: "old", 0x1100: "", 0x2001: "b", 0x2010: "", 0xFFF: ""}
    assert {address: _name(index, address) for address in wanted} == wanted
    index = _index(b"1040 20 old\n1000 100 new\n")
    assert {_name(index, address) for address in (0x1000, 0x1040, 0x105F, 0x10FF)} == {"new"}


def test_random_perf_maps_against_a_plain_search() -> None:
    chosen = random.Random(11)
    for _ in range(200):
        lines = [(chosen.randrange(200), chosen.randrange(1, 60), f"f{i}") for i in range(40)]
        index = _index("".join(f"{s:x} {n:x} {name}\n" for s, n, name in lines).encode())
        for address in range(262):
            expected = [name for s, n, name in lines if s <= address < s + n]
            assert _name(index, address) == (expected[-1] if expected else "")


def test_garbage_in_a_perf_map_costs_its_own_lines_only() -> None:
    index = _index(
        b"\x00\xff\n1000 10 good\nno hex at all\n1010\n1010 \n1010 10\n1010 10 \n1020 0 empty\n"
        b"ffffffffffffffff ffffffffffffffff over\n11111111111111111 1 long\n1030 10 \xff\xfe\n"
        b"1040 10 nul\x00inside\n1050 10 last without newline"
    )
    assert _name(index, 0x1005) == "good"
    assert _name(index, 0x1015) == ""
    assert _name(index, 0x1030) == "\\xff\\xfe"
    assert _name(index, 0x1040) == ""
    assert _name(index, 0x105F) == "last without newline"


def _jit_mapping(pid: int) -> Mapping:
    mapping = mapping_of("/proc/self/exe", pid=pid)
    return mapping._replace(start=0x1000, end=0x9000, offset=0, path="//anon", inode=0)


def test_the_map_of_a_process_in_a_pid_namespace() -> None:
    script = (
        "mount -t tmpfs none /tmp && echo '2000 100 jitted in here' >/tmp/perf-$$.map && "
        "echo $$ && read line"
    )
    command = ["unshare", "-Urpmf", "--mount-proc", "sh", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "1\n"
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        names = resolver()
        found = names.symbols(_jit_mapping(int(children[0])), [0x2010, 0x3000])
        outer.communicate("\n")
    assert [s.symbolName for s in found] == ["jitted in here", "[unknown]"]
    assert (found[0].module, found[0].offset, found[0].codeMapEndAddr) == ("//anon", 0x10, 0x2100)
    assert (found[1].offset, names.unresolved) == (0x2000, 1)


def test_a_map_that_grows_is_read_again() -> None:
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    try:
        path.write_text("2000 100 first\n")
        names = resolver()
        assert names.symbols(_jit_mapping(os.getpid()), [0x2000])[0].symbolName == "first"
        path.write_text("2000 100 first\n2000 100 second\n")
        assert names.symbols(_jit_mapping(os.getpid()), [0x2000])[0].symbolName == "second"
    finally:
        path.unlink()


if sys.version_info >= (3, 12):

    def test_python_s_own_map() -> None:
        code = "import sys, time\ndef spin():\n print(1, flush=True)\n sys.stdin.readline()\nspin()"
        with subprocess.Popen(
            [sys.executable, "-X", "perf", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            path = Path(f"/tmp/perf-{process.pid}.map")
            start = next(
                int(x.split()[0], 16) for x in path.read_text().splitlines() if "spin" in x
            )
            mapping = _jit_mapping(process.pid)._replace(start=start & ~4095, end=start + 4096)
            found = resolver().symbols(mapping, [start + 2])
            process.communicate("\n")
            path.unlink()
        assert found[0].symbolName == "py::spin:<string>"
