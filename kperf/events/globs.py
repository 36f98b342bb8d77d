"""Patterns of names, as a shell knows them."""

from __future__ import annotations

from collections.abc import Iterable

_SPECIAL = frozenset("*?[")


def is_glob(text: str) -> bool:
    """Whether a text is a pattern, and not a name itself."""
    return not _SPECIAL.isdisjoint(text)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches, in their order; case matters."""
    from fnmatch import fnmatchcase

    return [name for name in names if fnmatchcase(name, pattern)]
