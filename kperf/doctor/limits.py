"""Limits of the system, against what the whole machine would take."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from kperf.doctor.finding import LIMITED, OK, Finding
from kperf.doctor.process import CAP_IPC_LOCK, CAP_PERFMON, CAP_SYS_RESOURCE, has_capability
from kperf.machine import Machine

_DEFAULT_EVENTS = 8  # of `kperf stat`
_RESERVE = 64  # descriptors of the interpreter, of files and of pipes
_RING_BYTES = 1 << 19  # a CPU, of a sampling session


def check_descriptors(machine: Machine) -> Iterator[Finding]:
    cpus = len(machine.online_cpus)
    needed = cpus * _DEFAULT_EVENTS + _RESERVE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else f"a limit of {hard:,}"
    if hard == resource.RLIM_INFINITY or needed <= hard:
        yield Finding(
            "descriptors",
            OK,
            f"'kperf stat -a' takes {needed:,} file descriptors on {cpus} CPUs, of {most}",
        )
        return
    raises = has_capability(machine, CAP_SYS_RESOURCE)
    yield Finding(
        "descriptors",
        OK if raises else LIMITED,
        f"'kperf stat -a' takes {needed:,} file descriptors on {cpus} CPUs, more than {most}"
        + ("; kperf may raise it" if raises else ""),
        "" if raises else f"have root raise it: ulimit -Hn {needed}, or nofile in limits.conf",
    )


def check_memory(machine: Machine) -> Iterator[Finding]:
    if has_capability(machine, CAP_IPC_LOCK, CAP_PERFMON):
        yield Finding("memory", OK, "this user's ring buffers are not limited")
        return
    cpus = len(machine.online_cpus)
    page = resource.getpagesize()
    budget_kb = machine.read_int("proc/sys/kernel/perf_event_mlock_kb") or 0
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        yield Finding("memory", OK, "locked memory has no limit, so ring buffers have none")
        return
    allowed = budget_kb * 1024 * cpus + soft
    needed = cpus * (_RING_BYTES + page)
    words = (
        f"ring buffers of all {cpus} CPUs take {needed >> 10:,} KiB, and this user may lock "
        f"{allowed >> 10:,} KiB"
    )
    if needed <= allowed:
        yield Finding("memory", OK, words)
        return
    yield Finding(
        "memory",
        LIMITED,
        f"{words}: kperf takes smaller ones, which lose samples sooner",
        f"sysctl kernel.perf_event_mlock_kb={(_RING_BYTES + page) >> 10}",
    )


def check_rate(machine: Machine) -> Iterator[Finding]:
    from kperf.sampling import DEFAULT_FREQUENCY

    most = machine.max_sample_rate
    if most is None:
        return
    if most >= DEFAULT_FREQUENCY:
        yield Finding("rate", OK, f"up to {most:,} samples a second on each CPU")
        return
    yield Finding(
        "rate",
        LIMITED,
        f"at most {most:,} samples a second, where {DEFAULT_FREQUENCY:,} are the default: the "
        "kernel lowers this limit when samples take it too long",
        f"sysctl kernel.perf_event_max_sample_rate={DEFAULT_FREQUENCY}",
    )
