"""Which files samples lie in, and what tells them from others of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kperf.export.profile import Profile
from kperf.machine import Machine
from kperf.symbols.elf import find_build_id
from kperf.symbols.files import open_mapped
from kperf.symbols.image import BadFile

_MOST_BYTES = 20  # of a build-id in a record


class KernelMap(NamedTuple):
    """Where the kernel or one of its modules lies."""

    start: int
    length: int
    offset: int
    name: bytes


def _kernel_map(machine: Machine) -> KernelMap | None:
    """The kernel itself, which `perf` knows by the address of its first symbol."""
    text = machine.read_bytes("proc/kallsyms")
    found = {name: _address(text, name) for name in (b"_text", b"_stext", b"_etext")}
    name = b"_text" if found[b"_text"] else b"_stext"
    start, end = found[name], found[b"_etext"]
    if not start or end <= start:  # hidden by kernel.kptr_restrict
        return None
    return KernelMap(start, end - start, start, b"[kernel.kallsyms]" + name)


def _address(kallsyms: bytes, name: bytes) -> int:
    at = kallsyms.find(b" " + name + b"\n")
    line = kallsyms[kallsyms.rfind(b"\n", 0, at) + 1 : at] if at >= 0 else b""
    return int(line.split()[0], 16) if line else 0


def _module_paths(machine: Machine) -> dict[str, str]:
    """Of each module its file, as modprobe knows it."""
    folder = f"/lib/modules/{machine.kernel}"
    found = {}
    for line in (machine.read(f"{folder[1:]}/modules.dep") or "").splitlines():
        path = line.partition(":")[0]
        name = path.rpartition("/")[2].partition(".")[0].replace("-", "_")
        found[name] = f"{folder}/{path}"
    return found


def _module_maps(machine: Machine) -> Iterator[KernelMap]:
    lines = (machine.read("proc/modules") or "").splitlines()
    paths = _module_paths(machine) if lines else {}
    for line in lines:  # name, size, uses, users, state, address
        words = line.split()
        start = int(words[5], 16) if len(words) > 5 else 0
        if start:
            path = paths.get(words[0], f"[{words[0]}]")
            yield KernelMap(start, int(words[1]), 0, path.encode())


def kernel_maps(machine: Machine) -> Iterator[KernelMap]:
    """The kernel and its modules, as far as their addresses may be seen."""
    kernel = _kernel_map(machine)
    if kernel is not None:
        yield kernel
        yield from _module_maps(machine)


class FileId(NamedTuple):
    """A file that samples lie in."""

    is_kernel: bool
    path: bytes
    build_id: bytes


class BuildIds:
    """The build-ids of mapped files: as the kernel told, or as the files that have samples do."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._root = profile.machine.root.rstrip("/")
        self._hit = profile.mappings_hit()
        self._known: dict[object, bytes] = {}

    def of_mapping(self, number: int) -> bytes:
        """Empty where it is not known."""
        mapping = self._profile.mapping(number)
        if mapping.build_id or number not in self._hit or not mapping.is_file:
            return mapping.build_id
        if mapping.identity not in self._known:
            try:
                elf = open_mapped(mapping, self._root).elf
                self._known[mapping.identity] = elf.build_id[:_MOST_BYTES]
                elf.image.close()
            except (BadFile, OSError):  # what its symbols are told of as well
                self._known[mapping.identity] = b""
        return self._known[mapping.identity]

    def of_files(self) -> list[FileId]:
        """The files that samples lie in, the kernel first."""
        found: dict[FileId, None] = {}
        if any(self._profile.kernel_addresses()):
            notes = find_build_id(self._profile.machine.read_bytes("sys/kernel/notes"))
            if notes:
                found[FileId(True, b"[kernel.kallsyms]", notes[:_MOST_BYTES])] = None
        for number in sorted(self._hit):
            build_id = self.of_mapping(number)
            if build_id:
                found[FileId(False, self._profile.mapping_path(number), build_id)] = None
        return list(found)
