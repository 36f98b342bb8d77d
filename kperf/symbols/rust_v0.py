"""Rust's v0 names (RFC 2603), which begin with _R: a grammar with back references.

Depth and length are bounded: a name of a hundred bytes can stand for a petabyte.
"""

from __future__ import annotations

from collections.abc import Callable

_MAX_DEPTH = 128
_MAX_LENGTH = 1 << 14
_BASE_62 = {
    c: i for i, c in enumerate("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}
_BASIC_TYPES = {
    "a": "i8",
    "b": "bool",
    "c": "char",
    "d": "f64",
    "e": "str",
    "f": "f32",
    "h": "u8",
    "i": "isize",
    "j": "usize",
    "l": "i32",
    "m": "u32",
    "n": "i128",
    "o": "u128",
    "p": "_",
    "s": "i16",
    "t": "u16",
    "u": "()",
    "v": "...",
    "x": "i64",
    "y": "u64",
    "z": "!",
}
_POINTERS = {"R": "&", "Q": "&mut ", "P": "*const ", "O": "*mut "}
_SPECIAL_NAMESPACES = {"C": "closure", "S": "shim"}


class _Malformed(Exception):  # noqa: N818 - never leaves this file
    pass


def demangle_v0(name: str) -> str:
    """The readable name; "" for what is none of Rust's."""
    if not name.startswith("_R") or not name.isascii():
        return ""
    parser = _Parser(name[2:])
    try:
        text = parser.path(in_value=True)
        if parser.at < len(parser.text):  # the crate that instantiated it
            parser.path(in_value=False)
        return text if parser.at == len(parser.text) else ""
    except (_Malformed, IndexError, ValueError):
        return ""


class _Parser:
    """Recursive descent over one name."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._depth = 0
        self._written = 0
        self._lifetimes = 0

    # ---- characters ----

    def _take(self) -> str:
        c = self.text[self.at]
        self.at += 1
        return c

    def _took(self, c: str) -> bool:
        if self.text.startswith(c, self.at):
            self.at += 1
            return True
        return False

    def _base_62(self) -> int:
        """_ is 0, 0_ is 1, and so on."""
        value, digits = 0, 0
        while not self._took("_"):
            value = value * 62 + _BASE_62.get(self._take(), 1 << 70)
            digits += 1
            if value >= 1 << 64:
                raise _Malformed
        return value + 1 if digits else 0

    def _optional_62(self, tag: str) -> int:
        return self._base_62() + 1 if self._took(tag) else 0

    def _counted(self, text: str) -> str:
        self._written += len(text)
        if self._written > _MAX_LENGTH:
            raise _Malformed
        return text

    def _decimal(self) -> str:
        """Digits; a 0 is one by itself, as the next number may follow it."""
        start = self.at
        if not self._took("0"):
            while self.text[self.at : self.at + 1].isdigit():
                self.at += 1
        digits = self.text[start : self.at]
        if not digits or len(digits) > 5:
            raise _Malformed
        return digits

    def _identifier(self) -> str:
        is_punycode = self._took("u")
        digits = self._decimal()
        self._took("_")
        end = self.at + int(digits)
        if end > len(self.text):
            raise _Malformed
        raw, self.at = self.text[self.at : end], end
        return self._counted(_unpunycoded(raw) if is_punycode else raw)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Malformed

    def _back(self) -> int:
        """Where a back reference leads: always to what was read before it."""
        tag = self.at - 1
        target = self._base_62()
        if target >= tag:
            raise _Malformed
        self._counted(" ")  # else a chain of references that print nothing would never end
        after, self.at = self.at, target
        return after

    # ---- paths ----

    def path(self, *, in_value: bool) -> str:
        self._enter()
        kind = self._take()
        if kind == "B":
            after = self._back()
            text = self.path(in_value=in_value)
            self.at = after
        else:
            text = self._plain_path(kind, in_value)
        self._depth -= 1
        return text

    def _plain_path(self, kind: str, in_value: bool) -> str:
        if kind == "C":
            self._optional_62("s")
            return self._identifier()
        if kind == "N":
            return self._nested(in_value)
        if kind in "MX":
            self._optional_62("s")
            self.path(in_value=False)
        if kind == "M":
            return f"<{self._type()}>"
        if kind in "XY":
            return f"<{self._type()} as {self.path(in_value=False)}>"
        if kind == "I":
            base = self.path(in_value=in_value)
            arguments = ", ".join(self._until_end(self._generic))
            return self._counted(f"{base}{'::' if in_value else ''}<{arguments}>")
        raise _Malformed

    def _nested(self, in_value: bool) -> str:
        namespace = self._take()
        base = self.path(in_value=in_value)
        number = self._optional_62("s")
        name = self._identifier()
        if namespace.isupper():
            label = _SPECIAL_NAMESPACES.get(namespace, namespace)
            return f"{base}::{{{label}{':' + name if name else ''}#{number}}}"
        if not namespace.islower():
            raise _Malformed
        return f"{base}::{name}" if name else base

    def _until_end(self, read: Callable[[], str]) -> list[str]:
        parts = []
        while not self._took("E"):
            self._counted(", ")
            parts.append(read())
        return parts

    def _generic(self) -> str:
        if self._took("L"):
            return self._lifetime(self._base_62())
        return self._const() if self._took("K") else self._type()

    def _lifetime(self, number: int) -> str:
        if number == 0:
            return "'_"
        depth = self._lifetimes - number
        if depth < 0:
            raise _Malformed
        return f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}"

    # ---- types ----

    def _type(self) -> str:
        self._enter()
        text = self._counted(self._any_type())
        self._depth -= 1
        return text

    def _any_type(self) -> str:
        kind = self._take()
        if kind in _BASIC_TYPES:
            return _BASIC_TYPES[kind]
        if kind in _POINTERS:
            return self._pointer(kind)
        reader = {
            "A": self._array,
            "S": self._slice,
            "T": self._tuple,
            "F": self._function,
            "D": self._dyn,
            "B": self._back_type,
        }.get(kind)
        if reader is not None:
            return reader()
        self.at -= 1
        return self.path(in_value=False)

    def _pointer(self, kind: str) -> str:
        lifetime = ""
        if kind in "RQ" and self._took("L"):
            number = self._base_62()
            lifetime = f"{self._lifetime(number)} " if number else ""
        sigil = _POINTERS[kind]
        return f"{sigil[0]}{lifetime}{sigil[1:]}{self._type()}"

    def _array(self) -> str:
        return f"[{self._type()}; {self._const()}]"

    def _slice(self) -> str:
        return f"[{self._type()}]"

    def _tuple(self) -> str:
        parts = self._until_end(self._type)
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"

    def _back_type(self) -> str:
        after = self._back()
        text = self._type()
        self.at = after
        return text

    def _binder(self) -> str:
        number = self._optional_62("G")
        if number > 64:
            raise _Malformed
        self._lifetimes += number
        names = ", ".join(self._lifetime(i) for i in range(number, 0, -1))
        return f"for<{names}> " if number else ""

    def _function(self) -> str:
        outer = self._lifetimes
        text = self._binder()
        text += "unsafe " if self._took("U") else ""
        if self._took("K"):
            abi = "C" if self._took("C") else self._identifier().replace("_", "-")
            text += f'extern "{abi}" '
        text += f"fn({', '.join(self._until_end(self._type))})"
        returned = self._type()
        self._lifetimes = outer
        return text if returned == "()" else f"{text} -> {returned}"

    def _dyn(self) -> str:
        outer = self._lifetimes
        text = "dyn " + self._binder() + " + ".join(self._until_end(self._dyn_trait))
        self._lifetimes = outer
        if not self._took("L"):
            raise _Malformed
        number = self._base_62()
        return f"{text} + {self._lifetime(number)}" if number else text

    def _dyn_trait(self) -> str:
        text = self.path(in_value=False)
        bindings = []
        while self._took("p"):
            bindings.append(f"{self._identifier()} = {self._type()}")
        if not bindings:
            return text
        inner = ", ".join(bindings)
        return f"{text[:-1]}, {inner}>" if text.endswith(">") else f"{text}<{inner}>"

    # ---- constants ----

    def _const(self) -> str:
        self._enter()
        kind = self._take()
        if kind == "B":
            after = self._back()
            text = self._const()
            self.at = after
        elif kind == "p":
            text = "_"
        elif kind in "abchijlmnostxy":
            text = self._number(kind)
        else:
            raise _Malformed
        self._depth -= 1
        return text

    def _number(self, kind: str) -> str:
        sign = "-" if self._took("n") else ""
        end = self.text.index("_", self.at)
        digits, self.at = self.text[self.at : end], end + 1
        value = int(digits or "0", 16)
        if kind == "b":
            return "true" if value else "false"
        if kind == "c":
            return repr(chr(value)) if value <= 0x10FFFF else hex(value)
        return f"{sign}{value}"


def _unpunycoded(raw: str) -> str:
    """Rust writes the last hyphen of punycode as an underscore."""
    ascii_part, underscore, rest = raw.rpartition("_")
    return (ascii_part + ("-" if underscore else "") + rest).encode().decode("punycode")
