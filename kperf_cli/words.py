"""Text that is safe to show: names of files and programs may hold anything."""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text with every character that moves a cursor, or cannot be encoded, written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clean(text: str) -> str:
    """The text as valid Unicode: bytes of an argument that are no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
