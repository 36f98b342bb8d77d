"""Filters of tracepoints, which the kernel applies: in the library and on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Run
from support import privileged

import kperf

pytestmark = privileged

Compiled = Callable[[str], Path]

_WRITES = "syscalls:sys_enter_write"


def write(*sizes: int) -> None:
    with open("/dev/null", "wb", buffering=0) as sink:
        for size in sizes:
            sink.write(bytes(size))


def test_counts_are_of_what_passes() -> None:
    events = [_WRITES, _WRITES, f"{_WRITES},syscalls:sys_enter_pwrite64"]
    filters = ["count == 7", "", "count > 100"]
    with kperf.Counting(events, pids=[os.getpid()], filters=filters) as counting:
        counting.enable()
        write(7, 7, 7, 1, 200)
        counting.disable()
        counts = [row.count for row in counting.read()]
    assert counts == [3, 5, 1, 0]


def test_groups_have_filters_as_well() -> None:
    with kperf.Counting(
        [_WRITES, _WRITES], groups=[1, 1], pids=[os.getpid()], filters=["count==1", "count==2"]
    ) as counting:
        counting.enable()
        write(1, 2, 2)
        counting.disable()
        assert [row.count for row in counting.read()] == [1, 2]


def test_samples_are_of_what_passes() -> None:
    with kperf.Sampling([_WRITES], pids=[os.getpid()], filters=["count == 3"]) as sampling:
        sampling.enable()
        write(3, 4, 3)
        sampling.disable()
        assert [row.fields["count"] for row in sampling.read()] == [3, 3]


def test_children_inherit_the_filter(kperf: Run, calls: Compiled) -> None:
    event = "raw_syscalls:sys_enter"
    ppid = {"x86_64": 110, "aarch64": 173}[os.uname().machine]
    done = kperf(
        "stat", "--json", "-e", event, "--filter", f"id == {ppid}", "--", calls("known"), 2, 3
    )
    assert done.row(event)["count"] == 2 * 3 * 100


def test_record_takes_filters(kperf: Run, calls: Compiled) -> None:
    done = kperf(
        "record", "--json", "-e", _WRITES, "--filter", "count == 1", "--", calls("known"), 1, 1
    )
    assert sum(row["samples"] for row in done.rows()) == 200


def test_a_filter_belongs_to_the_events_before_it(kperf: Run, calls: Compiled) -> None:
    done = kperf(
        "stat", "--json", "-e", "task-clock", "-e", _WRITES, "--filter", "count == 2",
        "-e", "syscalls:sys_enter_getppid", "--", calls("known"), 1, 1,
    )  # fmt: skip
    assert done.row(_WRITES)["count"] == 0
    assert done.row("syscalls:sys_enter_getppid")["count"] == 100


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((_WRITES, "--filter", "cuont == 1"), 1, "no field 'cuont': did you mean count?"),
        ((_WRITES, "--filter", "count =="), 1, "the kernel refuses the filter 'count =='"),
        ((_WRITES, "--filter", 'count == "x"'), 1, "Invalid argument"),
        (("task-clock", "--filter", "count == 1"), 1, "task-clock is no tracepoint"),
        ((_WRITES, "--filter", "count == 1", "--filter", "fd == 1"), 2, "two filters"),
    ],
)
def test_filters_that_are_none(
    kperf: Run, arguments: tuple[str, ...], status: int, words: str
) -> None:
    for command in ("stat", "record"):
        done = kperf(command, "-e", *arguments, "--", "true")
        assert done.status == status
        assert words in done.error()


def test_a_filter_before_any_event(kperf: Run) -> None:
    done = kperf("stat", "--filter", "count == 1", "-e", _WRITES, "--", "true")
    assert done.status == 2
    assert "stands before any event" in done.error()


def test_filters_and_events_go_together() -> None:
    with pytest.raises(kperf.KperfError, match="1 event texts have 2 filters"):
        kperf.Counting([_WRITES], pids=[os.getpid()], filters=["count == 1", ""])
