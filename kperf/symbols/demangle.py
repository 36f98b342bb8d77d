"""The names that C++ and Rust programmers wrote, from those that their compilers made of them."""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache
from typing import Any

_LONGEST = 1 << 14  # names grow when they are read: by a multiple, if they were made to
_RUST_ESCAPES = {
    "SP": "@",
    "BP": "*",
    "RF": "&",
    "LT": "<",
    "GT": ">",
    "LP": "(",
    "RP": ")",
    "C": ",",
}
_RUST_HASH = re.compile(r"17h[0-9a-f]{16}E")
_RUST_ESCAPE = re.compile(r"\$(?:u([0-9a-f]{1,6})|([A-Z]{1,2}))\$|\.\.|\.")


@lru_cache(maxsize=1 << 16)
def demangle(name: str) -> str:
    """The readable name; the name itself where it is not mangled, or nothing here can read it."""
    if len(name) > _LONGEST or not name.startswith(("_Z", "_R", "__Z")):
        return name
    base, at, version = name.partition("@")  # name@plt, name@@VERSION
    return (_rust_legacy(base) or _rust_v0(base) or _cxx(base) or base) + at + version


# ---- C++ ----


@lru_cache(maxsize=1)
def _cxx_library() -> Any | None:
    """The C++ runtime that every distribution has; None where this one has not."""
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        library.__cxa_demangle.restype = ctypes.c_void_p
        library.__cxa_demangle.argtypes = (
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_int),
        )
        library.free.argtypes = (ctypes.c_void_p,)
        library.free.restype = None
    except (OSError, AttributeError):
        return None
    return library


def _cxx(name: str) -> str:
    library = _cxx_library()
    if library is None or not name.startswith("_Z"):
        return ""
    status = ctypes.c_int()
    raw = library.__cxa_demangle(
        name.encode("utf-8", "surrogateescape"), None, None, ctypes.byref(status)
    )
    if not raw:
        return ""
    try:
        return ctypes.string_at(raw).decode("utf-8", "backslashreplace")
    finally:
        library.free(raw)


# ---- Rust before its v0 scheme ----


def _rust_legacy(name: str) -> str:
    """_ZN4core3fmt5write17h0123456789abcdefE: C++'s nesting, with a hash as its last part."""
    end = _RUST_HASH.search(name)
    if end is None or not name.startswith("_ZN"):
        return ""
    parts, at = [], 3
    while at < end.start():
        digits = re.match(r"[0-9]{1,5}", name[at:])
        if digits is None:
            return ""
        at += digits.end()
        size = int(digits.group())
        parts.append(name[at : at + size])
        at += size
    if at != end.start() or not parts:
        return ""
    return "::".join(map(_unescape, parts)) + _clone_of(name[end.end() :])


def _unescape(part: str) -> str:
    return _RUST_ESCAPE.sub(_unescaped, part[1:] if part.startswith("_$") else part)


def _unescaped(found: re.Match[str]) -> str:
    if found.group() == "..":
        return "::"
    if found.group(1):
        code = int(found.group(1), 16)
        return chr(code) if code <= 0x10FFFF else found.group()
    return _RUST_ESCAPES.get(found.group(2) or "", found.group())


def _clone_of(suffix: str) -> str:
    """What LLVM appended, as .llvm.1234 or .cold, the way C++'s names show it."""
    if not suffix or suffix.startswith(".llvm."):
        return ""
    return f" [clone {suffix}]" if suffix.startswith(".") else suffix


def _rust_v0(name: str) -> str:
    if not name.startswith("_R"):
        return ""
    from kperf.symbols.rust_v0 import demangle_v0

    base, dot, suffix = name.partition(".")
    return demangle_v0(base) + _clone_of(dot + suffix) if demangle_v0(base) else ""
