"""What a check found."""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"
LIMITED = "limited"  # it works, but not for everything
MISSING = "missing"  # it does not work


class Finding(NamedTuple):
    """One thing about this machine.

    topic  a name of `kperf.doctor.TOPICS`
    state  OK, LIMITED or MISSING
    what   one sentence without a full stop: what was found, and what follows from it
    fix    what to do about it, as a command where there is one; "" where nothing is to do
    """

    topic: str
    state: str
    what: str
    fix: str = ""
