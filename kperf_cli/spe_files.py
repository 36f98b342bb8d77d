"""The files of `kperf spe` beside its tables: a text dump, a perf.data, the raw bytes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import click

from kperf import export
from kperf.spe.data import SpeData
from kperf.spe.spool import SpoolFile, write_raw

_DUMP, _PERF_DATA = ".txt", ".data"


class Files(NamedTuple):
    """Where what goes; None: nowhere."""

    profile: str | None
    raw: str | None

    @property
    def needs_rows(self) -> bool:
        return self.profile is not None and self.profile.endswith(_DUMP)

    def open_spool(self, files: ExitStack) -> SpoolFile | None:
        """The file that records are written to as they come, if any is wanted."""
        if self.profile is not None and self.profile.endswith(_PERF_DATA):
            return files.enter_context(SpoolFile(self.profile))
        if self.raw is None:
            return None
        return files.enter_context(SpoolFile(self.raw, kept=False))

    def write(self, data: SpeData, spool: SpoolFile | None) -> None:
        """Writes what is made at the end. Raises `KperfError`."""
        if self.raw is not None and spool is not None:
            write_raw(spool.readable_at, self.raw)
        if self.profile is not None and self.needs_rows:
            export.write(data, self.profile, "dump")


def files_of(given: Mapping[str, Any]) -> Files:
    """What -o and --raw name; -o names a table where its suffix or another option says so."""
    path = given["output"]
    is_profile = path is not None and path.endswith((_DUMP, _PERF_DATA))
    if not is_profile or given["as_json"] or given["as_csv"] or given["form"]:
        return Files(None, given["raw"])
    if given["decode"] is not None and path.endswith(_PERF_DATA):
        raise click.UsageError("--decode makes no perf.data: copy the file, or give -o FILE.txt")
    return Files(path, given["raw"])
