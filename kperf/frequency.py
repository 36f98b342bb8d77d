"""How fast a CPU runs, by cpufreq, else by CPPC, else by the cycles counted in a moment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from kperf.errors import Error, KperfError, error
from kperf.machine import Machine

_CPU = "sys/devices/system/cpu"
_KHZ, _MHZ = 1_000, 1_000_000
_MOMENT_S = 0.01  # over which counters are compared


class Frequency(NamedTuple):
    """A CPU's frequencies in Hz; None where the machine does not tell."""

    now: int | None = None
    lowest: int | None = None
    highest: int | None = None


class _Feedback(NamedTuple):
    """CPPC's counters: cycles of the reference clock, and cycles that were delivered."""

    reference: int
    delivered: int


# ---- cpufreq (Documentation/admin-guide/pm/cpufreq.rst): kHz ----


def _cpufreq(machine: Machine, cpu: int, *names: str) -> int | None:
    """The first of the files that has a frequency."""
    for name in names:
        khz = machine.read_int(f"{_CPU}/cpu{cpu}/cpufreq/{name}")
        if khz:
            return khz * _KHZ
    return None


# ---- CPPC (Documentation/admin-guide/acpi/cppc_sysfs.rst): MHz, and abstract performance ----


def _cppc(machine: Machine, cpu: int, name: str) -> int | None:
    return machine.read_int(f"{_CPU}/cpu{cpu}/acpi_cppc/{name}")


def _hz_of_performance(machine: Machine, cpu: int, performance: int | None) -> int | None:
    """Frequency grows with performance, and one point of the line is known: the nominal one."""
    mhz, nominal = _cppc(machine, cpu, "nominal_freq"), _cppc(machine, cpu, "nominal_perf")
    if not (mhz and nominal and performance):
        return None
    return mhz * _MHZ * performance // nominal


def _feedback(machine: Machine, cpu: int) -> _Feedback | None:
    """`ref:<n> del:<n>`."""
    text = machine.read(f"{_CPU}/cpu{cpu}/acpi_cppc/feedback_ctrs") or ""
    counters = dict(part.partition(":")[::2] for part in text.split())
    try:
        return _Feedback(int(counters["ref"]), int(counters["del"]))
    except (KeyError, ValueError):
        return None


def _delivered(machine: Machine, cpu: int, before: _Feedback, after: _Feedback) -> int | None:
    """The frequency between two looks; None where the clock stood still, as in an idle CPU."""
    reference = after.reference - before.reference
    if reference <= 0 or after.delivered < before.delivered:
        return None
    hz = _hz_of_performance(machine, cpu, _cppc(machine, cpu, "reference_perf"))
    return None if hz is None else hz * (after.delivered - before.delivered) // reference


def _now_by_feedback(machine: Machine, cpus: Iterable[int]) -> dict[int, int | None]:
    before = {cpu: counters for cpu in cpus if (counters := _feedback(machine, cpu))}
    if not before or not machine.is_live:
        return {}
    time.sleep(_MOMENT_S)
    after = {cpu: _feedback(machine, cpu) for cpu in before}
    return {
        cpu: _delivered(machine, cpu, before[cpu], counters)
        for cpu, counters in after.items()
        if counters is not None
    }


# ---- what others ask ----


def frequencies(machine: Machine, cpus: Iterable[int]) -> dict[int, Frequency]:
    """What cpufreq or CPPC tell of each CPU. Takes 10 ms where only CPPC does."""
    cpus = list(cpus)
    now = {cpu: _cpufreq(machine, cpu, "scaling_cur_freq", "cpuinfo_cur_freq") for cpu in cpus}
    now.update(_now_by_feedback(machine, [cpu for cpu in cpus if now[cpu] is None]))
    return {
        cpu: Frequency(
            now=now[cpu],
            lowest=_cpufreq(machine, cpu, "cpuinfo_min_freq", "scaling_min_freq")
            or _hz_of_performance(machine, cpu, _cppc(machine, cpu, "lowest_perf")),
            highest=_cpufreq(machine, cpu, "cpuinfo_max_freq", "scaling_max_freq")
            or _hz_of_performance(machine, cpu, _cppc(machine, cpu, "highest_perf")),
        )
        for cpu in cpus
    }


def _count_cycles(cpu: int) -> int:
    """Runs on a CPU for a moment and counts its cycles against its time there."""
    from kperf.session import Counting

    os.sched_setaffinity(0, {cpu})  # of this thread alone
    with Counting(["cycles", "task-clock"], tids=[threading.get_native_id()]) as counting:
        counting.enable()
        end = time.monotonic() + _MOMENT_S
        while time.monotonic() < end:
            pass
        counting.disable()
        cycles, clock = counting.read()
    return round(cycles.count * 1e9 / clock.count) if clock.count else 0


def _measure(cpu: int) -> int:
    """The frequency by counted cycles, in a thread of its own; 0 where they cannot be counted."""
    found: list[int] = []

    def run() -> None:
        try:
            found.append(_count_cycles(cpu))
        except (KperfError, OSError):
            found.append(0)

    thread = threading.Thread(target=run, name="kperf-frequency", daemon=True)
    thread.start()
    thread.join()
    return found[0]


def cpu_frequency(machine: Machine, cpu: int) -> int:
    """The frequency of one CPU in Hz, at this moment. Raises `KperfError`."""
    if cpu not in machine.online_cpus:
        raise error(
            Error.INVALID_CPU_LIST,
            f"CPU {cpu} is not online",
            hint="choose one of those that 'kperf topo' shows",
        )
    hz = frequencies(machine, [cpu])[cpu].now or (_measure(cpu) if machine.is_live else 0)
    if not hz:
        raise error(
            Error.NO_FREQUENCY,
            f"nothing tells how fast CPU {cpu} runs: neither cpufreq nor CPPC is here, "
            "and its cycles cannot be counted",
            hint="load a cpufreq driver (in a virtual machine: expose cpufreq or the PMU to it)",
        )
    return hz
