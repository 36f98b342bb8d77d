"""Names as text of a file: they may hold anything that a file name or a symbol table may."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kperf.symbols.symbol import Symbol


def hexadecimal(found: re.Match[str]) -> str:
    r"""Characters that would break a line, each byte written \xNN."""
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))


def encode(text: str) -> bytes:
    """Text as the bytes of a file; what is no text is written as a backslash escape."""
    return text.encode("utf-8", "backslashreplace")


def function_name(symbol: Symbol, is_kernel: bool) -> str:
    """What a function is called where no module stands beside it: one without a name [module]."""
    if symbol.resolved or not symbol.module or is_kernel:
        return symbol.symbolName
    return f"[{os.path.basename(symbol.module).strip('[]')}]"
