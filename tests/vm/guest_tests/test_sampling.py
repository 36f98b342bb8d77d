"""Samples on this architecture: of its core PMU, of tracepoints, with names from its ELF files.

`busy` is the program of tests/sampling, built for the guest by run-tests: `sixty`, `thirty` and
`ten` take that many parts in a hundred of its time. `busy.nm` is what nm says of it.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import guest
import pytest

import kperf

BUSY = Path(__file__).with_name("busy")
ROUNDS = 1000
SHARES = {"sixty": 0.6, "thirty": 0.3, "ten": 0.1}
CHAINS = {
    "sixty": ("sixty", "spin", "main"),
    "thirty": ("thirty", "inner", "spin", "main"),
    "ten": ("ten", "inner", "spin", "main"),
}
PERIOD = 100_000


def sample(events: str, *argv: object, **options: Any) -> kperf.PmuData:
    """The samples of `busy` from its start to its end."""
    words = [str(word) for word in (BUSY, *argv)]
    with (
        kperf.Command(words) as command,
        kperf.Sampling(events, command=command, **options) as sampling,
    ):
        sampling.enable()
        command.start()
        assert os.waitpid(command.pid, 0)[1] == 0
        sampling.disable()
        return sampling.read()


@pytest.fixture(scope="module")
def data() -> kperf.PmuData:
    return sample("cycles:u", "spin", ROUNDS, period=PERIOD, call_stack=True)


def tops(data: Any) -> Counter[str]:
    return Counter(row.frames[0].symbolName for row in data)


def near(found: Counter[str]) -> None:
    """The functions have their shares of the samples."""
    n = sum(found[name] for name in SHARES)
    assert n >= 100, found
    for name, share in SHARES.items():
        assert found[name] / n == pytest.approx(share, abs=0.1), found


def test_a_sample_every_so_many_cycles(data: kperf.PmuData) -> None:
    document = guest.stat("-e", "cycles:u", "--", str(BUSY), "spin", str(ROUNDS))
    expected = document["rows"][0]["count"] / PERIOD
    assert {row.period for row in data} == {PERIOD}
    assert len(data) == pytest.approx(expected, rel=0.1)
    assert data.quality.lost == 0


def test_samples_fall_where_the_time_goes(data: kperf.PmuData) -> None:
    near(tops(data))


def test_call_chains_go_out_to_main(data: kperf.PmuData) -> None:
    hot = [row for row in data if row.frames[0].symbolName in CHAINS]
    whole = sum(row.names[: len(chain)] == chain for row in hot for chain in [CHAINS[row.names[0]]])
    assert whole >= 0.95 * len(hot)


def test_symbols_lie_where_nm_says(data: kperf.PmuData) -> None:
    lines = BUSY.with_name("busy.nm").read_text().splitlines()
    places = {name: int(address, 16) for address, _kind, name in map(str.split, lines)}
    starts = {
        symbol.symbolName: symbol.codeMapAddr
        for row in data
        for symbol in row.frames
        if symbol.module == str(BUSY)
    }
    assert set(starts) >= {"sixty", "thirty", "ten", "inner", "spin", "main"}
    # The program is loaded somewhere: all of it by the same distance.
    assert len({starts[name] - places[name] for name in starts}) == 1


def test_source_lines(data: kperf.PmuData) -> None:
    mode = kperf.SymbolMode.RESOLVE_ELF_DWARF
    rows = sample("cycles:u", "spin", ROUNDS, period=PERIOD, symbol_mode=mode)
    hot = [row.frames[0] for row in rows if row.frames[0].symbolName in SHARES]
    assert len(hot) > 100
    assert {os.path.basename(symbol.fileName) for symbol in hot} == {"busy.c"}
    assert all(symbol.lineNum > 0 for symbol in hot)


@pytest.mark.parametrize("event", ["cycles", "r11", "armv8_pmuv3/cpu_cycles/", "cpu-clock"])
def test_by_frequency(event: str) -> None:
    """A thousand a second of running time, which is short: the kernel has to find the period."""
    rows = sample(f"{event}:u", "spin", 4 * ROUNDS, frequency=1000)
    seconds = guest.stat("-e", "task-clock:u", "--", str(BUSY), "spin", str(4 * ROUNDS))
    expected = seconds["rows"][0]["count"] / 1e6
    assert 0.5 * expected < len(rows) < 2 * expected
    near(tops(rows))


def test_instructions_are_sampled() -> None:
    rows = sample("instructions:u", "spin", ROUNDS, period=PERIOD // 8)
    near(tops(rows))


def test_kernel_frames_have_the_kernel_s_names() -> None:
    rows = sample("cycles:k", "write", 20_000, period=PERIOD, call_stack=True)
    text = Path("/proc/kallsyms").read_text()
    kernel = set(re.findall(r"^[0-9a-f]+ [tTwW] (\S+)", text, re.M))  # modules' as well
    # The interrupt of a counter that ran over just before the return may come after it.
    inside = [row for row in rows if row.frames[0].module.startswith("[")]
    named = [row for row in inside if row.frames[0].symbolName in kernel]
    assert len(rows) > 50
    assert len(inside) > 0.7 * len(rows)
    assert len(named) > 0.99 * len(inside)
    assert sum(any("el0_svc" in name for name in row.names) for row in rows) > 0.5 * len(rows)
    assert sum("main" in row.names for row in rows) > 0.3 * len(rows)


def test_every_hit_of_a_tracepoint_with_its_fields() -> None:
    """Arguments of a system call, by this architecture's layout."""
    rows = sample("syscalls:sys_enter_write", "write", 100)
    assert len(rows) == 100
    for row in rows:
        count = ctypes.c_ulong()
        assert kperf.get_field(row, "count", ctypes.pointer(count)) == 0
        assert count.value == row.fields["count"] == 1
        assert row.fields["__syscall_nr"] == 64  # write, of asm-generic/unistd.h


def test_page_faults_have_their_addresses() -> None:
    rows = sample("page-faults:u", "spin", 1, period=1)
    assert len(rows) > 5
    assert all(row.period == 1 for row in rows)


def test_a_device_cannot_be_sampled() -> None:
    with pytest.raises(kperf.KperfError, match="hisi_sccl1_ddrc0/flux_rd/"):
        kperf.Sampling("hisi_sccl1_ddrc0/flux_rd/", period=1000)
