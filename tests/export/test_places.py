"""Where profiles are written: whole or not at all, and errors that tell what to do."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import as_nobody, rooted, run_python, together

import kperf
from kperf import export
from kperf.export.place import appending, replacing

BLOCK = b"0123456789abcde\n" * 65536  # a MiB


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_badly(place: Any, target: Path) -> None:
    with place(str(target)) as out:
        out.write(BLOCK)
        out.write(b"half a line")
        raise ZeroDivisionError


# ---- replacing ----


def test_a_file_appears_when_it_is_whole(target: Path) -> None:
    with replacing(str(target)) as out:
        out.write(BLOCK)
        assert not target.exists()
    assert target.read_bytes() == BLOCK
    assert files(target.parent) == [target.name]


def test_a_failure_keeps_the_old_file(target: Path) -> None:
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_badly(replacing, target)
    assert target.read_text() == "old"
    assert files(target.parent) == [target.name]


def test_a_new_file_keeps_the_rights_of_the_old_one(target: Path) -> None:
    target.write_text("old")
    target.chmod(0o640)
    with replacing(str(target)) as out:
        out.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_rights_that_the_user_gives(target: Path) -> None:
    mask = os.umask(0o027)
    try:
        with replacing(str(target)) as out:
            out.write(b"new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_links_stay_links(target: Path) -> None:
    target.write_text("old")
    symbolic, hard = target.with_name("symbolic"), target.with_name("hard")
    symbolic.symlink_to(target)
    os.link(target, hard)
    for name in (symbolic, hard):
        with replacing(str(name)) as out:
            out.write(name.name.encode())
        assert target.read_text() == name.name
    assert symbolic.is_symlink()
    assert hard.samefile(target)


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with replacing(str(target)) as out:
        out.write(b"new")
    assert files(tmp_path) == [target.name]


def test_a_fifo_gets_the_bytes(target: Path) -> None:
    os.mkfifo(target)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(target.read_bytes()))
    reader.start()
    with replacing(str(target)) as out:
        out.write(BLOCK)
    reader.join()
    assert read == [BLOCK]
    assert stat.S_ISFIFO(target.stat().st_mode)


_TO_STDOUT = """
import os
from kperf.export.place import replacing
os.write(1, b"before ")
with replacing("/dev/stdout") as out:
    out.write(b"within ")
os.write(1, b"after")
"""


@pytest.mark.parametrize("place", ["file", "pipe"])
def test_standard_output_goes_on_as_it_was(target: Path, place: str) -> None:
    """A file that a shell redirects to is not replaced under it."""
    command = [sys.executable, "-I", "-c", _TO_STDOUT]
    if place == "pipe":
        assert subprocess.check_output(command) == b"before within after"
        return
    with target.open("wb") as out:
        subprocess.run(command, stdout=out, check=True)
    assert target.read_bytes() == b"before within after"


# ---- appending ----


def test_what_is_appended_stands_behind(target: Path) -> None:
    for text in (b"one\n", b"two\n"):
        with appending(str(target)) as out:
            out.write(text)
    assert target.read_bytes() == b"one\ntwo\n"


def test_a_failure_leaves_no_line(target: Path) -> None:
    target.write_bytes(b"old\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            write_badly(appending, target)
    assert target.read_bytes() == b"old\n"


def test_a_failure_leaves_no_file_that_was_not_there(target: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_badly(appending, target)
    assert files(target.parent) == []


def test_two_that_append_at_once_do_not_mix(target: Path) -> None:
    def append(letter: bytes) -> None:
        for _ in range(5):
            with appending(str(target)) as out:
                for _ in range(40):
                    out.write(letter * 9999 + b"\n")

    together(lambda: append(b"a"), lambda: append(b"b"))
    blocks = target.read_bytes().split(b"\n")[:-1]
    assert len(blocks) == 400
    runs = [blocks[i] for i in range(len(blocks)) if i == 0 or blocks[i] != blocks[i - 1]]
    assert len(runs) <= 10
    assert {bytes(set(block)) for block in blocks} == {b"a", b"b"}


# ---- refusals ----


@contextmanager
def refused(pattern: str) -> Iterator[None]:
    with pytest.raises(kperf.KperfError, match=pattern) as caught:
        yield
    assert caught.value.code == kperf.Error.WRITE_FAILED
    assert caught.value.hint


@pytest.mark.parametrize("place", [replacing, appending])
def test_a_directory_that_is_not_there(target: Path, place: Any) -> None:
    below = str(target / "below")
    with refused("a profile/below.*No such file or dir.*make its directory"), place(below):
        pytest.fail("opened")


@pytest.mark.parametrize("place", [replacing, appending])
def test_a_directory_in_its_place(tmp_path: Path, place: Any) -> None:
    with refused("Is a directory.*name a file in it"), place(str(tmp_path)):
        pytest.fail("opened")


@pytest.mark.parametrize("name", ["", "with\0nul"])
@pytest.mark.parametrize("place", [replacing, appending])
def test_what_is_no_name(name: str, place: Any) -> None:
    with refused("no name of a file"), place(name):
        pytest.fail("opened")


@rooted
def test_a_place_of_somebody_else(stacks: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    target = str(tmp_path / "a.folded")
    stacks.stacks.symbols  # noqa: B018  (they are looked up while root may read the files)

    def attempt() -> str:
        try:
            export.write(stacks, target)
        except kperf.KperfError as failure:
            return str(failure)
        return "written"

    message = as_nobody(attempt)
    assert "Permission denied" in message
    assert target in message
    assert "may write to" in message


@pytest.mark.parametrize("place", [replacing, appending])
def test_a_full_device(place: Any) -> None:
    with refused("/dev/full.*No space left.*free some space"), place("/dev/full") as out:
        out.write(BLOCK)


@pytest.mark.parametrize("place", ["replacing", "appending"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_disk_that_fills_while_it_is_written(target: Path, place: str, size: int) -> None:
    """A limit of the file's size is met as a full disk is: some of a write goes well."""
    target.write_bytes(b"old\n")
    done = run_python(
        f"""
        import resource, sys
        import kperf
        from kperf.export.place import {place} as place
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_003, 100_003))
        try:
            with place(sys.argv[1]) as out:
                for _ in range({(1 << 20) // size if size > 1 else 100_100}):
                    out.write(b"x" * {size})
        except kperf.KperfError as failure:
            print(failure)
        """,
        target,
    )
    assert "File too large" in done.stdout
    assert "ulimit -f" in done.stdout
    assert target.read_bytes() == b"old\n"
    assert files(target.parent) == [target.name]


@pytest.mark.parametrize("place", [replacing, appending])
def test_a_reader_that_has_gone(target: Path, place: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with refused("Broken pipe.*reader"), place(f"/dev/fd/{writer}") as out:
            out.write(BLOCK)
    finally:
        os.close(writer)


def test_a_descriptor_that_is_not_open(target: Path) -> None:
    fd = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
    with refused("Bad file descriptor"), replacing(f"/dev/fd/{fd}") as out:
        out.write(b"new")
