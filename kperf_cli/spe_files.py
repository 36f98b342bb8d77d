"""The files of `kperf spe` beside its tables: a text dump, a perf.data, the raw bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple

import click

from kperf import export
from kperf.events.event import Event
from kperf.export.place import replacing
from kperf.spe.data import SpeData
from kperf.spe.spool import SpoolFile, write_raw

_DUMP, _PERF_DATA = ".txt", ".data"


class Files(NamedTuple):
    """Where what goes; None: nowhere."""

    profile: str | None
    raw: str | None

    @property
    def is_dump(self) -> bool:
        return self.profile is not None and self.profile.endswith(_DUMP)

    def open(self, stack: ExitStack) -> OpenFiles:
        """Raises `KperfError` where one of them cannot be written."""
        spool = dump = raw = None
        if self.profile is not None and not self.is_dump:
            spool = stack.enter_context(SpoolFile(self.profile))
        elif self.raw is not None:
            spool = stack.enter_context(SpoolFile(self.raw, kept=False))
        if self.profile is not None and self.is_dump:
            dump = stack.enter_context(export.opened(self.profile, "dump"))
        if self.raw is not None:
            raw = stack.enter_context(replacing(self.raw))
        return OpenFiles(spool, dump, raw)


class OpenFiles(NamedTuple):
    """Those that are wanted. The spool is what records are written to as they come."""

    spool: SpoolFile | None
    dump: Callable[..., None] | None
    raw: BinaryIO | None

    @property
    def spool_fd(self) -> int:
        """For the core; -1: nothing is kept as it comes."""
        return -1 if self.spool is None else self.spool.fd

    def save(self, data: SpeData, event: Event | None) -> None:
        """Writes what is made at the end. `event` is None where a file was read."""
        if self.spool is not None and event is not None:
            self.spool.finish(event, data)
            if self.raw is not None:
                write_raw(self.spool.readable_at, self.raw)
        if self.dump is not None:
            self.dump(data)


def files_of(given: Mapping[str, Any]) -> Files:
    """What -o and --raw name; -o names a table where its suffix or another option says so."""
    path = given["output"]
    is_profile = path is not None and path.endswith((_DUMP, _PERF_DATA))
    if not is_profile or given["as_json"] or given["as_csv"] or given["form"]:
        return Files(None, given["raw"])
    if given["decode"] is not None and path.endswith(_PERF_DATA):
        raise click.UsageError("--decode makes no perf.data: copy the file, or give -o FILE.txt")
    return Files(path, given["raw"])
