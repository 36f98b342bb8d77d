"""Separate debug files: by build-id, by debug link, or embedded."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence

from kperf.symbols.elf import ElfFile
from kperf.symbols.image import BadFile, FileImage

_DEBUG_DIR = "/usr/lib/debug"
_CHUNK = 1 << 20


def _by_build_id(build_id: bytes, roots: Sequence[str]) -> Iterator[str]:
    if len(build_id) < 2:
        return
    name = build_id.hex()
    for root in roots:
        yield f"{root}{_DEBUG_DIR}/.build-id/{name[:2]}/{name[2:]}.debug"


def _by_link(link: bytes, path: str, roots: Sequence[str]) -> Iterator[str]:
    """Where gdb looks as well. A name with a slash would lead anywhere, so it is none."""
    name = os.fsdecode(link)
    if not name or "/" in name or name in (".", ".."):
        return
    folder = os.path.dirname(path)
    yield f"{folder}/{name}"
    yield f"{folder}/.debug/{name}"
    for root in roots:
        inside = folder[len(root) :] if root and folder.startswith(root) else folder
        yield f"{root}{_DEBUG_DIR}{inside}/{name}"


def crc32(image: FileImage) -> int:
    """The checksum that a debug link holds."""
    crc = 0
    for offset in range(0, image.size, _CHUNK):
        crc = zlib.crc32(image.read(offset, min(_CHUNK, image.size - offset)), crc)
    return crc


def _belongs(candidate: ElfFile, image: FileImage, elf: ElfFile) -> bool:
    """Whether a file found by its name is the one that was split off."""
    if elf.build_id and candidate.build_id:
        return elf.build_id == candidate.build_id
    return elf.debug_link is not None and crc32(image) == elf.debug_link[1]


def _opened(path: str, elf: ElfFile) -> ElfFile | None:
    """A candidate, or None where it is not there or is not this file's."""
    try:
        image = FileImage(path)
    except (OSError, BadFile):
        return None
    is_itself = isinstance(elf.image, FileImage) and os.path.samestat(elf.image.stat, image.stat)
    try:
        candidate = None if is_itself else ElfFile(image)
        if candidate is not None and _belongs(candidate, image, elf):
            return candidate
    except (OSError, BadFile):
        pass
    image.close()
    return None


def find_debug_file(elf: ElfFile, path: str, roots: Sequence[str]) -> ElfFile | None:
    """The separate debug file of `elf`, which was opened at `path`; None where there is none.

    `roots` are the directories that the process may have taken for /, ours ("") among them.
    """
    candidates = list(_by_build_id(elf.build_id, roots))
    if elf.debug_link is not None:
        candidates += _by_link(elf.debug_link[0], path, roots)
    for candidate in candidates:
        found = _opened(candidate, elf)
        if found is not None:
            return found
    return None
