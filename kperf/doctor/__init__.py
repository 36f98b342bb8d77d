"""What this machine lets kperf do, what stands in its way, and the command that removes it.

Each topic is a file of checks; a check reads, tries, and yields findings. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kperf.doctor import hardware, limits, permissions, symbols, tracing
from kperf.doctor.finding import LIMITED, MISSING, OK, Finding
from kperf.errors import Error, error
from kperf.machine import Machine

__all__ = ["LIMITED", "MISSING", "OK", "TOPICS", "Finding", "examine"]

# In the order of a page: topic, and what yields its findings.
TOPICS: dict[str, Callable[[Machine], Iterator[Finding]]] = {
    "permission": permissions.check_permission,
    "container": permissions.check_container,
    "pmu": hardware.check_core_pmus,
    "devices": hardware.check_devices,
    "branches": hardware.check_branches,
    "spe": hardware.check_spe,
    "descriptors": limits.check_descriptors,
    "memory": limits.check_memory,
    "rate": limits.check_rate,
    "tracepoints": tracing.check_tracepoints,
    "bpf": tracing.check_bpf,
    "kernel-symbols": symbols.check_kernel_symbols,
    "source-lines": symbols.check_source_lines,
}


def examine(machine: Machine, topics: Iterable[str] = ()) -> list[Finding]:
    """The findings of these topics, or of all, in the order of `TOPICS`.

    Raises `KperfError` for a topic that there is none of.
    """
    asked = list(topics)
    for topic in asked:
        if topic not in TOPICS:
            raise error(
                Error.INVALID_ARGUMENT,
                f"there is no topic '{topic}'",
                hint=f"choose from {', '.join(TOPICS)}",
            )
    return [
        finding
        for topic, check in TOPICS.items()
        if not asked or topic in asked
        for finding in check(machine)
    ]
