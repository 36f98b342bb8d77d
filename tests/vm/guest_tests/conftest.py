"""What the guest's tests share. A machine without the guest's devices skips them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import guest
import pytest

PATIENCE_S = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in guest.DEVICES if not (guest.EVENT_SOURCE / name).exists()]
    if missing:
        reason = f"no {', '.join(missing[:3])} here: made for the guest that run-tests boots"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def guard() -> Iterator[None]:
    """Ends a test that hangs, so that the others run. No thread, which would be counted."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"still running after {PATIENCE_S} s"))
    signal.alarm(PATIENCE_S)
    yield
    signal.alarm(0)


@pytest.fixture
def paranoid() -> Iterator[Callable[[int], None]]:
    """Sets kernel.perf_event_paranoid until the test's end."""
    path = Path("/proc/sys/kernel/perf_event_paranoid")
    before = path.read_text()
    yield lambda level: void(path.write_text(f"{level}\n"))
    path.write_text(before)


def void(_value: object) -> None:
    """For a callable whose value nobody wants."""


@pytest.fixture
def speed() -> Iterator[Callable[[int], None]]:
    """Makes the devices of rigsoc count so many times as fast, until the test's end."""
    path = Path("/sys/module/rigsoc/parameters/speed")
    before = path.read_text()
    yield lambda factor: void(path.write_text(f"{factor}\n"))
    path.write_text(before)
