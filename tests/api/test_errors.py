"""The stable codes, the last error of a thread, and the exceptions."""

from __future__ import annotations

import concurrent.futures
import copy
import errno
import os
import pickle
import threading

import pytest

import kperf
from kperf._core import lib

# Programs store these numbers: a change here breaks them.
CODES = {
    "SUCCESS": 0,
    "NO_MEMORY": 1,
    "WRITE_FAILED": 2,
    "INVALID_ARGUMENT": 3,
    "SYSTEM": 4,
    "FORKED": 5,
    "DATA_FREED": 6,
    "INVALID_EVENT": 1000,
    "INVALID_EVENT_LIST": 1001,
    "INVALID_PID_LIST": 1002,
    "INVALID_CPU_LIST": 1003,
    "NO_SUCH_PROCESS": 1004,
    "NO_PERMISSION": 1005,
    "DEVICE_BUSY": 1006,
    "NOT_SUPPORTED_BY_KERNEL": 1007,
    "NOT_SUPPORTED_BY_CPU": 1008,
    "SPE_UNAVAILABLE": 1009,
    "INVALID_DESCRIPTOR": 1010,
    "INVALID_TASK_TYPE": 1011,
    "INVALID_SAMPLE_RATE": 1012,
    "INVALID_BRANCH_FILTER": 1013,
    "BRANCH_FILTER_OUTSIDE_SAMPLING": 1014,
    "TOO_MANY_FILES": 1015,
    "MMAP_BUDGET": 1016,
    "INVALID_FIELD": 1017,
    "INVALID_METRIC": 1018,
    "INVALID_BDF": 1019,
    "INVALID_TRACE_TYPE": 1020,
    "INVALID_SYSCALL": 1021,
    "NO_FREQUENCY": 1022,
    "INVALID_CLUSTER": 1023,
    "INVALID_NUMA_NODE": 1024,
    "INVALID_FILTER": 1025,
    "INVALID_GROUP": 1026,
    "COMMAND_NOT_FOUND": 1027,
    "COMMAND_NOT_EXECUTABLE": 1028,
    "TRACEFS_UNAVAILABLE": 1029,
    "INVALID_CGROUP": 1030,
}

CORE_NAMES = {
    "KP_E_NOMEM": "NO_MEMORY",
    "KP_E_ARGUMENT": "INVALID_ARGUMENT",
    "KP_E_SYSTEM": "SYSTEM",
    "KP_E_FORKED": "FORKED",
    "KP_E_EVENT": "INVALID_EVENT",
    "KP_E_NO_PROCESS": "NO_SUCH_PROCESS",
    "KP_E_PERMISSION": "NO_PERMISSION",
    "KP_E_BUSY": "DEVICE_BUSY",
    "KP_E_KERNEL": "NOT_SUPPORTED_BY_KERNEL",
    "KP_E_CPU": "NOT_SUPPORTED_BY_CPU",
    "KP_E_FILES": "TOO_MANY_FILES",
    "KP_E_MMAP": "MMAP_BUDGET",
    "KP_E_FILTER": "INVALID_FILTER",
    "KP_E_GROUP": "INVALID_GROUP",
    "KP_E_COMMAND_MISSING": "COMMAND_NOT_FOUND",
    "KP_E_COMMAND_REFUSED": "COMMAND_NOT_EXECUTABLE",
    "KP_E_TRACEFS": "TRACEFS_UNAVAILABLE",
}


def test_codes_are_stable() -> None:
    assert {name: int(code) for name, code in kperf.Error.__members__.items()} == CODES


def test_every_code_of_the_core_is_an_error_of_the_library() -> None:
    in_core = {name: getattr(lib, name) for name in dir(lib) if name.startswith("KP_E_")}
    assert in_core == {name: -CODES[meaning] for name, meaning in CORE_NAMES.items()}


# ---- the last error ----


def _fail() -> None:
    assert kperf.open(kperf.PmuTaskType.COUNTING, kperf.PmuAttr(evtList=["no-such-event"])) == -1


def _open_own() -> int:
    attr = kperf.PmuAttr(evtList=["task-clock"], pidList=[os.getpid()])
    return kperf.open(kperf.PmuTaskType.COUNTING, attr)


def test_a_failure_is_told_until_the_next_success() -> None:
    _fail()
    assert kperf.errorno() == kperf.Error.INVALID_EVENT
    assert "no-such-event" in kperf.error()
    assert kperf.errorno() == kperf.Error.INVALID_EVENT  # asking does not clear it
    pd = _open_own()
    assert (pd > 0, kperf.errorno(), kperf.error()) == (True, 0, "")
    for succeed in (kperf.enable, kperf.read, kperf.disable, kperf.close):
        _fail()
        succeed(pd)
        assert (kperf.errorno(), kperf.error()) == (0, "")
    _fail()
    list(kperf.event_list(kperf.PmuEventType.CORE_EVENT))
    assert (kperf.errorno(), kperf.error()) == (0, "")


def test_a_failure_belongs_to_its_thread() -> None:
    _fail()
    seen = []

    def other() -> None:
        seen.append((kperf.errorno(), kperf.error()))
        kperf.enable(-5)
        seen.append((kperf.errorno(), kperf.error()))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen[0] == (0, "")
    assert seen[1][0] == kperf.Error.INVALID_DESCRIPTOR
    assert "-5" in seen[1][1]
    assert kperf.errorno() == kperf.Error.INVALID_EVENT
    assert "no-such-event" in kperf.error()


def test_an_error_is_one_line() -> None:
    for name in ("no-such-event", "a\nb", "cycles,,x", "{a", "mem:zz", ""):
        assert kperf.open(kperf.PmuTaskType.COUNTING, kperf.PmuAttr(evtList=[name])) == -1
        assert kperf.error()
        assert "\n" not in kperf.error()


def test_nothing_of_the_system_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what no code of ours foresaw."""
    causes = {
        OSError(errno.EMFILE, "Too many open files", "/x"): kperf.Error.TOO_MANY_FILES,
        OSError(errno.EIO, "Input/output error", "/x"): kperf.Error.SYSTEM,
        MemoryError(): kperf.Error.NO_MEMORY,
    }
    for cause, code in causes.items():

        def fail(*_arguments: object, cause: BaseException = cause, **_named: object) -> None:
            raise cause

        monkeypatch.setattr("kperf.session.Counting", fail)
        assert _open_own() == -1
        assert kperf.errorno() == code
        assert kperf.error()


# ---- exceptions ----


def test_exceptions_are_also_those_of_python() -> None:
    kinds = {
        kperf.Error.NO_PERMISSION: (kperf.NotPermittedError, PermissionError),
        kperf.Error.NOT_SUPPORTED_BY_CPU: (kperf.NotSupportedError, NotImplementedError),
        kperf.Error.NOT_SUPPORTED_BY_KERNEL: (kperf.NotSupportedError, NotImplementedError),
        kperf.Error.INVALID_CPU_LIST: (kperf.InvalidArgumentError, ValueError),
        kperf.Error.INVALID_ARGUMENT: (kperf.InvalidArgumentError, ValueError),
    }
    from kperf.errors import error

    for code, bases in kinds.items():
        raised = error(code, "what", hint="fix", errno=errno.EACCES)
        assert isinstance(raised, kperf.KperfError)
        assert all(isinstance(raised, base) for base in bases)
        assert (raised.code, raised.errno) == (code, errno.EACCES)
        assert str(raised) == "what: fix"


def test_the_object_api_raises_them() -> None:
    with pytest.raises(ValueError, match="no-such-event") as raised:
        kperf.Counting("no-such-event")
    assert raised.value.code == kperf.Error.INVALID_EVENT
    with pytest.raises(kperf.InvalidArgumentError, match="sometimes"):
        kperf.Counting("task-clock", pids=[os.getpid()], unsupported="sometimes")


def _raise_in_worker() -> None:
    kperf.Counting("no-such-event")


def test_an_exception_crosses_processes() -> None:
    with pytest.raises(kperf.KperfError) as raised:
        kperf.Counting("no-such-event")
    for twin in (pickle.loads(pickle.dumps(raised.value)), copy.copy(raised.value)):
        assert type(twin) is type(raised.value)
        assert (twin.code, twin.message, twin.hint, twin.errno, str(twin)) == (
            raised.value.code,
            raised.value.message,
            raised.value.hint,
            raised.value.errno,
            str(raised.value),
        )
    refused = kperf.NotPermittedError(kperf.Error.NO_PERMISSION, "what", errno=errno.EPERM)
    twin = pickle.loads(pickle.dumps(refused))
    assert (type(twin), twin.errno, twin.code) == (
        kperf.NotPermittedError,
        errno.EPERM,
        kperf.Error.NO_PERMISSION,
    )


def test_an_exception_of_a_pool_arrives() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        failure = pool.submit(_raise_in_worker).exception()
    assert isinstance(failure, kperf.InvalidArgumentError)
