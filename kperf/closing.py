"""What is closed at the end of a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

_C = TypeVar("_C", bound="Closing")


class Closing(ABC):
    """Holds something of the system's until `close()`; a context manager that calls it."""

    @abstractmethod
    def close(self) -> None:
        """Gives it back. May be called again."""

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
