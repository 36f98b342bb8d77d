"""The names that a wrong name may have been meant as."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHOWN = 3


def nearest(name: str, known: Iterable[str]) -> str:
    """Up to three of the known names, as a list in words; "" if none is near."""
    import difflib

    wanted = name.lower()
    # An event may be meant without its PMU or subsystem: 'flux_rd' for 'hisi_sccl1_ddrc0/flux_rd/'.
    spellings: dict[str, list[str]] = {}
    for candidate in known:
        lower = candidate.lower()
        for spelling in {lower, re.split("[/:]", lower.strip("/"))[-1]}:
            spellings.setdefault(spelling, []).append(candidate)
    close = difflib.get_close_matches(wanted, spellings, n=_SHOWN, cutoff=0.6)
    found = [candidate for spelling in close for candidate in spellings[spelling]]
    return ", ".join(list(dict.fromkeys(found))[:_SHOWN])


def meant(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A hint: the near names, or what to do where there is none."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise
