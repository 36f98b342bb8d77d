"""Finding the file that was mapped: it may be in a container, deleted, or replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from kperf.symbols.elf import ElfFile
from kperf.symbols.image import BadFile, FileImage

DELETED = " (deleted)"


class Mapping(NamedTuple):
    """A range of a process's memory, and what is mapped there."""

    start: int
    end: int
    offset: int  # of `start` in the file
    path: str  # as os.fsdecode() has it, so that it opens whatever its bytes are
    build_id: bytes  # empty: not known
    inode: int  # 0: not known
    device: tuple[int, int]
    pid: int

    @property
    def plain_path(self) -> str:
        """Its path without the kernel's note that the file is gone."""
        return self.path[: -len(DELETED)] if self.path.endswith(DELETED) else self.path

    @property
    def shown_path(self) -> str:
        """Its plain path as text: bytes that are no UTF-8 become U+FFFD."""
        return os.fsencode(self.plain_path).decode("utf-8", "replace")

    @property
    def is_file(self) -> bool:
        return self.path.startswith("/") and not self.path.startswith("//")

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this file from all others."""
        if self.build_id:
            return (self.build_id,)
        if self.inode:
            return (self.device, self.inode, self.plain_path)
        return (self.pid, self.path)


class OpenFile(NamedTuple):
    """The mapped file, opened."""

    elf: ElfFile
    path: str
    roots: tuple[str, ...]  # directories that may stand for its process's /


class _Candidate(NamedTuple):
    path: str
    is_exact: bool  # the kernel says that it is the very file that is mapped


def _candidates(mapping: Mapping, root: str) -> Iterator[_Candidate]:
    """Where the mapped file may be reached, the cheapest way first."""
    process = f"{root}/proc/{mapping.pid}"
    if not mapping.path.endswith(DELETED):
        yield _Candidate(root + mapping.path, False)
        yield _Candidate(f"{process}/root{mapping.path}", False)
    by_range = f"{process}/map_files/{mapping.start:x}-{mapping.end:x}"
    for link in (by_range, f"{process}/exe"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if _plain(target) == mapping.plain_path:
            yield _Candidate(link, True)
    if mapping.path.endswith(DELETED):  # another one may have come in its place, checked by the id
        yield _Candidate(root + mapping.plain_path, False)


def _plain(path: str) -> str:
    return path[: -len(DELETED)] if path.endswith(DELETED) else path


def _is_mapped_one(mapping: Mapping, image: FileImage, elf: ElfFile, is_exact: bool) -> bool:
    """Whether a file found by its name is what was mapped."""
    if mapping.build_id:
        # the kernel gives 20 bytes, padded with zeros where the build-id is shorter
        own = elf.build_id
        return (
            bool(own)
            and own == mapping.build_id[: len(own)]
            and not any(mapping.build_id[len(own) :])
        )
    if is_exact:
        return True
    if not mapping.inode:
        return not mapping.path.endswith(DELETED)
    if image.stat.st_ino != mapping.inode:
        return False
    # file systems without a device of their own (btrfs, overlay) show another number to stat
    device = (os.major(image.stat.st_dev), os.minor(image.stat.st_dev))
    return device == mapping.device or 0 in (device[0], mapping.device[0])


_CLOSED = "run kperf as root, or as the user who may read the file"
_REPLACED = "start the program again and record anew"


def _refusal(causes: list[OSError], is_replaced: bool) -> BadFile:
    """Why none of the candidates was the file."""
    if is_replaced:
        return BadFile("it was replaced since the program mapped it", _REPLACED)
    for cause in causes:
        if not isinstance(cause, (FileNotFoundError, NotADirectoryError)):
            return BadFile(f"it cannot be opened ({cause.strerror})", _CLOSED)
    return BadFile("it is gone", "keep the file until its symbols are read")


def open_mapped(mapping: Mapping, root: str) -> OpenFile:
    """Opens the very file that was mapped, and never one that took its place.

    Raises BadFile where it cannot be had, or is no ELF file.
    """
    causes: list[OSError] = []
    is_replaced = False
    for path, is_exact in _candidates(mapping, root):
        try:
            image = FileImage(path)
        except OSError as cause:
            causes.append(cause)
            continue
        try:
            elf = ElfFile(image)
        except (OSError, BadFile):
            image.close()
            if is_exact or not _may_be_another(mapping, image):
                raise
            is_replaced = True
            continue
        if _is_mapped_one(mapping, image, elf, is_exact):
            return OpenFile(elf, path, _roots(path, mapping, root))
        image.close()
        is_replaced = True
    raise _refusal(causes, is_replaced)


def _may_be_another(mapping: Mapping, image: FileImage) -> bool:
    """Whether an unreadable file may be unreadable because it is not the one that was mapped."""
    return bool(mapping.inode) and image.stat.st_ino != mapping.inode


def _roots(path: str, mapping: Mapping, root: str) -> tuple[str, ...]:
    inside = f"{root}/proc/{mapping.pid}/root"
    if path == root + mapping.path:
        return (root,)
    return (inside, root) if os.path.isdir(inside) else (root,)
