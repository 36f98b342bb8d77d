"""What the kernel says of the process that asks: capabilities, namespaces, filters."""

from __future__ import annotations

import os

from kperf.machine import Machine

# The bits of CapEff (include/uapi/linux/capability.h).
CAP_IPC_LOCK = 14
CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
CAP_PERFMON = 38
CAP_BPF = 39

# The inodes of the first namespaces (include/linux/proc_ns.h).
_FIRST = {"pid": 0xEFFFFFFC, "user": 0xEFFFFFFD}


def status(machine: Machine, key: str) -> str:
    """A line of /proc/self/status; "" where there is none such."""
    for line in (machine.read("proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return ""


def has_capability(machine: Machine, *bits: int) -> bool:
    """Whether the process has one of these capabilities."""
    effective = int(status(machine, "CapEff") or "0", 16)
    return any(effective >> bit & 1 for bit in bits)


def in_own_namespace(machine: Machine, kind: str) -> bool:
    """Whether the process is in another pid or user namespace than the machine's first."""
    try:
        return os.stat(f"{machine.root}proc/self/ns/{kind}").st_ino != _FIRST[kind]
    except OSError:
        return False
