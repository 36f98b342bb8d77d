"""What tracing needs: tracefs for tracepoints, BPF for sums that are made in the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kperf.doctor.finding import LIMITED, MISSING, OK, Finding
from kperf.doctor.process import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, has_capability
from kperf.errors import KperfError
from kperf.machine import Machine

_MOUNTED = "sys/kernel/tracing/events"
_LOCKDOWN = "sys/kernel/security/lockdown"


def check_tracepoints(machine: Machine) -> Iterator[Finding]:
    try:
        systems = machine.trace_systems()
    except KperfError as failure:
        yield Finding("tracepoints", MISSING, failure.message, failure.hint)
        return
    words = f"tracepoints of {len(systems)} systems"
    if not os.path.isdir(machine.root + _MOUNTED):
        words += "; tracefs is not mounted, so kperf uses a mount of its own that nobody else sees"
    yield Finding("tracepoints", OK, words)


def check_bpf(machine: Machine) -> Iterator[Finding]:
    effect = "'kperf trace' adds its sums up outside the kernel, which costs the program more"
    if "[confidentiality]" in (machine.read(_LOCKDOWN) or ""):
        yield Finding(
            "bpf",
            LIMITED,
            f"the kernel is locked down and lets no BPF program read: {effect}",
            "boot with lockdown=integrity or none",
        )
    elif has_capability(machine, CAP_SYS_ADMIN) or (
        has_capability(machine, CAP_BPF) and has_capability(machine, CAP_PERFMON)
    ):
        yield Finding("bpf", OK, "this user may load BPF programs")
    else:
        yield Finding(
            "bpf",
            LIMITED,
            f"this user may load no BPF program: {effect}",
            "run as root, or with CAP_BPF and CAP_PERFMON",
        )
