"""Which file is read: deleted, replaced and foreign ones, and processes that are gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from symbols.elfs import BIAS, compile_c, live_mapping, mapping_of, nm, resolver, run, running

from kperf.symbols.elf import ElfFile
from kperf.symbols.image import FileImage

OTHER = "int other(int n) { return n; } int next(int n) { return n + 2; } int main(void) {}"


def _replace(program: Path) -> None:
    """Another program at the same path, as an upgrade puts it there."""
    compile_c(program.with_name("new"), source=OTHER)
    os.replace(program.with_name("new"), program)


def _start(program: Path, name: str = "leaf") -> int:
    return next(s.start for s in nm(program) if s.name == name)


def test_a_deleted_program_that_runs(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    with running(program) as (pid, places):
        os.unlink(program)
        mapping = live_mapping(pid, places["leaf"])
        assert mapping.path.endswith(" (deleted)")
        names = resolver()
        found = names.symbols(mapping, [places["leaf"]])
        assert (found[0].symbolName, found[0].module) == ("leaf", str(program))
        assert names.notes == []


def test_a_replaced_program_that_runs(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    with running(program) as (pid, places):
        before = live_mapping(pid, places["leaf"])
        _replace(program)
        for mapping in (before, live_mapping(pid, places["leaf"])):
            assert resolver().symbols(mapping, [places["leaf"]])[0].symbolName == "leaf"


def test_a_replaced_program_that_is_gone(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    start, mapping = _start(program), mapping_of(program, pid=2**22 + 1)
    shutil.copy(program, tmp_path / "kept")  # so that its inode is not given to the new one
    os.rename(program, tmp_path / "old")
    compile_c(program, source=OTHER)
    names = resolver()
    found = names.symbols(mapping, [BIAS + start])
    assert found[0].symbolName == "[unknown]"
    assert "replaced" in names.notes[0]
    assert str(program) in names.notes[0]
    names.symbols(mapping, [BIAS + start])
    assert len(names.notes) == 1


def _in_a_container(program: Path, folder: Path) -> tuple[str, ...]:
    """A command that runs its arguments where a file system of its own, with the program, is."""
    script = f'mount -t tmpfs none "{folder}" && cp "{program}" "{folder}" && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")


@pytest.mark.parametrize("decoy", [True, False])
def test_a_program_that_only_its_container_has(tmp_path: Path, decoy: bool) -> None:
    program, folder = compile_c(tmp_path / "program"), tmp_path / "inside"
    folder.mkdir()
    if decoy:
        compile_c(folder / "program", source=OTHER)
    with running(folder / "program", *_in_a_container(program, folder)) as (pid, places):
        assert (folder / "program").exists() == decoy  # what we see there is another one
        names = resolver()
        mapping = live_mapping(pid, places["leaf"])
        assert mapping.path == str(folder / "program")
        assert names.symbols(mapping, [places["leaf"]])[0].symbolName == "leaf"
        assert names.notes == []


def test_the_debug_file_of_a_container_s_program(tmp_path: Path) -> None:
    program, folder = compile_c(tmp_path / "program"), tmp_path / "inside"
    folder.mkdir()
    run("objcopy", "--only-keep-debug", program, tmp_path / "program.debug")
    run("strip", program)
    run("objcopy", f"--add-gnu-debuglink={tmp_path / 'program.debug'}", program)
    *unshare, script, name = _in_a_container(program, folder)
    script = script.replace("&& exec", f'&& cp "{tmp_path}/program.debug" "{folder}" && exec')
    with running(folder / "program", *unshare, script, name) as (pid, places):
        (tmp_path / "program.debug").unlink()
        found = resolver().symbols(live_mapping(pid, places["middle"]), [places["middle"]])
        assert found[0].symbolName == "middle"


def test_the_build_id_decides_where_it_is_known(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id")
    build_id = ElfFile(FileImage(str(program))).build_id
    mapping = mapping_of(program, build_id=build_id)._replace(inode=0, device=(0, 0))
    start = _start(program)
    assert resolver().symbols(mapping, [BIAS + start])[0].symbolName == "leaf"
    wrong = mapping._replace(build_id=bytes(len(build_id)))
    assert resolver().symbols(wrong, [BIAS + start])[0].symbolName == "[unknown]"


def test_a_short_build_id_that_the_kernel_padded(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", "-Wl,--build-id=0x1234567890abcdef")
    padded = bytes.fromhex("1234567890abcdef").ljust(20, b"\0")
    mapping = mapping_of(program, build_id=padded)
    assert resolver().symbols(mapping, [BIAS + _start(program)])[0].symbolName == "leaf"


def test_another_device_is_another_file(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    if os.major(os.stat(program).st_dev) == 0:
        device = (8, 1)  # a file system without a number of its own is not compared
        expected = "leaf"
    else:
        device, expected = (250, 77), "[unknown]"
    mapping = mapping_of(program)._replace(device=device)
    assert resolver().symbols(mapping, [BIAS + _start(program)])[0].symbolName == expected


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program")
    mapping, start = mapping_of(program, pid=2**22 + 1), _start(program)
    os.unlink(program)
    names = resolver()
    found = names.symbols(mapping, [BIAS + start])
    assert found[0].offset == start - mapping.start + BIAS + mapping.offset
    assert (found[0].codeMapAddr, found[0].codeMapEndAddr) == (mapping.start, mapping.end)
    assert "it is gone" in names.notes[0]


def test_what_is_mapped_but_no_file(tmp_path: Path) -> None:
    mapping = mapping_of(compile_c(tmp_path / "program"))._replace(pid=os.getpid())
    for path in ("//anon", "[heap]", "", "anon_inode:[perf_event]", "[anon:v8]"):
        names = resolver()
        found = names.symbols(mapping._replace(path=path), [mapping.start + 5])
        assert (found[0].symbolName, found[0].module) == ("[unknown]", path)
        assert names.notes == []


def test_a_pipe_at_a_mapped_path_is_not_waited_for(tmp_path: Path) -> None:
    mapping = mapping_of(compile_c(tmp_path / "program"))
    os.mkfifo(tmp_path / "pipe")
    mapping = mapping._replace(path=str(tmp_path / "pipe"), inode=0)
    names = resolver()
    assert not names.symbols(mapping, [mapping.start])[0].resolved
    assert "regular file" in names.notes[0]


def test_the_vdso() -> None:
    import ctypes

    here = _vdso_range()
    assert here is not None
    vdso = ctypes.CDLL("linux-vdso.so.1")
    address = ctypes.cast(vdso.clock_gettime, ctypes.c_void_p).value
    if address is None or not here[0] <= address < here[1]:
        address = ctypes.cast(vdso.__vdso_clock_gettime, ctypes.c_void_p).value
    assert address is not None
    mapping = mapping_of("/proc/self/exe")._replace(
        start=here[0], end=here[1], offset=0, path="[vdso]", inode=0
    )
    names = resolver()
    found = names.symbols(mapping, [address])
    assert found[0].symbolName.endswith("clock_gettime")
    assert (found[0].module, found[0].offset, names.notes) == ("[vdso]", 0, [])
    other = resolver()
    assert not other.symbols(mapping._replace(end=here[1] + 4096), [address])[0].resolved
    assert "[vdso]" in other.notes[0]


def _vdso_range() -> tuple[int, int] | None:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            start, end = line.split()[0].split("-")
            return int(start, 16), int(end, 16)
    return None
