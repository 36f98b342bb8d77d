"""Source lines against addr2line; the cache; what is too large or damaged."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from symbols.elfs import BIAS, C_PROGRAM, LIBC, addr2line, compile_c, mapping_of, nm, resolver, run

from kperf.symbols import cache
from kperf.symbols.lines import LineReader


def _addresses(program: Path, number: int = 500) -> list[int]:
    functions = [s for s in nm(program) if s.name.startswith(("f", "leaf", "middle", "main"))]
    functions = [s for s in functions if s.name != "frame_dummy" and s.size]
    chosen = random.Random(8)
    return [s.start + chosen.randrange(s.size) for s in chosen.choices(functions, k=number)]


def _lines(
    program: Path, addresses: list[int], *, inlined: bool = True
) -> tuple[list[tuple[str, int]], list[str]]:
    names = resolver(lines=True, inlined=inlined)
    found = names.symbols(mapping_of(program), [BIAS + address for address in addresses])
    names.close()
    assert all(symbol.resolved for symbol in found)
    return [(symbol.fileName, symbol.lineNum) for symbol in found], names.notes


INLINED = "static inline int twice(int n)\n{\n    return n * 2 + (n ^ 5);\n}\n" + "".join(
    f"int f{i}(int n)\n{{\n    int t = n * {i};\n    for (int j = 0; j < n; j++)\n"
    f"        t ^= twice(t + j);\n    return t;\n}}\n"
    for i in range(100)
)


@pytest.mark.parametrize(
    "flags",
    [
        ("-gdwarf-2",),
        ("-gdwarf-3",),
        ("-gdwarf-4",),
        ("-gdwarf-5",),
        ("-g", "-gz"),
        ("-g", "-no-pie", "-fno-pie"),
        ("-g1", "-Wl,-Ttext-segment=0x200000"),
    ],
    ids="_".join,
)
def test_lines_as_addr2line_has_them(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = compile_c(
        tmp_path / "program", "-O2", *flags, source=INLINED + "int main(void) { return f1(2); }\n"
    )
    addresses = _addresses(program)
    expected = addr2line(program, addresses)
    assert all(line for _, line in expected)
    for inlined in (False, True):
        found, notes = _lines(program, addresses, inlined=inlined)
        assert notes == []
        assert sum(a == b for a, b in zip(found, expected)) >= 0.99 * len(addresses)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Much of kperf's own core, as it is compiled for speed: functions inlined everywhere."""
    folder = tmp_path_factory.mktemp("core")
    sources = Path(__file__).parents[2].glob("csrc/*.c")
    largest = sorted(sources, key=lambda source: -source.stat().st_size)[:6]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-fPIC", "-w", '-DKPERF_VERSION="test"']
    run("gcc", *flags, "-shared", *largest, "-o", folder / "core.so", "-Wl,--build-id", "-pthread")
    return folder / "core.so"


def _same_places(program: Path, addresses: list[int], inlined: bool) -> float:
    """The share of addresses that have addr2line's line; it writes paths as they were given."""
    found, notes = _lines(program, addresses, inlined=inlined)
    assert notes == []
    judged = [(os.path.normpath(file), line) for file, line in addr2line(program, addresses)]
    return sum(a == b for a, b in zip(found, judged)) / len(addresses)


@pytest.mark.parametrize("inlined", [True, False])
def test_thousands_of_lines_of_a_large_library(core: Path, inlined: bool) -> None:
    functions = [s for s in nm(core) if s.name.startswith("kp_") and s.size]
    chosen = random.Random(6)
    addresses = [s.start + chosen.randrange(s.size) for s in chosen.choices(functions, k=5000)]
    assert _same_places(core, addresses, inlined) >= 0.99


def _python_library() -> Path | None:
    """This interpreter's code, where it has debug information."""
    variables = (sysconfig.get_config_var(name) for name in ("LIBDIR", "INSTSONAME"))
    for file in (Path(*map(str, variables)), Path(sys.executable).resolve()):
        if file.is_file() and file.suffix != ".a" and ".debug_info" in run("readelf", "-SW", file):
            return file
    return None


@pytest.mark.parametrize("inlined", [True, False])
def test_lines_of_the_interpreter(inlined: bool) -> None:
    library = _python_library()
    if library is None:
        pytest.skip("this interpreter was built without debug information")
    functions = [s for s in nm(library) if s.size > 16]
    chosen = random.Random(7)
    addresses = [s.start + chosen.randrange(s.size) for s in chosen.choices(functions, k=5000)]
    found, _ = _lines(library, addresses, inlined=inlined)
    judged = addr2line(library, addresses)
    # addr2line takes lines of #included files for the including file's here and there
    same = sum(a[1] == b[1] for a, b in zip(found, judged))
    assert same >= 0.99 * len(addresses)


NESTED = r"""
#define INLINE static inline __attribute__((always_inline))
INLINE int low(int n) { n ^= n << 3;
    return n + 1; }
INLINE int middle(int n) { return low(n)
    * low(n + 7); }
__attribute__((noinline)) int f1(int n) { int t = 0;
    for (int i = 0; i < n; i++)
        t += middle(t ^ i);
    return t; }
int main(int argc, char **argv) { return f1(argc); }
"""


def _inlined_by_addr2line(program: Path, address: int) -> list[tuple[str, str, int]]:
    out = run("addr2line", "-fie", program, hex(address)).splitlines()
    places = [line.split(" (")[0].rpartition(":") for line in out[1::2]]
    return [
        (name, file, int(line) if line.isdigit() else 0)
        for name, (file, _, line) in zip(out[::2], places)
    ]


# addr2line does not see what is inlined in clang's DWARF 5
@pytest.mark.parametrize(("compiler", "version"), [("gcc", 3), ("gcc", 5), ("clang", 4)])
def test_inlined_functions_as_addr2line_has_them(
    tmp_path: Path, compiler: str, version: int
) -> None:
    program = compile_c(
        tmp_path / "program", "-O2", f"-gdwarf-{version}", source=NESTED, compiler=compiler
    )
    addresses = sorted(set(_addresses(program, 200)))
    names = resolver(lines=True)
    found = names.symbols(mapping_of(program), [BIAS + address for address in addresses])
    names.close()
    depths, equal = set(), 0
    for address, symbol in zip(addresses, found):
        calls = symbol.expanded or (symbol,)
        depths.add(len(calls))
        mine = [(call.symbolName, call.fileName, call.lineNum) for call in calls]
        equal += mine == _inlined_by_addr2line(program, address)
        assert [call.inlined for call in calls] == [True] * (len(calls) - 1) + [False]
        assert (symbol.fileName, symbol.lineNum) == mine[0][1:]
    assert depths == {1, 2, 3}
    assert equal >= 0.99 * len(addresses)


@pytest.mark.parametrize("version", [4, 5])
def test_what_was_split_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Lines are there all the same, but no inlined functions: also when they are in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = INLINED + "int main(void) { return f1(2); }\n"
    flags = ["-O2", f"-gdwarf-{version}"]
    program = compile_c(tmp_path / "program", *flags, "-gsplit-dwarf", source=source)
    whole = compile_c(tmp_path / "whole", *flags, source=source)  # as addr2line can read it
    addresses = _addresses(whole)
    expected = [line for _, line in addr2line(whole, addresses)]
    for _ in range(2):
        found, notes = _lines(program, addresses)
        agreeing = sum(line == judged for (_, line), judged in zip(found, expected))
        assert agreeing >= 0.99 * len(addresses)
        assert [note for note in notes if "-gsplit-dwarf" in note] == notes != []
    assert _lines(program, addresses, inlined=False)[1] == []


def test_lines_from_a_separate_debug_file(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    addresses = _addresses(program, 20)
    expected = addr2line(program, addresses)
    run("objcopy", "--only-keep-debug", program, tmp_path / "program.debug")
    run("strip", program)
    run("objcopy", f"--add-gnu-debuglink={tmp_path / 'program.debug'}", program)
    assert _lines(program, addresses)[0] == expected


def test_lines_of_a_program_that_was_moved_since(tmp_path: Path) -> None:
    """As prelinking does: the debug file has the addresses of before."""
    flags = ("-Wl,--build-id=none", "-O2")
    before = compile_c(tmp_path / "before", *flags, source=INLINED + C_PROGRAM)
    program = compile_c(
        tmp_path / "program",
        *flags,
        "-Wl,-Ttext-segment=0x200000",
        source='#line 1 "before.c"\n' + INLINED + C_PROGRAM,
    )
    addresses = _addresses(program, 50)
    expected = addr2line(before, [address - 0x200000 for address in addresses])
    run("objcopy", "--only-keep-debug", before, tmp_path / "program.debug")
    run("strip", program)
    run("objcopy", f"--add-gnu-debuglink={tmp_path / 'program.debug'}", program)
    assert _lines(program, addresses)[0] == expected


@pytest.mark.parametrize("inlined", [True, False])
def test_a_second_run_needs_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inlined: bool
) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    addresses = _addresses(program, 20)
    first = _lines(program, addresses, inlined=inlined)

    def no_reader() -> None:
        raise AssertionError("the reader was started")

    with monkeypatch.context() as patch:
        patch.setattr("kperf.symbols.lines._Worker", no_reader)
        assert _lines(program, addresses, inlined=inlined) == first
    assert "symbolic" not in sys.modules

    for file in (tmp_path / "cache/kperf").rglob("*.*"):  # rows and converted table
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x55
        file.write_bytes(data)
    assert _lines(program, addresses, inlined=inlined) == first
    for file in (tmp_path / "cache/kperf").rglob("*.*"):
        file.write_bytes(b"")
    assert _lines(program, addresses, inlined=inlined) == first


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found, notes = _lines(program, _addresses(program, 20))
    assert all(line for _, line in found)
    assert notes == []


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MAX_TOTAL", 1000)
    for i in range(10):
        cache.write(str(tmp_path / f"bounded/{i}"), bytes(300))
    left = sorted(file.name for file in (tmp_path / "bounded").iterdir())
    assert len(left) == 3
    assert left[-1] == "9"


def test_nothing_larger_than_the_cache_clears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MAX_TOTAL", 1000)
    cache.write(str(tmp_path / "small"), bytes(300))
    cache.write(str(tmp_path / "large"), bytes(1001))
    assert [file.name for file in tmp_path.iterdir()] == ["small"]


def test_the_rows_of_a_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    monkeypatch.setattr("kperf.symbols.lines._MOST_ROWS", 10)
    addresses = sorted(set(_addresses(program, 60)))
    first = _lines(program, addresses)
    assert len(addresses) > 20
    kept = next((tmp_path / "cache/kperf/lines").iterdir()).read_bytes().partition(b"\n")[2]
    assert json.loads(kept)["addresses"] == addresses[-10:]
    assert _lines(program, addresses) == first


CONCURRENT = """
import json, sys
from symbols.elfs import BIAS, mapping_of, resolver
addresses = json.loads(sys.argv[2])
sys.stdin.read(1)  # all at once
for part in range(0, len(addresses), 20):
    names = resolver(lines=True)
    wanted = [BIAS + address for address in addresses[part : part + 20]]
    found = names.symbols(mapping_of(sys.argv[1]), wanted)
    names.close()
    print(json.dumps([(symbol.fileName, symbol.lineNum) for symbol in found]))
"""


def test_processes_share_the_cache(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    addresses = sorted(set(_addresses(program, 100)))
    expected = dict(zip(addresses, addr2line(program, addresses)))
    orders = [addresses, addresses[::-1], addresses[::2] + addresses[1::2]]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONCURRENT, program, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        for order in orders
    ]
    for order, process in zip(orders, processes):
        out, _ = process.communicate("go")
        assert process.returncode == 0
        found = [tuple(place) for line in out.splitlines() for place in json.loads(line)]
        assert found == [expected[address] for address in order]
    kept = [file.name for file in (tmp_path / "cache/kperf").rglob("*") if file.is_file()]
    assert len([name for name in kept if name.endswith(".inlined")]) == 1
    assert not [name for name in kept if name.startswith(".new-")]


def test_too_much_debug_information_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_c(tmp_path / "program")
    monkeypatch.setattr("kperf.symbols.resolver._line_reader", lambda _: LineReader(limit=100))
    found, notes = _lines(program, _addresses(program, 20))
    assert set(found) == {("", 0)}
    assert len(notes) == 1
    assert "MB of debug information" in notes[0]
    assert "-g1" in notes[0]


@pytest.mark.parametrize("section", [".debug_info", ".debug_line", ".debug_abbrev", ".debug_str"])
def test_damaged_debug_information_costs_lines_only(tmp_path: Path, section: str) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    addresses = _addresses(program, 20)
    contents = tmp_path / "contents"
    chosen = random.Random(section)
    for contents_of in (bytes(5000), chosen.randbytes(5000), b"\xff" * 5000):
        contents.write_bytes(contents_of)
        damaged = tmp_path / "damaged"
        run("objcopy", f"--update-section={section}={contents}", program, damaged)
        _lines(damaged, addresses)  # names are there, and nothing escapes


def test_without_debug_information_there_are_no_lines() -> None:
    names = resolver(lines=True)
    start = next(s.start for s in nm(LIBC, "-D") if s.name.startswith("getpid"))
    symbol = names.symbols(mapping_of(LIBC), [BIAS + start])[0]
    assert symbol.resolved
    names.close()
