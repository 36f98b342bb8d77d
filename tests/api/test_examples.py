"""Every example of the contract's page runs, in its order, as the page has it.

Also in the guest that tests/vm boots, which has what its examples need of Arm's servers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path
from textwrap import dedent

import pytest
from support import online_cpus, privileged

import kperf

PAGE = Path(__file__).with_name("python-api.zh.md").read_text(encoding="utf-8")
_FENCED = re.compile(r"^```(?:python)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_REMARK = re.compile(r"^#.*\n", re.MULTILINE)  # not indented as the block below it is
BLOCKS = [dedent(_REMARK.sub("", block)) for block in _FENCED.findall(PAGE)]
OPEN = BLOCKS[0]

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
_SUBSTITUTES = {"cycles": "cpu-clock", "branch-misses": "context-switches"}
_HARDWARE = {"cycles": 0, "branch-misses": 5}  # config of PERF_TYPE_HARDWARE


def _opens(config: int) -> bool:
    """Whether the kernel opens this counter, asked without kperf."""
    attr = (ctypes.c_uint64 * 16)()
    attr[0] = 128 << 32  # type hardware, size
    attr[1] = config
    attr[5] = 1 << 0 | 1 << 5 | 1 << 6  # disabled, exclude_kernel, exclude_hv
    fd = ctypes.CDLL(None).syscall(_PERF_EVENT_OPEN, attr, 0, -1, -1, 8)
    if fd < 0:
        return False
    os.close(fd)
    return True


# Of what the page counts, what is here; else what stands in its place.
COUNTED = {
    name: name if _opens(config) else _SUBSTITUTES[name] for name, config in _HARDWARE.items()
}
HAS_ALL = all(name == counted for name, counted in COUNTED.items())
HAS_DEVICES = any(Path("/sys/bus/event_source/devices").glob("hisi_sccl*_l3c*"))


# sched_switch has no field of this name, and all its rows have one of this.
_FIELD, _A_FIELD_OF_SCHED_SWITCH = '"name"', '"next_comm"'


def _for_this_machine(block: str) -> str:
    block = block.replace(f"data, {_FIELD}", f"data, {_A_FIELD_OF_SCHED_SWITCH}")
    for name, counted in COUNTED.items():
        block = block.replace(f'"{name}"', f'"{counted}"')
    return block


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == PAGE.count("```") // 2 == 14
    assert OPEN.startswith("import time\nimport kperf\n")


# How a block that opens what this machine may lack must end there (the rule of the examples).
_LACKING = {kperf.Error.NOT_SUPPORTED_BY_CPU, kperf.Error.NOT_SUPPORTED_BY_KERNEL}
_MAY_EXIT = {} if HAS_DEVICES else {"device_open": _LACKING}


def _run(block: str, namespace: dict[str, object]) -> None:
    """Runs a block; one that exits does so with a documented error, which it printed."""
    try:
        exec(compile(_for_this_machine(block), "contract", "exec"), namespace)
    except SystemExit as ended:
        left = ended
    else:
        return
    codes = [codes for name, codes in _MAY_EXIT.items() if f"kperf.{name}(" in block]
    assert codes, f"{block}: {kperf.error()}"
    assert left.code == 1
    assert kperf.errorno() in codes[0]


@privileged
def test_in_order_in_one_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    opened = []
    refusals = []
    for block in BLOCKS:
        before = namespace.get("pd")
        _run(block, namespace)
        pd = namespace["pd"]
        if pd == before:
            continue
        if pd == -1:
            refusals.append(kperf.error())
        else:
            opened.append(pd)
    for pd, close in zip(opened, (kperf.close, kperf.close, kperf.trace_close, kperf.close)):
        close(pd)
    assert len(opened) == 3 + HAS_DEVICES  # counting, sampling, system calls
    lines = capsys.readouterr().out.splitlines()
    rows = re.findall(r"^cpu (\d+) count (\d+) evt (\S+)$", "\n".join(lines), re.MULTILINE)
    assert sorted((int(cpu), evt) for cpu, _, evt in rows) == sorted(
        (cpu, evt) for cpu in online_cpus() for evt in COUNTED.values()
    )
    assert any(int(count) > 0 for _, count, _ in rows)
    for line in (
        "event name: task-clock",
        "syscall function name: read",
        "syscall function name: write",
    ):
        assert line in lines
    assert any(re.fullmatch(r"next_comm=.{1,15};prev_pid=\d+", line) for line in lines)
    assert any(line.startswith("field_str=next_comm field_name=") for line in lines)
    assert all(any(refusal in line for line in lines) for refusal in refusals)
    frequency = namespace["cpu6_freq"]
    assert frequency == -1 or int(str(frequency)) > 10**8
    assert isinstance(namespace["cluster_cores"], list)
    assert isinstance(namespace["numa_cores"], list)


@privileged
def test_the_trace_example_between_enable_and_disable(capsys: pytest.CaptureFixture[str]) -> None:
    """The page's rows are those of the time between two calls that it names beside its blocks."""
    opening, reading = (
        next(block for block in BLOCKS if f"kperf.{name}(" in block)
        for name in ("trace_open", "trace_read")
    )
    namespace: dict[str, object] = {}
    _run(opening, namespace)
    pd = namespace["pd"]
    assert kperf.trace_enable(pd) == 0
    with Path("/dev/zero").open("rb", buffering=0) as zeros:
        for _ in range(10):
            zeros.read(1)
    assert kperf.trace_disable(pd) == 0
    _run(reading, namespace)
    kperf.trace_close(pd)
    own = [line for line in capsys.readouterr().out.splitlines() if f"pid: {os.getpid()}," in line]
    assert sum(line.startswith("funcs: read, elapsedTime: ") for line in own) >= 10


@privileged
@pytest.mark.skipif(
    HAS_ALL,
    reason="this PMU counts cycles and branch-misses; the guest's, which runs this test too, "
    "counts no branch-misses",
)
def test_without_a_pmu_the_first_block_exits_with_the_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        exec(compile(OPEN, "contract", "exec"), {})
    assert ended.value.code == 1
    assert kperf.errorno() == kperf.Error.NOT_SUPPORTED_BY_CPU
    printed = capsys.readouterr().out
    assert printed == kperf.error() + "\n"
    for name, counted in COUNTED.items():
        assert (name in printed) == (name != counted)
