"""The fields of a tracepoint's samples, as the kernel's own `format` file describes them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from kperf.errors import Error, KperfError, error
from kperf.events.nearest import meant

if TYPE_CHECKING:
    from kperf.data import ImplPmuData
    from kperf.machine import Machine

Value = Union[int, str, bytes, "tuple[int, ...]"]

# How a field lies in the bytes of a sample.
INTEGER, STRING, BYTES, INTEGERS = "integer", "string", "bytes", "integers"
_WORD_SIZES = (1, 2, 4, 8)

# Where a field's bytes are told by a word that stands in its place: the offset in the lower half,
# from the sample's begin (__data_loc) or from the word's end (__rel_loc); the length in the upper.
_DATA_LOC, _REL_LOC = "__data_loc", "__rel_loc"

_LINE = re.compile(
    r"^\s*field:(?P<text>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);"
    r"(?:\s*signed:(?P<signed>[01]);)?",
    re.MULTILINE,
)
_DECLARATION = re.compile(
    r"^(?:(?P<loc>__data_loc|__rel_loc)\s+)?(?P<type>.*?)\s*"
    r"(?P<empty>\[\s*\])?\s*(?P<name>\w+)\s*(?P<array>\[[^\]]*\])?$"
)

# Bytes of one element, where an array's whole size does not tell: by the type's name.
_LONG = 8 if sys.maxsize > 1 << 32 else 4
_ELEMENT_SIZES: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), size)
    for pattern, size in (
        (r"\b(?:char|bool|_Bool|(?:__)?[us]8|u?int8_t)$", 1),
        (r"\b(?:short|(?:__)?(?:[us]|le|be)16|u?int16_t)$", 2),
        (r"\blong long$|\b(?:__)?(?:[us]|le|be)64$|\bu?int64_t$", 8),
        (r"\blong$|\*$|\bsize_t$|\bcpumask_t$|\bpgoff_t$", _LONG),
        (r"\b(?:int|unsigned|signed|(?:__)?(?:[us]|le|be)32|u?int32_t|pid_t|dev_t)$", 4),
    )
)


class SampleRawField:
    """Where a field lies in the raw bytes of a tracepoint's sample.

    `field_str` is its declaration as the kernel writes it; `offset` and `size` are in bytes, of
    `__data_loc` and `__rel_loc` fields those of the word that tells where the data lie.
    """

    __slots__ = ("field_name", "field_str", "is_signed", "offset", "size")

    def __init__(
        self, field_name: str, field_str: str, offset: int, size: int, is_signed: bool
    ) -> None:
        self.field_name = field_name
        self.field_str = field_str
        self.offset = offset
        self.size = size
        self.is_signed = is_signed

    @property
    def fieldName(self) -> str:
        return self.field_name

    @property
    def fieldStr(self) -> str:
        return self.field_str

    @property
    def isSigned(self) -> bool:
        return self.is_signed

    def __repr__(self) -> str:
        return f"<field {self.field_str}; offset {self.offset}, {self.size} bytes>"


class Field(NamedTuple):
    """One field of a format, with how its bytes are read."""

    described: SampleRawField
    location: str  # "", __data_loc or __rel_loc
    kind: str
    element: int  # bytes of one number of an array

    def bytes_of(self, raw: memoryview) -> memoryview:
        """The field's own bytes. Raises INVALID_FIELD where the sample does not hold them."""
        offset, size = self.described.offset, self.described.size
        if self.location and offset + size <= len(raw):
            word = int.from_bytes(raw[offset : offset + size], sys.byteorder)
            base = offset + size if self.location == _REL_LOC else 0
            offset, size = base + (word & 0xFFFF), word >> 16
        elif not self.location and size == 0:  # a flexible array: what is left
            size = max(0, len(raw) - offset)
        if offset + size > len(raw):
            raise error(
                Error.INVALID_FIELD,
                f"the sample ends before its field {self.described.field_name}",
                hint="the tracepoint was changed meanwhile: open it again",
            )
        return raw[offset : offset + size]

    def value_of(self, raw: memoryview) -> Value:
        """An int, a str (up to its NUL), bytes, or a tuple of ints."""
        return _READERS[self.kind](self, self.bytes_of(raw))

    def _number(self, data: memoryview) -> int:
        return int.from_bytes(data, sys.byteorder, signed=self.described.is_signed)

    def _numbers(self, data: memoryview) -> tuple[int, ...]:
        step = self.element
        ends = range(step, len(data) + 1, step)
        return tuple(self._number(data[end - step : end]) for end in ends)


_READERS: Mapping[str, Callable[[Field, memoryview], Value]] = {
    INTEGER: Field._number,
    STRING: lambda _field, data: bytes(data).partition(b"\0")[0].decode("utf-8", "replace"),
    BYTES: lambda _field, data: bytes(data),
    INTEGERS: Field._numbers,
}


def _element_size(type_name: str) -> int:
    """0: not known."""
    return next((size for form, size in _ELEMENT_SIZES if form.search(type_name)), 0)


def _array_kind(type_name: str, size: int, count: str, is_dynamic: bool) -> tuple[str, int]:
    """How an array is read, and the bytes of an element."""
    if re.search(r"\bchar$", type_name) and "unsigned" not in type_name:
        return STRING, 1
    number = int(count) if count.isdecimal() else 0
    element = size // number if number and not is_dynamic else _element_size(type_name)
    if element == 1 or element not in _WORD_SIZES:
        return BYTES, 1
    return INTEGERS, element


def _field(text: str, offset: int, size: int, signed: bool) -> Field | None:
    declared = _DECLARATION.match(text.strip())
    if declared is None:
        return None
    location = declared["loc"] or ""
    described = SampleRawField(declared["name"], text.strip(), offset, size, signed)
    if location or declared["array"] or declared["empty"]:
        count = (declared["array"] or "").strip("[] ")
        kind, element = _array_kind(declared["type"], size, count, bool(location))
    else:
        kind, element = (INTEGER if size in _WORD_SIZES else BYTES), size
    return Field(described, location, kind, element)


class Format:
    """A tracepoint's fields by name, in their order; those of `common_*` stand first."""

    def __init__(self, event: str, text: str) -> None:
        self.event = event
        self.fields: dict[str, Field] = {}
        for line in _LINE.finditer(text):
            found = _field(
                line["text"], int(line["offset"]), int(line["size"]), line["signed"] == "1"
            )
            if found is not None:
                self.fields[found.described.field_name] = found

    def field(self, name: str) -> Field:
        found = self.fields.get(name)
        if found is None:
            raise error(
                Error.INVALID_FIELD,
                f"{self.event} has no field '{name}'",
                hint=meant(name, self.fields, otherwise=f"it has {', '.join(self.fields)}"),
            )
        return found

    def decode(self, raw: memoryview) -> dict[str, Value]:
        """Every field's value."""
        return {name: field.value_of(raw) for name, field in self.fields.items()}


def _parts(event: str) -> tuple[str, str]:
    system, _, rest = event.partition(":")
    return system, rest.partition(":")[0]  # modifiers stand behind


def is_tracepoint(event: str) -> bool:
    """Whether an event's name can be a tracepoint's."""
    system, name = _parts(event)
    return bool(name) and "/" not in system


_parse = cache(Format)  # by the text as well: a probe of the same name may be defined anew


def format_of(machine: Machine, event: str) -> Format:
    """The format of a tracepoint. Raises INVALID_FIELD for what is none."""
    system, name = _parts(event)
    text = machine.trace_format(system, name) if is_tracepoint(event) else None
    if text is None:
        raise error(
            Error.INVALID_FIELD,
            f"{event} is no tracepoint, and has no fields",
            hint="sample one, such as 'sched:sched_switch': see 'kperf list trace'",
        )
    return _parse(event, text)


def _no_raw(row: ImplPmuData) -> KperfError:
    return error(
        Error.INVALID_FIELD,
        f"this row of {row.evt} has no raw data",
        hint="fields belong to tracepoints that are sampled (PmuTaskType.SAMPLING)",
    )


def field_of(row: ImplPmuData, name: str) -> tuple[Field, memoryview]:
    """A row's field, and the raw bytes that it lies in."""
    raw, form = row.rawData, row.format
    if raw is None or form is None:
        raise _no_raw(row)
    return form.field(name), raw


# ---- into a caller's buffer ----


def _null() -> KperfError:
    return error(
        Error.INVALID_ARGUMENT, "the pointer is NULL", hint="point it to a buffer of your own"
    )


def _target(value: Any) -> Any:
    """What a ctypes pointer points to; anything else is the buffer itself."""
    import ctypes

    if not isinstance(value, ctypes._Pointer):
        return getattr(value, "_obj", value)  # of byref()
    if not value:
        raise _null()
    return value.contents


def _writable(value: Any) -> Any:
    """A writable view of a caller's buffer, or TypeError."""
    try:
        view = memoryview(value).cast("B")
    except TypeError:
        view = None
    if view is None or view.readonly:
        raise TypeError(
            f"value must be a ctypes pointer or a writable buffer, not {type(value).__name__}"
        )
    return view


def _is_integer(target: Any) -> bool:
    import ctypes

    code = getattr(type(target), "_type_", "")
    return (
        isinstance(target, ctypes._SimpleCData) and isinstance(code, str) and code in "bBhHiIlLqQ?"
    )


def _too_small(field: Field, needed: int, room: int) -> KperfError:
    return error(
        Error.INVALID_FIELD,
        f"{field.described.field_name} has {needed} bytes, and the buffer {room}",
        hint=f"give it at least {needed}",
    )


def copy_field(row: ImplPmuData, name: str, value: Any) -> None:
    """Writes a field into a ctypes pointer's target or a writable buffer.

    A wider integer gets the number with its sign; of a longer buffer the rest becomes zero. A bare
    c_void_p is an address of unknown room: it gets the field's bytes alone. Raises TypeError for
    what cannot be written to, `KperfError` for a field that is not there or a buffer too small.
    """
    import ctypes

    field, raw = field_of(row, name)
    data = bytes(field.bytes_of(raw))
    if type(value) is ctypes.c_void_p:
        if not value.value:
            raise _null()
        ctypes.memmove(value.value, data, len(data))
        return
    if isinstance(value, (ctypes.c_char_p, ctypes.c_wchar_p)):
        raise TypeError("value must point to a buffer: create_string_buffer(128), not a c_char_p")
    target = _target(value)
    view = _writable(target)
    if len(view) < len(data):
        raise _too_small(field, len(data), len(view))
    if field.kind == INTEGER and _is_integer(target):
        number = field.value_of(raw)
        mask = (1 << 8 * len(view)) - 1
        data = (int(number) & mask).to_bytes(len(view), sys.byteorder)  # type: ignore[arg-type]
    view[:] = data + bytes(len(view) - len(data))
