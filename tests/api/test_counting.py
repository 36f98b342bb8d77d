"""open, enable, disable, read, close: what they return, and what a read's rows are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import Worker, online_cpus, perf_descriptors, privileged, total

import kperf
from kperf import Error, EvtAttr, PmuAttr, PmuTaskType

WRITES = "syscalls:sys_enter_write"
HAS_CORE_PMU = any(
    (pmu / "cpus").exists() or pmu.name == "cpu"
    for pmu in Path("/sys/bus/event_source/devices").iterdir()
)
lacks_pmu = pytest.mark.skipif(HAS_CORE_PMU, reason="this machine counts cycles")


def open_counting(**fields: object) -> int:
    return kperf.open(PmuTaskType.COUNTING, PmuAttr(**fields))


def opened(**fields: object) -> int:
    pd = open_counting(**fields)
    assert pd > 0, kperf.error()
    return pd


def own(*events: str) -> int:
    return opened(evtList=list(events), pidList=[os.getpid()])


# ---- open ----


def test_the_contracts_misspelling_counts_as_well() -> None:
    attr = PmuAttr(evtList=["task-clock"], pidList=[os.getpid()])
    pd = kperf.open(PmuTaskType.COUTING, attr)
    assert pd > 0
    kperf.close(pd)


def test_descriptors_are_never_used_again() -> None:
    seen = []
    for _ in range(5):
        seen.append(own("task-clock"))
        kperf.close(seen[-1])
    assert seen == sorted(set(seen))


@lacks_pmu
@pytest.mark.parametrize("groups", [[], [1, 1, 1, 1], [1, -1, 2, -1]])
def test_every_unsupported_event_is_named(groups: list[int]) -> None:
    events = ["cycles", "task-clock", "branch-misses", "L1-dcache-loads"]
    assert open_counting(evtList=events, evtAttr=groups, pidList=[os.getpid()]) == -1
    assert kperf.errorno() == Error.NOT_SUPPORTED_BY_CPU
    named = {name for name in events if name in kperf.error()}
    assert {"cycles", "branch-misses", "L1-dcache-loads"} <= named
    assert "cycles, branch-misses, L1-dcache-loads" in kperf.error()
    assert perf_descriptors() == []


@pytest.mark.parametrize("groups", [[], [1, 1, 1]])
def test_every_unknown_event_is_named(groups: list[int]) -> None:
    events = ["no-such-one", "task-clock", "no-such-two"]
    assert open_counting(evtList=events, evtAttr=groups) == -1
    assert kperf.errorno() == Error.INVALID_EVENT
    assert "no-such-one" in kperf.error()
    assert "no-such-two" in kperf.error()


def test_an_unknown_event_is_answered_with_the_nearest() -> None:
    assert open_counting(evtList=["task-clok"]) == -1
    assert "task-clock" in kperf.error()


NOBODY = 2**22 + 1  # above the highest pid_max


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({}, Error.INVALID_EVENT_LIST, "empty"),
        ({"evtList": [""]}, Error.INVALID_EVENT_LIST, "empty"),
        ({"evtList": ["task-clock,"]}, Error.INVALID_EVENT_LIST, "task-clock,"),
        ({"evtList": ["{task-clock"]}, Error.INVALID_EVENT_LIST, "}"),
        ({"evtList": ["task-clock"], "evtAttr": [1, 2]}, Error.INVALID_EVENT_LIST, "2"),
        (
            {"evtList": ["task-clock,page-faults"], "evtAttr": [1]},
            Error.INVALID_EVENT_LIST,
            "task-clock,page-faults",
        ),
        ({"evtList": ["task-clock"], "pidList": [0]}, Error.INVALID_PID_LIST, "0"),
        ({"evtList": ["task-clock"], "pidList": [-1]}, Error.INVALID_PID_LIST, "-1"),
        ({"evtList": ["task-clock"], "pidList": [1 << 40]}, Error.INVALID_PID_LIST, str(1 << 40)),
        ({"evtList": ["task-clock"], "pidList": [NOBODY]}, Error.NO_SUCH_PROCESS, str(NOBODY)),
        ({"evtList": ["task-clock"], "cpuList": [5000]}, Error.INVALID_CPU_LIST, "5000"),
        ({"evtList": ["task-clock"], "cpuList": [-1]}, Error.INVALID_CPU_LIST, "-1"),
        (
            {"evtList": ["task-clock"], "excludeUser": True, "excludeKernel": True},
            Error.INVALID_ARGUMENT,
            "excluded",
        ),
        (
            {"evtList": ["task-clock"], "evtAttr": [EvtAttr(1, 0, True, True)]},
            Error.INVALID_ARGUMENT,
            "task-clock",
        ),
        (
            {
                "evtList": ["task-clock"],
                "branchSampleFilter": kperf.BranchSampleFilter.KPERF_SAMPLE_BRANCH_ANY,
            },
            Error.BRANCH_FILTER_OUTSIDE_SAMPLING,
            "branchSampleFilter",
        ),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(
    fields: dict[str, object], code: Error, named: str
) -> None:
    assert open_counting(**fields) == -1
    assert kperf.errorno() == code
    assert named in kperf.error()


def test_a_process_that_has_ended_is_told_from_one_that_never_was() -> None:
    ended = subprocess.Popen([sys.executable, "-I", "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # ended, its status still there
    try:
        assert open_counting(evtList=["task-clock"], pidList=[ended.pid]) == -1
        assert kperf.errorno() == Error.NO_SUCH_PROCESS
        assert f"{ended.pid} has ended" in kperf.error()
    finally:
        ended.wait()
    assert open_counting(evtList=["task-clock"], pidList=[ended.pid]) == -1
    assert kperf.errorno() == Error.NO_SUCH_PROCESS
    assert f"no process {ended.pid}" in kperf.error()


@pytest.mark.parametrize("collector", [7, -1])
def test_an_unknown_task_type_is_an_error(collector: int) -> None:
    assert kperf.open(collector, PmuAttr(evtList=["task-clock"])) == -1
    assert kperf.errorno() == Error.INVALID_TASK_TYPE


@pytest.mark.parametrize("collector", ["COUNTING", None, 0.0, False])
def test_a_wrong_collector_type_is_a_type_error(collector: object) -> None:
    with pytest.raises(TypeError, match="collector_type"):
        kperf.open(collector, PmuAttr(evtList=["task-clock"]))


@pytest.mark.parametrize("attr", [None, {}, ["task-clock"], "task-clock"])
def test_a_wrong_attribute_object_is_a_type_error(attr: object) -> None:
    with pytest.raises(TypeError, match="pmu_attr"):
        kperf.open(PmuTaskType.COUNTING, attr)


# ---- enable, disable, close ----


def test_codes_of_use() -> None:
    pd = own("task-clock")
    assert kperf.enable(pd) == 0
    assert kperf.enable(pd) == 0  # again does no harm
    assert kperf.disable(pd) == 0
    assert kperf.disable(pd) == 0
    assert kperf.close(pd) is None
    assert kperf.errorno() == 0
    for use in (kperf.enable, kperf.disable):
        assert use(pd) == Error.INVALID_DESCRIPTOR
        assert kperf.errorno() == Error.INVALID_DESCRIPTOR
        assert str(pd) in kperf.error()


@pytest.mark.parametrize("pd", [-1, 0, 1 << 70])
def test_an_unknown_descriptor_is_an_error(pd: int) -> None:
    assert kperf.enable(pd) == Error.INVALID_DESCRIPTOR
    assert kperf.disable(pd) == Error.INVALID_DESCRIPTOR
    assert len(kperf.read(pd)) == 0
    assert kperf.errorno() == Error.INVALID_DESCRIPTOR
    kperf.close(pd)
    assert kperf.errorno() == Error.INVALID_DESCRIPTOR


def test_closing_twice_is_an_error_and_harmless() -> None:
    pd, other = own("task-clock"), own("task-clock")
    kperf.close(pd)
    kperf.close(pd)
    assert kperf.errorno() == Error.INVALID_DESCRIPTOR
    assert kperf.enable(other) == 0
    kperf.close(other)


@pytest.mark.parametrize("pd", ["1", None, 1.0, True])
@pytest.mark.parametrize("use", [kperf.enable, kperf.disable, kperf.read, kperf.close])
def test_a_wrong_descriptor_type_is_a_type_error(use: object, pd: object) -> None:
    with pytest.raises(TypeError):
        use(pd)


def test_the_object_api_closes_at_the_end_of_its_block() -> None:
    with kperf.Counting(["task-clock"], pids=[os.getpid()]) as counting:
        counting.enable()
        assert {row.pid for row in counting.read()} == {os.getpid()}
        assert perf_descriptors() != []
    assert perf_descriptors() == []
    counting.close()
    for use in (counting.enable, counting.disable, counting.read):
        with pytest.raises(kperf.InvalidArgumentError) as raised:
            use()
        assert raised.value.code == Error.INVALID_DESCRIPTOR


def test_a_forgotten_collection_is_closed() -> None:
    kperf.Counting(["task-clock"], pids=[os.getpid()]).enable()
    assert perf_descriptors() == []


# ---- read ----


def count_of(pd: int) -> int:
    data = kperf.read(pd)
    assert kperf.errorno() == 0
    return total(data)


@privileged
def test_a_read_gives_what_came_since_the_last(worker: Worker) -> None:
    pd = opened(evtList=[WRITES], pidList=[worker.pid])
    kperf.enable(pd)
    worker.ask("write", 10)
    kperf.disable(pd)
    assert count_of(pd) == 10 + Worker.ANSWER
    kperf.enable(pd)
    worker.ask("write", 7)
    kperf.disable(pd)
    assert count_of(pd) == 7 + Worker.ANSWER
    kperf.close(pd)


@privileged
def test_enabling_forgets_nothing(worker: Worker) -> None:
    pd = opened(evtList=[WRITES], pidList=[worker.pid])
    worker.ask("write", 1000)  # before the first enable
    kperf.enable(pd)
    worker.ask("write", 10)
    kperf.disable(pd)
    worker.ask("write", 1000)  # between the windows
    kperf.enable(pd)
    worker.ask("write", 20)
    kperf.disable(pd)
    worker.ask("write", 1000)
    assert count_of(pd) == 10 + 20 + 2 * Worker.ANSWER
    kperf.close(pd)


@privileged
def test_it_may_be_read_while_enabled(worker: Worker) -> None:
    pd = opened(evtList=[WRITES], pidList=[worker.pid])
    kperf.enable(pd)
    for times in (5, 0, 8):
        worker.ask("write", times)
        assert count_of(pd) == times + Worker.ANSWER
    kperf.disable(pd)
    assert count_of(pd) == 0
    kperf.close(pd)


def test_without_enabled_time_nothing_was_counted(worker: Worker) -> None:
    pd = opened(evtList=["task-clock", "page-faults"], pidList=[worker.pid])
    for _ in range(2):  # before the first enable, and after a read that took it all
        rows = list(kperf.read(pd))
        assert [(row.count, row.countPercent) for row in rows] == [(0, -1), (0, -1)]
        assert [(row.state, row.timeEnabled) for row in rows] == [("not-counted", 0)] * 2
        kperf.enable(pd)
        worker.ask("write", 1000)
        kperf.disable(pd)
        rows = list(kperf.read(pd))
        assert rows[0].count > 0
        assert [row.state for row in rows] == ["counted", "counted"]
        assert [row.countPercent for row in rows] == [1.0, 1.0]
    kperf.close(pd)


def test_the_clock_of_a_row_is_monotonic(worker: Worker) -> None:
    import time

    pd = opened(evtList=["task-clock"], pidList=[worker.pid])
    before = time.monotonic_ns()
    first, second = kperf.read(pd)[0], kperf.read(pd)[0]
    assert before <= first.ts <= second.ts <= time.monotonic_ns()
    kperf.close(pd)


def test_a_failed_read_is_empty() -> None:
    data = kperf.read(-1)
    assert (data.len, len(data), list(data.iter), list(data)) == (0, 0, [], [])
    assert kperf.errorno() == Error.INVALID_DESCRIPTOR
    data.free()


# ---- rows ----


@privileged
def test_rows_of_the_whole_system() -> None:
    pd = opened(evtList=["cpu-clock", "context-switches"])
    kperf.enable(pd)
    rows = list(kperf.read(pd))
    assert sorted((row.evt, row.cpu) for row in rows) == sorted(
        (evt, cpu) for evt in ("cpu-clock", "context-switches") for cpu in online_cpus()
    )
    assert {(row.pid, row.tid, row.comm) for row in rows} == {(-1, -1, "")}
    kperf.close(pd)


@privileged
def test_rows_of_some_cpus() -> None:
    cpu = online_cpus()[-1]
    pd = opened(evtList=["cpu-clock"], cpuList=[cpu])
    assert [(row.cpu, row.pid, row.tid) for row in kperf.read(pd)] == [(cpu, -1, -1)]
    kperf.close(pd)


def test_rows_of_processes(worker: Worker) -> None:
    tids = worker.ask("threads", 3)
    pd = opened(evtList=["task-clock", "page-faults"], pidList=[worker.pid, os.getpid()])
    rows = list(kperf.read(pd))
    threads = {worker.pid: sorted([worker.pid, *tids]), os.getpid(): own_threads()}
    assert sorted((row.evt, row.pid, row.tid) for row in rows) == sorted(
        (evt, pid, tid)
        for evt in ("task-clock", "page-faults")
        for pid, numbers in threads.items()
        for tid in numbers
    )
    assert {row.cpu for row in rows} == {-1}
    assert {tuple(row.cpuTopo) for row in rows} == {(-1, -1, -1)}
    for row in rows:
        assert row.comm == Path(f"/proc/{row.pid}/task/{row.tid}/comm").read_text().rstrip("\n")
    kperf.close(pd)


def own_threads() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def test_rows_of_processes_on_cpus(worker: Worker) -> None:
    tids = [worker.pid, *worker.ask("threads", 2)]
    cpus = online_cpus()
    pd = opened(evtList=["task-clock"], pidList=[worker.pid], cpuList=cpus)
    kperf.enable(pd)
    worker.ask("all", 10_000)
    rows = list(kperf.read(pd))
    assert sorted((row.tid, row.cpu) for row in rows) == sorted(
        (tid, cpu) for tid in tids for cpu in cpus
    )
    assert {row.pid for row in rows} == {worker.pid}
    assert all(sum(row.count for row in rows if row.tid == tid) > 0 for tid in tids)
    kperf.close(pd)


def test_comm_follows_a_change_of_name(worker: Worker) -> None:
    pd = opened(evtList=["task-clock"], pidList=[worker.pid])
    for name, shown in ((b"a b,c", "a b,c"), (b"15-characters-x", "15-characters-x")):
        worker.ask("rename", *name)
        assert kperf.read(pd)[0].comm == shown
    worker.ask("rename", *b"a\xff")
    assert kperf.read(pd)[0].comm == "a\N{REPLACEMENT CHARACTER}"
    kperf.close(pd)


@privileged
def test_the_place_of_a_cpu_is_the_kernels() -> None:
    pd = opened(evtList=["cpu-clock"])
    for row in kperf.read(pd):
        cpu = Path(f"/sys/devices/system/cpu/cpu{row.cpu}")
        nodes = [int(node.name[4:]) for node in cpu.glob("node[0-9]*")] or [-1]
        assert row.cpuTopo.coreId == row.cpu
        assert row.cpuTopo.numaId == nodes[0]
        assert row.cpuTopo.socketId == int((cpu / "topology/physical_package_id").read_text())
    kperf.close(pd)


def test_a_row_has_every_attribute_of_the_contract(worker: Worker) -> None:
    pd = opened(evtList=["task-clock"], pidList=[worker.pid])
    kperf.enable(pd)
    worker.ask("write", 1000)
    row = kperf.read(pd)[0]
    assert isinstance(row, kperf.ImplPmuData)
    assert (row.stack, row.ext, row.rawData, row.period) == (None, None, None, 0)
    assert (row.evt, row.pid, row.tid) == ("task-clock", worker.pid, worker.pid)
    assert (row.cpu, row.groupId, row.state, row.countPercent) == (-1, -1, "counted", 1.0)
    assert row.count == row.rawCount > 0
    assert row.timeEnabled == row.timeRunning > 0
    assert row.unit == "ns"
    assert "task-clock" in repr(row)
    kperf.close(pd)


def test_a_pid_counts_once(worker: Worker) -> None:
    tid = worker.ask("threads", 1)[0]
    for pids in ([worker.pid, worker.pid], [worker.pid, tid], [tid, worker.pid], [tid]):
        pd = opened(evtList=["task-clock"], pidList=pids)
        rows = sorted((row.pid, row.tid) for row in kperf.read(pd))
        assert rows == sorted([(worker.pid, worker.pid), (worker.pid, tid)]), pids
        kperf.close(pd)


def test_a_thread_counts_once_with_its_process(worker: Worker) -> None:
    tid = worker.ask("threads", 1)[0]
    with kperf.Counting("task-clock", pids=[worker.pid], tids=[tid, tid]) as counting:
        assert sorted(row.tid for row in counting.read()) == sorted([worker.pid, tid])


def test_a_thread_alone(worker: Worker) -> None:
    tid = worker.ask("threads", 2)[0]
    with kperf.Counting("task-clock", tids=[tid]) as counting:
        assert [(row.pid, row.tid) for row in counting.read()] == [(worker.pid, tid)]


@privileged
def test_a_cpu_counts_once() -> None:
    cpu = online_cpus()[0]
    pd = opened(evtList=["cpu-clock"], cpuList=[cpu, cpu])
    assert [row.cpu for row in kperf.read(pd)] == [cpu]
    kperf.close(pd)


def test_an_event_may_be_given_twice(worker: Worker) -> None:
    pd = opened(evtList=["page-faults", "page-faults:u", "page-faults"], pidList=[worker.pid])
    assert [row.evt for row in kperf.read(pd)] == ["page-faults", "page-faults:u", "page-faults"]
    kperf.close(pd)


# ---- groups ----

EVENTS = ["task-clock", "page-faults", "context-switches", "cpu-migrations"]


@pytest.mark.parametrize(
    ("groups", "order", "numbers"),
    [
        ([], EVENTS, [-1, -1, -1, -1]),
        ([-1, -1, -1, -1], EVENTS, [-1, -1, -1, -1]),
        ([5, 5, -1, 9], EVENTS, [5, 5, -1, 9]),
        (
            [2, -1, 1, 2],
            ["task-clock", "cpu-migrations", "page-faults", "context-switches"],
            [2, 2, -1, 1],
        ),
        ([EvtAttr(3), EvtAttr(3), 3, EvtAttr()], EVENTS, [3, 3, 3, -1]),
    ],
)
def test_groups_by_number(
    worker: Worker, groups: list[int | EvtAttr], order: list[str], numbers: list[int]
) -> None:
    pd = opened(evtList=EVENTS, evtAttr=groups, pidList=[worker.pid])
    kperf.enable(pd)
    rows = list(kperf.read(pd))
    assert [row.evt for row in rows] == order
    assert [row.groupId for row in rows] == numbers
    for number in set(numbers) - {-1}:  # one read for all of a group: the same instant
        assert len({row.timeEnabled for row in rows if row.groupId == number}) == 1
    kperf.close(pd)


def test_groups_in_braces(worker: Worker) -> None:
    pd = opened(
        evtList=["{task-clock,page-faults}", "context-switches,{cpu-migrations,page-faults}:u"],
        pidList=[worker.pid],
    )
    rows = [(row.evt, row.groupId) for row in kperf.read(pd)]
    assert [number for _, number in rows] == [0, 0, -1, 1, 1]
    assert [evt.partition(":")[0] for evt, _ in rows] == [
        "task-clock",
        "page-faults",
        "context-switches",
        "cpu-migrations",
        "page-faults",
    ]
    kperf.close(pd)


@privileged
def test_a_group_counts_exactly(worker: Worker) -> None:
    events = [WRITES, "task-clock", "syscalls:sys_exit_write"]
    pd = opened(evtList=events, evtAttr=[1, 1, 1], pidList=[worker.pid])
    kperf.enable(pd)
    for _ in range(3):  # each a delta of its own
        worker.ask("write", 50)
        counts = {row.evt: row.count for row in kperf.read(pd)}
        assert counts[WRITES] == 50 + Worker.ANSWER
        assert counts["task-clock"] > 0
    kperf.close(pd)


# ---- user and kernel ----

PAGES = 1000


@pytest.mark.parametrize(
    ("events", "fields"),
    [
        (["page-faults"], {"excludeKernel": True}),
        (["page-faults:u"], {}),
        (["{page-faults,task-clock}:u"], {}),
        (["page-faults"], {"evtAttr": [EvtAttr(excludeKernel=True)]}),
    ],
)
def test_user_space_alone(worker: Worker, events: list[str], fields: dict[str, object]) -> None:
    pd = opened(evtList=events, pidList=[worker.pid], **fields)
    kperf.enable(pd)
    worker.ask("touch", PAGES)
    assert kperf.read(pd)[0].count >= PAGES
    worker.ask("fill", PAGES)
    assert kperf.read(pd)[0].count < PAGES
    kperf.close(pd)


@privileged
@pytest.mark.parametrize(
    ("events", "fields"),
    [
        (["page-faults"], {"excludeUser": True}),
        (["page-faults:k"], {}),
        (["page-faults"], {"evtAttr": [EvtAttr(excludeUser=True)]}),
    ],
)
def test_the_kernel_alone(worker: Worker, events: list[str], fields: dict[str, object]) -> None:
    pd = opened(evtList=events, pidList=[worker.pid], **fields)
    kperf.enable(pd)
    worker.ask("fill", PAGES)
    assert kperf.read(pd)[0].count >= PAGES
    worker.ask("touch", PAGES)
    assert kperf.read(pd)[0].count < PAGES
    kperf.close(pd)


def test_an_event_keeps_the_name_it_was_given(worker: Worker) -> None:
    names = ["task-clock", "page-faults:u", "faults", "cs"]
    pd = opened(evtList=names, pidList=[worker.pid])
    assert [row.evt for row in kperf.read(pd)] == names
    kperf.close(pd)


# ---- what is not there ----


@lacks_pmu
def test_rows_of_what_is_not_supported(worker: Worker) -> None:
    events = ["cycles", "task-clock"]
    with kperf.Counting(events, pids=[worker.pid], unsupported="row") as counting:
        counting.enable()
        worker.ask("write", 1000)
        cycles, clock = counting.read()
        assert (cycles.state, cycles.count, cycles.countPercent) == ("not-supported", 0, -1)
        assert (clock.state, clock.countPercent) == ("counted", 1.0)
        assert any("no hardware PMU" in note for note in counting.notes)
        assert counting.read().quality.notes == counting.notes
