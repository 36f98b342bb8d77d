"""Names as text of a file: they may hold anything that a file name or a symbol table may."""

from __future__ import annotations

import re


def hexadecimal(found: re.Match[str]) -> str:
    r"""Characters that would break a line, each byte written \xNN."""
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))


def encode(text: str) -> bytes:
    """Text as the bytes of a file; what is no text is written as a backslash escape."""
    return text.encode("utf-8", "backslashreplace")
