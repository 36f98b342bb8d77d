"""perf.data: the file that `perf report` and `perf script` read.

The format is described in the kernel's tools/perf/Documentation/perf.data-file-format.txt: a
header, the events' attributes and their numbers, the records in order of time (perfdata_records.py)
and features, which say where and how it was recorded (perfdata_features.py). Everything is in the
byte order of this machine, and every time of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from kperf.errors import Error, KperfError, error
from kperf.export.perfdata_features import features
from kperf.export.perfdata_records import Attribute, Records, attributes
from kperf.export.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

# struct perf_file_header: magic, size, attr_size, then the sections attrs, data and event_types,
# and 256 bits of features.
_HEADER = struct.Struct("=8sQQ 2Q2Q2Q 32s")
_SECTION = struct.Struct("=QQ")  # where it begins and how long it is


def _attribute_section(attrs: Sequence[Attribute], first: int) -> tuple[bytes, bytes]:
    """The numbers of all events, which stand at `first`, and the section that points to them."""
    ids = b"".join(struct.pack("=Q", attr.id) for attr in attrs)
    entries = [
        attr.encoded + _SECTION.pack(first + 8 * index, 8) for index, attr in enumerate(attrs)
    ]
    return ids, b"".join(entries)


def _write_features(out: BinaryIO, found: dict[int, bytes]) -> None:
    """A table of sections, in order of the features' bits, and behind it what it points to."""
    at = out.tell() + _SECTION.size * len(found)
    for _, body in sorted(found.items()):
        out.write(_SECTION.pack(at, len(body)))
        at += len(body)
    for _, body in sorted(found.items()):
        out.write(body)


def _write(profile: Profile, out: BinaryIO) -> None:
    attrs = attributes(profile)
    ids, attr_section = _attribute_section(attrs, _HEADER.size)
    attrs_at = _HEADER.size + len(ids)
    data_at = attrs_at + len(attr_section)
    out.write(bytes(_HEADER.size))
    out.write(ids + attr_section)
    records = Records(profile, attrs)
    size = 0
    for block in records.blocks():
        out.write(block)
        size += len(block)
    found = features(profile, attrs, records)
    _write_features(out, found)
    out.seek(0)
    bits = sum(1 << bit for bit in found)
    out.write(
        _HEADER.pack(
            b"PERFILE2",
            _HEADER.size,
            len(attrs[0].encoded) + _SECTION.size if attrs else _SECTION.size,
            *(attrs_at, len(attr_section)),
            *(data_at, size),
            *(0, 0),
            bits.to_bytes(32, "little"),
        )
    )


def _spooled(profile: Profile) -> BinaryIO:
    """All of the file in a temporary one, from its beginning. Raises `KperfError`."""
    spool = None
    try:
        spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  (the caller closes it)
        _write(profile, spool)
        spool.seek(0)
    except OSError as cause:
        if spool is not None:
            with suppress(OSError):  # it tries once more to write what it holds
                spool.close()
        if isinstance(cause, KperfError):
            raise
        folder = tempfile.tempdir or "any directory"
        raise error(
            Error.WRITE_FAILED,
            f"cannot write a temporary file in {folder} ({cause.strerror})",
            hint="make room there, or name another directory in TMPDIR",
            errno=cause.errno or 0,
        ) from cause
    return spool


def write(profile: Profile, out: BinaryIO) -> None:
    """Writes samples. Where the header cannot be filled in at the end, by way of another file."""
    profile.samples  # noqa: B018  (refuses counts)
    if out.seekable() and out.tell() == 0:
        _write(profile, out)
        return
    with _spooled(profile) as spool:
        shutil.copyfileobj(spool, out)
