"""Names and numbers of system calls, judged by the kernel and by the C library's headers."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import privileged

import kperf
from kperf.machine import Machine
from kperf.syscalls import SyscallNames
from kperf.syscalls.table import TABLE

HERE = SyscallNames(platform.machine())
X86, ARM = SyscallNames("x86_64"), SyscallNames("aarch64")

# From here on numbers are the same everywhere, and every call refuses arguments that are all -1.
_SHARED_FROM = 424


@privileged
def test_every_call_of_the_kernel_has_a_name() -> None:
    events = Machine().trace_names("syscalls")
    named = [event[len("sys_enter_") :] for event in events if event.startswith("sys_enter_")]
    assert len(named) > 200
    assert HERE.select(named)


@privileged
def test_the_newer_numbers_are_the_kernels() -> None:
    """Each call is made by its number, and the kernel says by name which one it was."""
    there = {event[len("sys_enter_") :] for event in Machine().trace_names("syscalls")}
    newer = [
        name for name in HERE.names if (HERE.number(name) or 0) >= _SHARED_FROM and name in there
    ]
    assert len(newer) > 20
    events = [f"syscalls:sys_enter_{name}" for name in newer]
    raw = ctypes.CDLL(None).syscall
    with kperf.Counting(events, pids=[os.getpid()]) as counting:
        counting.enable()
        for name in newer:
            raw(HERE.number(name), *[ctypes.c_long(-1)] * 6)
        counting.disable()
        totals = dict.fromkeys(events, 0)
        for row in counting.read():
            totals[row.evt] += int(row.count)
    assert totals == dict.fromkeys(events, 1)


def _defined(arch_flags: list[str]) -> dict[str, int]:
    """What the headers of the C library's Linux define."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no compiler to ask for the headers' numbers")
    done = subprocess.run(
        [compiler, *arch_flags, "-E", "-dM", "-x", "c", "-include", "asm/unistd.h", os.devnull],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("no headers for this kind of program")
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.MULTILINE)
    return {name: int(number) for name, number in found}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the headers here are of another CPU")
@pytest.mark.parametrize(("flags", "bits"), [([], 64), (["-U__x86_64__", "-D__i386__"], 32)])
def test_numbers_are_those_of_the_headers(flags: list[str], bits: int) -> None:
    defined = _defined(flags)
    assert len(defined) > 300
    assert {name: X86.number(name, bits) for name in defined} == defined


def test_known_numbers_of_other_machines() -> None:
    assert [ARM.number(name) for name in ("read", "openat", "clone3")] == [63, 56, 435]
    assert [ARM.number(name, 32) for name in ("read", "openat", "clone3")] == [3, 322, 435]
    assert [X86.number(name, 32) for name in ("read", "openat", "clone3")] == [3, 295, 435]
    assert ARM.number("open") is None


def test_the_table_holds_each_number_once() -> None:
    lines = [line.split() for line in TABLE.splitlines()]
    for column in range(1, len(lines[0])):
        numbers = [line[column] for line in lines[1:] if line[column] != "-"]
        assert len(numbers) > 300
        assert len(set(numbers)) == len(numbers)


def test_names_and_numbers_go_both_ways() -> None:
    for name in X86.names:
        assert X86.name(X86.number(name) or 0) == name
    assert X86.name(3, 32) == "read"
    assert X86.name(9999) == "syscall_9999"
    assert X86.name(9999, 32) == "syscall32_9999"


def test_aliases_are_taken() -> None:
    assert X86.select(["pread"]) == X86.select(["pread64"])
    assert X86.select(["newstat", "stat"]) == X86.select(["stat"])
    assert ARM.select(["fstatat"]).numbers == ARM.select(["newfstatat"]).numbers == (79,)


def test_numbers_are_taken() -> None:
    assert X86.select(["syscall_7000"]) == ((7000,), ())
    assert X86.select(["syscall32_3"]) == ((), (3,))
    assert X86.select([]) == ((), ())


@pytest.mark.parametrize("wrong", ["raed", "", "READ", "syscall_", "syscall_99999999999", "no\0"])
def test_unknown_names_are_refused(wrong: str) -> None:
    with pytest.raises(kperf.KperfError) as caught:
        X86.select(["read", wrong])
    assert caught.value.code == kperf.Error.INVALID_SYSCALL
    assert f"'{wrong}'" in caught.value.message
    assert "'read'" not in caught.value.message


def test_the_nearest_names_are_told() -> None:
    with pytest.raises(kperf.KperfError, match=r"'raed'.*near: read.*'wirte'.*near: write"):
        X86.select(["raed", "close", "wirte"])


def test_the_generator_writes_the_table_from_the_kernels_tables(tmp_path: Path) -> None:
    """Without a kernel's source: from small tables of the same form."""
    tables = {
        "arch/x86/entry/syscalls/syscall_64.tbl": "0 common read sys_read\n512 x32 x sys_x\n",
        "arch/x86/entry/syscalls/syscall_32.tbl": "3 i386 read sys_read\n",
        "scripts/syscall.tbl": "63 common read sys_read\n4 time32 x sys_x\n",
        "arch/arm64/tools/syscall_32.tbl": "# nothing\n3 common read sys_read\n",
    }
    for name, text in tables.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    generator = Path(__file__).parents[2] / "kperf" / "syscalls" / "generate.py"
    done = subprocess.run(
        [sys.executable, generator, tmp_path], capture_output=True, text=True, check=True
    )
    assert "\nread 0 3 63 3\n" in done.stdout
    assert "\nx " not in done.stdout
