"""Symbols kept apart from their program: debug links, build-id directories, MiniDebugInfo."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path

import pytest
from symbols.elfs import BIAS, compile_c, mapping_of, nm, resolver, run

from kperf.symbols.debugfile import find_debug_file
from kperf.symbols.elf import ElfFile
from kperf.symbols.image import BadFile, BytesImage, FileImage


class Split:
    """A stripped program, and what was stripped off it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.whole = compile_c(folder / "whole", *flags)
        self.stripped = folder / "stripped"
        self.debug = folder / "stripped.debug"
        run("objcopy", "--only-keep-debug", self.whole, self.debug)
        run("strip", "-o", self.stripped, self.whole)
        self.address = next(s.start for s in nm(self.whole) if s.name == "middle")

    def link(self) -> None:
        run("objcopy", f"--add-gnu-debuglink={self.debug}", self.stripped)

    def name(self, *, lines: bool = False) -> str:
        names = resolver(lines=lines)
        return names.symbols(mapping_of(self.stripped), [BIAS + self.address])[0].symbolName


def test_a_stripped_program_says_so(tmp_path: Path) -> None:
    split = Split(tmp_path)
    names = resolver()
    found = names.symbols(mapping_of(split.stripped), [BIAS + split.address])
    assert found[0].symbolName == "[unknown]"
    assert found[0].offset == split.address
    assert len(names.notes) == 1
    assert str(split.stripped) in names.notes[0]
    assert "debug package" in names.notes[0]


@pytest.mark.parametrize("build_id", ["-Wl,--build-id", "-Wl,--build-id=none"])
def test_debug_link(tmp_path: Path, build_id: str) -> None:
    split = Split(tmp_path, build_id)
    split.link()
    assert split.name() == "middle"
    (tmp_path / ".debug").mkdir()
    split.debug.rename(tmp_path / ".debug" / split.debug.name)
    assert split.name() == "middle"


def test_debug_link_to_another_file(tmp_path: Path) -> None:
    split = Split(tmp_path, "-Wl,--build-id=none")
    split.link()
    with open(split.debug, "ab") as file:
        file.write(b"one byte more")
    assert split.name() == "[unknown]"


def test_debug_link_to_a_debug_file_of_another_build(tmp_path: Path) -> None:
    split = Split(tmp_path, "-Wl,--build-id=0x1111111111111111")
    split.link()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(Split(other, "-Wl,--build-id=0x2222222222222222").debug, split.debug)
    assert split.name() == "[unknown]"


@pytest.mark.parametrize("link", ["stripped", "../stripped.debug", "..", "", "gone", "pipe"])
def test_absurd_debug_links(tmp_path: Path, link: str) -> None:
    split = Split(tmp_path, "-Wl,--build-id=none")
    os.mkfifo(tmp_path / "pipe")  # opening it must not wait for a writer
    section = tmp_path / "section"
    padded = link.encode().ljust(-(-(len(link) + 1) // 4) * 4, b"\0")
    section.write_bytes(padded + b"\0\0\0\0")
    run("objcopy", f"--add-section=.gnu_debuglink={section}", split.stripped)
    assert split.name() == "[unknown]"


def test_build_id_directory(tmp_path: Path) -> None:
    split = Split(tmp_path, "-Wl,--build-id=0xabcdef0123456789")
    folder = tmp_path / "usr/lib/debug/.build-id/ab"
    folder.mkdir(parents=True)
    split.debug.rename(folder / "cdef0123456789.debug")
    elf = ElfFile(FileImage(str(split.stripped)))
    assert elf.build_id.hex() == "abcdef0123456789"
    found = find_debug_file(elf, str(split.stripped), (str(tmp_path),))
    assert found is not None
    assert found.has_symbols
    assert find_debug_file(elf, str(split.stripped), ("",)) is None


def _with_mini_debug_info(split: Split, folder: Path) -> None:
    mini = folder / "mini"
    run("objcopy", "-S", "--only-keep-debug", "--keep-symbol=middle", split.whole, mini)
    run("objcopy", "--strip-debug", "--only-keep-debug", split.whole, mini)
    run("xz", "-f", mini)
    run("objcopy", f"--add-section=.gnu_debugdata={mini}.xz", split.stripped)


def test_mini_debug_info(tmp_path: Path) -> None:
    split = Split(tmp_path)
    _with_mini_debug_info(split, tmp_path)
    assert split.name() == "middle"


def test_damaged_mini_debug_info_is_told(tmp_path: Path) -> None:
    split = Split(tmp_path)
    section = tmp_path / "section"
    section.write_bytes(b"\xfd7zXZ\0" + b"no xz" * 40)
    run("objcopy", f"--add-section=.gnu_debugdata={section}", split.stripped)
    names = resolver()
    assert not names.symbols(mapping_of(split.stripped), [BIAS + split.address])[0].resolved
    assert any(".gnu_debugdata is damaged" in note for note in names.notes)


def test_mini_debug_info_may_not_unfold_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split(tmp_path)
    bomb = tmp_path / "bomb"
    bomb.write_bytes(bytes(64 << 20))
    run("xz", "-0f", bomb)
    run("objcopy", f"--add-section=.gnu_debugdata={bomb}.xz", split.stripped)
    elf = ElfFile(FileImage(str(split.stripped)))
    monkeypatch.setattr("kperf.symbols.elf._MAX_MINI_DEBUG", 8 << 20)
    tracemalloc.start()
    with pytest.raises(BadFile):
        elf.mini_debug_info()
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_debug_file_needs_no_code() -> None:
    with pytest.raises(Exception, match="no ELF file"):
        ElfFile(BytesImage(b"#!/bin/sh\n"))
