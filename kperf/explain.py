"""From the core's bare error to a sentence: which event, pid or CPU, why, and what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kperf._native import Failure, plain_error
from kperf.errors import Error, KperfError, error
from kperf.events.event import BREAKPOINT, DEVICE, SOFTWARE, TRACEPOINT, Event
from kperf.events.nearest import meant
from kperf.machine import Machine

_PERFMON = "CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)"


class Attempt(NamedTuple):
    """What a session tried to open, for the words of an error."""

    events: Sequence[Event]
    machine: Machine
    tasks: bool  # pids or tids, as opposed to everything on some CPUs


def _event(failure: Failure, attempt: Attempt) -> Event | None:
    return attempt.events[failure.event] if 0 <= failure.event < len(attempt.events) else None


def _where(failure: Failure) -> str:
    parts = []
    if failure.tid > 0:
        parts.append(f"thread {failure.tid}")
    if failure.cpu >= 0:
        parts.append(f"CPU {failure.cpu}")
    return f" on {' and '.join(parts)}" if parts else ""


def _name(failure: Failure, attempt: Attempt) -> str:
    event = _event(failure, attempt)
    return event.name if event else "a counter"


def _paranoid(machine: Machine) -> str:
    level = machine.paranoid
    return "" if level is None else f" (kernel.perf_event_paranoid is {level})"


def _permission_fix(failure: Failure, attempt: Attempt) -> tuple[str, str]:
    """Why a user may not, and the smallest thing that would let them."""
    event = _event(failure, attempt)
    if event is not None and event.kind == DEVICE:
        return "device counters show everybody's traffic", f"run as root, or with {_PERFMON}"
    if event is not None and event.kind == TRACEPOINT:
        return (
            "tracepoints show the kernel",
            f"run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=-1",
        )
    if not attempt.tasks:
        return (
            "counting whole CPUs shows everybody's programs",
            f"run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=0",
        )
    if attempt.machine.paranoid is not None and attempt.machine.paranoid > 2:
        return (
            "this kernel closes perf events to users",
            f"run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=2",
        )
    if _is_ours(failure.tid):
        in_user_space = (
            "" if event is None or event.kernel_only else "count user space alone (':u'), "
        )
        return (
            "it counts what happens in the kernel",
            f"{in_user_space}run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=1",
        )
    return "it belongs to somebody else", f"run as its owner, as root, or with {_PERFMON}"


def _is_ours(tid: int) -> bool:
    try:
        return os.stat(f"/proc/{tid}").st_uid == os.getuid()
    except OSError:
        return False


def _permission(failure: Failure, attempt: Attempt) -> KperfError:
    why, fix = _permission_fix(failure, attempt)
    return error(
        Error.NO_PERMISSION,
        f"no permission to count {_name(failure, attempt)}{_where(failure)}: "
        f"{why}{_paranoid(attempt.machine)}",
        hint=fix,
        errno=failure.errno,
    )


def _no_process(failure: Failure, attempt: Attempt) -> KperfError:
    tid = failure.tid
    if os.path.exists(f"/proc/{tid}"):
        return error(
            Error.NO_SUCH_PROCESS,
            f"process {tid} has ended (only its exit status is left)",
            hint="choose a process that runs",
            errno=failure.errno,
        )
    return error(
        Error.NO_SUCH_PROCESS,
        f"there is no process {tid}",
        hint="see 'ps -e' for those that run",
        errno=failure.errno,
    )


def _files(failure: Failure, attempt: Attempt) -> KperfError:
    if failure.errno == errno.ENFILE:
        return error(
            Error.TOO_MANY_FILES,
            "the system has no more file descriptors",
            hint="raise it: sysctl fs.file-max",
            errno=failure.errno,
        )
    return error(
        Error.TOO_MANY_FILES,
        f"this needs {failure.needed} file descriptors, and the limit is {failure.limit}",
        hint=f"raise it (ulimit -n {failure.needed + 64}), or count fewer events, threads or CPUs",
        errno=failure.errno,
    )


def _no_room_for_buffers(failure: Failure, attempt: Attempt) -> KperfError:
    return error(
        Error.MMAP_BUDGET,
        "no memory for the buffers of the samples: other recordings of this user lock all that "
        "kernel.perf_event_mlock_kb and 'ulimit -l' allow",
        hint="end them, or raise it: sysctl kernel.perf_event_mlock_kb=4096",
        errno=failure.errno,
    )


def _busy(failure: Failure, attempt: Attempt) -> KperfError:
    event = _event(failure, attempt)
    if event is not None and event.kind == BREAKPOINT:
        return error(
            Error.DEVICE_BUSY,
            f"no free hardware breakpoint for {event.name}{_where(failure)}",
            hint="watch fewer addresses (x86 has 4 breakpoints a CPU), or end the debugger",
            errno=failure.errno,
        )
    return error(
        Error.DEVICE_BUSY,
        f"{_name(failure, attempt)} is in use{_where(failure)}",
        hint="end the other profiler, or wait for it",
        errno=failure.errno,
    )


def _group(failure: Failure, attempt: Attempt) -> KperfError:
    if failure.errno == errno.ECHILD:
        return error(
            Error.INVALID_GROUP,
            f"the group of {_name(failure, attempt)} cannot be read{_where(failure)}: a child was "
            "made in the middle of opening it",
            hint="count again",
            errno=failure.errno,
        )
    return error(
        Error.INVALID_GROUP,
        f"{_name(failure, attempt)} does not fit into its group: the PMU has too few counters, or "
        "cannot count these events together",
        hint="take it out of the group",
        errno=failure.errno,
    )


def _needs_the_kernel(event: Event, attempt: Attempt) -> bool:
    """Whether a user asked a PMU that knows no levels, such as msr, and got user space refused."""
    return (
        event.kind == SOFTWARE
        and bool(event.pmu)
        and os.geteuid() != 0
        and (attempt.machine.paranoid or 0) > 1
    )


def _event_refused(failure: Failure, attempt: Attempt) -> KperfError:
    event = _event(failure, attempt)
    if event is not None and event.kind == BREAKPOINT:
        hint = "the length must be 1, 2, 4 or 8, and the address a multiple of it"
    elif event is not None and _needs_the_kernel(event, attempt):
        return error(
            Error.NO_PERMISSION,
            f"no permission to count {event.name}{_where(failure)}: its PMU cannot leave the "
            f"kernel out{_paranoid(attempt.machine)}",
            hint=f"run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=1",
            errno=failure.errno,
        )
    elif event is not None and event.precise:
        hint = "leave the modifier ':p' out: this PMU cannot be precise here"
    else:
        hint = "check its encoding with 'kperf list -v', and leave modifiers out"
    return error(
        Error.INVALID_EVENT,
        f"the kernel refuses {_name(failure, attempt)}{_where(failure)}",
        hint=hint,
        errno=failure.errno,
    )


# What stands in a filter beside the names of fields.
_NO_FIELD = re.compile(r""""[^"]*"|'[^']*'|\b(?:0[xX][0-9a-fA-F]+|\d+)\b|\b(?:CPUS|ustring)\b""")
# Fields that every tracepoint has, and no format tells.
_EVERYWHERE = frozenset({"CPU", "COMM", "cpu", "comm", "stacktrace", "STACKTRACE"})


def _unknown_field(event: Event, machine: Machine) -> str:
    """A hint at the first name in a filter that is no field; "" if there is none."""
    from kperf.tracepoint import format_of

    fields = format_of(machine, event.name).fields
    for name in re.findall(r"[A-Za-z_]\w*", _NO_FIELD.sub(" ", event.filter)):
        if name not in fields and name not in _EVERYWHERE:
            return f"it has no field '{name}': " + meant(
                name, fields, otherwise=f"it has {', '.join(fields)}"
            )
    return ""


def _filter_refused(failure: Failure, attempt: Attempt) -> KperfError:
    event = _event(failure, attempt)
    if event is None:
        return plain_error(failure)
    return error(
        Error.INVALID_FILTER,
        f"the kernel refuses the filter '{event.filter}' of {event.name} "
        f"({os.strerror(failure.errno)})",
        hint=_unknown_field(event, attempt.machine)
        or "compare fields with numbers or quoted text (== != < > & ~), joined by && and ||",
        errno=failure.errno,
    )


def _kernel(failure: Failure, attempt: Attempt) -> KperfError:
    why = "has no perf events" if failure.errno == errno.ENOSYS else "is too old for it"
    return error(
        Error.NOT_SUPPORTED_BY_KERNEL,
        f"{_name(failure, attempt)} cannot be counted: this kernel {why}",
        hint="boot a kernel with CONFIG_PERF_EVENTS",
        errno=failure.errno,
    )


_EXPLAINERS: dict[Error, Callable[[Failure, Attempt], KperfError]] = {
    Error.NO_PERMISSION: _permission,
    Error.NO_SUCH_PROCESS: _no_process,
    Error.TOO_MANY_FILES: _files,
    Error.DEVICE_BUSY: _busy,
    Error.MMAP_BUDGET: _no_room_for_buffers,
    Error.INVALID_GROUP: _group,
    Error.INVALID_EVENT: _event_refused,
    Error.NOT_SUPPORTED_BY_KERNEL: _kernel,
    Error.INVALID_FILTER: _filter_refused,
}


def explain(failure: Failure, attempt: Attempt) -> KperfError:
    """The exception for a failure of the core while it opened or read `attempt`."""
    explainer = _EXPLAINERS.get(failure.code)
    if explainer is not None:
        return explainer(failure, attempt)
    name = _name(failure, attempt)
    cause = os.strerror(failure.errno) if failure.errno else "no cause is known"
    if failure.event < 0:
        return plain_error(failure)
    return error(
        failure.code,
        f"{name}: {failure.message}{_where(failure)} ({cause})",
        errno=failure.errno,
    )


def unsupported(events: Sequence[Event], machine: Machine) -> KperfError:
    """The exception that names every event that this machine cannot count."""
    names = ", ".join(dict.fromkeys(event.name for event in events))
    if not machine.core_pmus and any(event.kind == "core" for event in events):
        why = "this machine shows no hardware PMU (a virtual machine often has none)"
    else:
        why = "its PMU has no such event"
    return error(
        Error.NOT_SUPPORTED_BY_CPU,
        f"not supported here: {names}; {why}",
        hint="see 'kperf list' for what can be counted, for instance task-clock or page-faults",
    )


def kernel_hidden(events: Sequence[Event], machine: Machine) -> KperfError:
    """The exception that names the events of the kernel that this user may not see."""
    names = ", ".join(dict.fromkeys(event.name for event in events))
    return error(
        Error.NO_PERMISSION,
        f"no permission to count {names}: it happens in the kernel{_paranoid(machine)}",
        hint=f"run as root, with {_PERFMON}, or: sysctl kernel.perf_event_paranoid=1",
        errno=errno.EACCES,
    )
