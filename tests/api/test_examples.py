"""The contract's counting and sampling examples run as its page has them."""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path
from textwrap import dedent

import pytest
from support import online_cpus, privileged

import kperf

_PAGE = Path(__file__).with_name("contract-examples.md")
_FENCED = re.compile(r"^```(?:python)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [dedent(block) for block in _FENCED.findall(_PAGE.read_text(encoding="utf-8"))]
OPEN = BLOCKS[0]

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
_SUBSTITUTES = {"cycles": "cpu-clock", "branch-misses": "context-switches"}


def _has_cycles() -> bool:
    """Whether the kernel opens a cycle counter, asked without kperf."""
    import os

    attr = (ctypes.c_uint64 * 16)()
    attr[0] = 128 << 32  # type hardware, size; config 0: cycles
    attr[5] = 1 << 0 | 1 << 5 | 1 << 6  # disabled, exclude_kernel, exclude_hv
    fd = ctypes.CDLL(None).syscall(_PERF_EVENT_OPEN, attr, 0, -1, -1, 8)
    if fd < 0:
        return False
    os.close(fd)
    return True


HAS_CYCLES = _has_cycles()


# sched_switch has no field of this name, and all its rows have one of this.
_FIELD, _A_FIELD_OF_SCHED_SWITCH = '"name"', '"next_comm"'


def _for_this_machine(block: str) -> str:
    block = block.replace(f"data, {_FIELD}", f"data, {_A_FIELD_OF_SCHED_SWITCH}")
    if not HAS_CYCLES:
        for name, substitute in _SUBSTITUTES.items():
            block = block.replace(f'"{name}"', f'"{substitute}"')
    return block


def test_the_page_has_its_blocks() -> None:
    assert len(BLOCKS) == 6
    assert OPEN.startswith("# python代码示例\nimport time\n")


@privileged
def test_in_order_in_one_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    opened = set()
    for block in BLOCKS:
        exec(compile(_for_this_machine(block), "contract", "exec"), namespace)
        opened.add(namespace["pd"])
    assert len(opened) == 2  # counting, then sampling
    for pd in opened:
        kperf.close(pd)
    lines = capsys.readouterr().out.splitlines()
    rows = re.findall(r"^cpu (\d+) count (\d+) evt (\S+)$", "\n".join(lines), re.MULTILINE)
    names = ["cycles", "branch-misses"]
    wanted = names if HAS_CYCLES else [_SUBSTITUTES[name] for name in names]
    assert sorted((int(cpu), evt) for cpu, _, evt in rows) == sorted(
        (cpu, evt) for cpu in online_cpus() for evt in wanted
    )
    assert any(int(count) > 0 for _, count, _ in rows)
    listed = [line for line in lines if line.startswith("event name: ")]
    assert "event name: task-clock" in listed
    switches = [re.fullmatch(r"next_comm=.{1,15};prev_pid=\d+", line) for line in lines]
    assert any(switches)
    described = [line for line in lines if line.startswith("field_str=next_comm field_name=")]
    assert len(described) == 1
    known = len(rows) + len(listed) + sum(map(bool, switches)) + len(described)
    assert known == len(lines)


@privileged
@pytest.mark.skipif(HAS_CYCLES, reason="this machine has what the example counts")
def test_without_a_pmu_the_first_block_exits_with_the_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        exec(compile(OPEN, "contract", "exec"), {})
    assert ended.value.code == 1
    assert kperf.errorno() == kperf.Error.NOT_SUPPORTED_BY_CPU
    printed = capsys.readouterr().out
    assert printed == kperf.error() + "\n"
    assert "cycles" in printed
    assert "branch-misses" in printed
