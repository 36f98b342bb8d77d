"""Profiles as files: one writer a file, all fed by one model of the profile.

What a format holds stands in the docstring of its module:

    dump        text, one sample a line            (dump.py)
    perf.data   what `perf report` reads           (perfdata.py)
    folded      stacks for flame graphs            (folded.py)
    speedscope  JSON for speedscope.app            (speedscope.py)
    firefox     JSON for profiler.firefox.com      (firefox.py)
    pprof       protocol buffer for `pprof`        (pprof.py)

Importing this costs nothing: a writer is loaded when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from kperf.errors import Error, error

if TYPE_CHECKING:
    from kperf.data import PmuData
    from kperf.export.profile import Profile

# The suffixes that choose a format.
FORMATS: dict[str, tuple[str, ...]] = {
    "dump": (".txt",),
    "perf.data": (".data",),
    "folded": (".folded",),
    "speedscope": (".speedscope.json",),
    "firefox": (".profile.json", ".profile.json.gz"),
    "pprof": (".pb.gz",),
}

_MODULES = {"perf.data": "perfdata"}  # where the name of a format is none for a module


class _Writer(Protocol):
    """What the module of each format has."""

    def write(self, profile: Profile, out: BinaryIO) -> None: ...


def _known() -> str:
    return ", ".join(f"{suffixes[0]} ({name})" for name, suffixes in FORMATS.items())


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's suffix stands for. Raises `KperfError` where it stands for none."""
    name = os.fspath(path)
    for form, suffixes in FORMATS.items():
        if name.endswith(suffixes):
            return form
    raise error(
        Error.INVALID_ARGUMENT,
        f"the suffix of {name} stands for no format of profiles",
        hint=f"use one of {_known()}, or name the format",
    )


def _checked_format(name: str, form: str, append: bool) -> str:
    form = form or format_of(name)
    if form not in FORMATS:
        raise error(
            Error.INVALID_ARGUMENT,
            f"there is no format '{form}' of profiles",
            hint=f"choose from {', '.join(FORMATS)}",
        )
    if append and form != "dump":
        raise error(
            Error.INVALID_ARGUMENT, f"nothing can be added to a file of {form}", hint="use dump"
        )
    return form


@contextmanager
def _compressing(out: BinaryIO) -> Iterator[BinaryIO]:
    from gzip import GzipFile

    with GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as small:
        yield cast(BinaryIO, small)


@contextmanager
def opened(
    path: str | os.PathLike[str], format: str = "", *, append: bool = False
) -> Iterator[Callable[..., None]]:
    """A file to write a profile to, opened before there is one: a refusal comes at once.

    What it gives is called with the data and with `lines` and `command`, as `write` is. The file
    appears when the context ends, unless by an exception.
    """
    name = os.fspath(path)
    form = _checked_format(name, format, append)
    from kperf.export.place import appending, replacing
    from kperf.export.profile import Profile

    writer = cast(_Writer, import_module(f"kperf.export.{_MODULES.get(form, form)}"))
    is_small = form == "pprof" or (form == "firefox" and name.endswith(".gz"))
    form_of_bytes = _compressing if is_small else nullcontext
    with (appending if append else replacing)(name) as place, form_of_bytes(place) as out:
        yield lambda data, **known: writer.write(Profile(data, **known), out)


def write(
    data: PmuData,
    path: str | os.PathLike[str],
    format: str = "",
    *,
    lines: bool = False,
    command: Sequence[str] = (),
    append: bool = False,
) -> None:
    """Writes what was read as a file of a format: "" chooses it by the suffix.

    lines    with source files and lines, where the format has them only on demand (dump)
    command  what was recorded, for formats that tell
    append   add to the file's end (dump only); else the file appears whole, or not at all

    Raises `KperfError` for a format that is not known or cannot hold this data, and where the file
    cannot be written.
    """
    with opened(path, format, append=append) as put:
        put(data, lines=lines, command=command)
