"""Arguments of the wrong kind: TypeError for a type, `KperfError` for a number out of range."""

from __future__ import annotations

from kperf.errors import Error, error

_MOST_BYTES = 1 << 62


def of_type(name: str, value: object, *types: type) -> None:
    """Raises TypeError where a value is of none of these types."""
    if not isinstance(value, types):
        known = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
        raise TypeError(f"{name} must be {known}, not {type(value).__name__}")


def size(name: str, value: int) -> int:
    """A number of bytes."""
    of_type(name, value, int)
    if not 0 <= value <= _MOST_BYTES:
        raise error(
            Error.INVALID_ARGUMENT,
            f"{name}={value} is no size",
            hint="give bytes, or 0 for what suits the machine",
        )
    return value
