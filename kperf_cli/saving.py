"""What was collected, and files of it beside its table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import kperf

_Files = TypeVar("_Files")
_Result = TypeVar("_Result")


def collect_and_save(
    open_files: Callable[[ExitStack], _Files],
    collect: Callable[[_Files], _Result],
    save: Callable[[_Files, _Result], None],
) -> tuple[_Result, kperf.KperfError | None]:
    """What was collected, and why files of it could not be written.

    They are open before anything is collected, so that a refusal comes at once. One that comes
    later is to be raised when the table is shown: what was collected is not lost with a file.
    """
    collected = None
    try:
        with ExitStack() as stack:
            files = open_files(stack)
            collected = collect(files)
            save(files, collected)
    except kperf.KperfError as failure:
        if collected is None:
            raise
        return collected, failure
    return collected, None
