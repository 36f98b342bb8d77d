"""Files that lie about themselves: nothing escapes, nothing hangs, the module is named."""

from __future__ import annotations

import random
import resource
import struct
from pathlib import Path

import pytest
from symbols.elfs import BIAS, compile_c, mapping_of, nm, resolver, run

from kperf.symbols.index import IndexBuilder, Section


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small program with all that is parsed: two symbol tables, notes, PLT, debug link."""
    folder = tmp_path_factory.mktemp("small")
    program = compile_c(folder / "small", "-Wl,--build-id,-z,noseparate-code")
    run("strip", "-g", program)
    run("objcopy", f"--add-gnu-debuglink={program}.c", program)
    return program


def _resolve(path: Path, mapping_source: Path) -> tuple[bool, list[str]]:
    mapping = mapping_of(mapping_source)._replace(path=str(path), inode=0)
    names = resolver()
    addresses = list(range(mapping.start, mapping.end, 7))
    found = names.symbols(mapping, addresses)
    assert [symbol.addr for symbol in found] == addresses
    return any(symbol.resolved for symbol in found), names.notes


def _damaged(data: bytes, chosen: random.Random) -> bytes:
    bad = bytearray(data)
    kind = chosen.randrange(4)
    if kind == 0:
        return bytes(bad[: chosen.randrange(len(bad))])
    if kind == 1:
        start = chosen.randrange(len(bad))
        bad[start : start + chosen.randrange(4096)] = b""
        return bytes(bad)
    headers = [*range(64), *range(len(bad) - 64 * 40, len(bad))]
    for _ in range(chosen.randrange(1, 30)):
        at = chosen.choice(headers) if kind == 2 else chosen.randrange(len(bad))
        bad[at] = chosen.choice((0, 0xFF, 0x7F, chosen.randrange(256)))
    return bytes(bad)


def test_damaged_programs(small: Path, tmp_path: Path) -> None:
    data, chosen = small.read_bytes(), random.Random(20)
    target = tmp_path / "damaged"
    outcomes = []
    for _ in range(400):
        target.write_bytes(_damaged(data, chosen))
        resolved, notes = _resolve(target, small)
        outcomes.append(resolved)
        assert all(str(target) in note for note in notes)
    assert {True, False} == set(outcomes)  # some damage is harmless, some is not


@pytest.mark.parametrize("size", [0, 3, 63, 64, 4096])
@pytest.mark.parametrize("kept", [0, 16, 64])
def test_empty_and_zero_filled_programs(small: Path, tmp_path: Path, size: int, kept: int) -> None:
    target = tmp_path / "zeros"
    target.write_bytes(small.read_bytes()[: min(size, kept)].ljust(size, b"\0"))
    resolved, notes = _resolve(target, small)
    assert not resolved
    assert len(notes) == 1
    assert notes[0].startswith(f"{target}: ")


def _patched(small: Path, target: Path, kind: bytes, at: int, value: bytes) -> None:
    """A copy in which one field of every section header of a type is another."""
    data = bytearray(small.read_bytes())
    start = struct.unpack_from("<Q", data, 0x28)[0]
    entry, number = struct.unpack_from("<HH", data, 0x3A)
    for header in range(start, start + entry * number, entry):
        if data[header + 4 : header + 8] == kind:
            data[header + at : header + at + len(value)] = value
    target.write_bytes(data)


SYMTAB, STRTAB, NOTE = (struct.pack("<I", kind) for kind in (2, 3, 7))


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**40, 2**31])
@pytest.mark.parametrize("kind", [SYMTAB, STRTAB, NOTE])
@pytest.mark.parametrize("field", [0x18, 0x20])
def test_absurd_offsets_and_sizes(
    small: Path, tmp_path: Path, value: int, kind: bytes, field: int
) -> None:
    target = tmp_path / "absurd"
    _patched(small, target, kind, field, struct.pack("<Q", value))
    resolved, notes = _resolve(target, small)
    if kind == SYMTAB:
        assert resolved  # by its dynamic symbols
        assert notes
    if kind == STRTAB:
        assert not resolved


def test_a_table_whose_names_are_itself(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "cyclic"
    index = next(
        int(line.split("]")[0].strip(" ["))
        for line in run("readelf", "-SW", small).splitlines()
        if ".symtab" in line
    )
    _patched(small, target, SYMTAB, 0x28, struct.pack("<I", index))
    _resolve(target, small)


def test_a_sparse_giant_is_not_read(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "giant"
    _patched(small, target, SYMTAB, 0x20, struct.pack("<Q", 1 << 40))
    with open(target, "r+b") as file:
        file.truncate((1 << 40) + (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, notes = _resolve(target, small)
    assert any("does not read so much" in note for note in notes)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def _table(symbols: list[tuple[int, int, int]]) -> bytes:
    """Elf64_Sym of global functions in section 1: name, value, size."""
    return b"".join(struct.pack("<IBBHQQ", n, 0x12, 0, 1, v, s) for n, v, s in symbols)


def test_a_million_symbols() -> None:
    names = b"\0" + b"".join(b"f%06d\0" % i for i in range(1_000_000))
    entries = [(1 + 8 * i, 0x1000 + 16 * i, 16) for i in range(1_000_000)]
    random.Random(4).shuffle(entries)
    builder = IndexBuilder()
    everything = [Section(0, 0, False), Section(0, 1 << 40, True)]
    builder.add_elf(True, _table(entries), names, everything, 0)
    index = builder.finish()
    wanted = random.Random(5).sample(range(1_000_000), 5000)
    found = index.lookup([0x1000 + 16 * i + 5 for i in wanted])
    assert [entry and entry.name for entry in found] == [b"f%06d" % i for i in wanted]


def test_a_million_nested_symbols_and_one_endless_name() -> None:
    names = b"\0" + b"x" * 1_000_000 + b"\0"
    entries = [(1, 0x1000 + i, 4_000_000 - 2 * i) for i in range(1_000_000)]
    builder = IndexBuilder()
    everything = [Section(0, 0, False), Section(0, 1 << 40, True)]
    builder.add_elf(True, _table(entries), names, everything, 0)
    index = builder.finish()
    assert len(index) < 1000  # the same bytes may not be named without end
    assert index.lookup([0x1000 + 3_999_999])[0] is not None

    builder.add_elf(True, _table([(1_000_000, v, s) for _, v, s in entries]), names, everything, 0)
    index = builder.finish()
    found = index.lookup([0x1000 + 3_999_999, 0x1000 + 4_000_000] * 5000)
    assert found[0] is not None
    assert found[0].start == 0x1000
    assert found[1] is None


def test_a_symbol_that_overflows_the_address_space() -> None:
    builder = IndexBuilder()
    nowhere = [Section(0, 0, False)]
    top = 2**64 - 8
    builder.add_elf(True, _table([(1, top, 2**64 - 1), (1, 16, 2**64 - 1)]), b"\0n\0", nowhere, 0)
    index = builder.finish()
    assert all(index.lookup([16, top, 2**64 - 2]))
    assert index.lookup([15]) == [None]


def test_the_small_program_itself_resolves(small: Path) -> None:
    start = next(s.start for s in nm(small) if s.name == "leaf")
    assert resolver().symbols(mapping_of(small), [BIAS + start])[0].symbolName == "leaf"
