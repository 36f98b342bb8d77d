"""The functions that tell where CPUs sit and how fast they run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit.trees import Tree

import kperf
from kperf.frequency import Frequency, frequencies

Error = kperf.Error


def test_the_cpus_of_a_node() -> None:
    nodes = Path("/sys/devices/system/node/online")
    if not nodes.exists():
        pytest.skip("this kernel has no NUMA")
    assert 0 in kperf.get_numa_core(0)
    assert kperf.errorno() == 0
    assert kperf.get_numa_core(4711) == []
    assert kperf.errorno() == Error.INVALID_NUMA_NODE
    assert "4711" in kperf.error()


def test_a_cluster_that_is_not_there() -> None:
    assert kperf.get_cluster_core(1 << 30) == []
    assert kperf.errorno() == Error.INVALID_CLUSTER


def test_a_frequency_or_the_reason_for_none() -> None:
    hz = kperf.get_cpu_freq(0)
    if hz == -1:
        assert kperf.errorno() == Error.NO_FREQUENCY
        assert "cpufreq" in kperf.error()
    else:
        assert 10**7 < hz < 10**11
        assert kperf.errorno() == 0


def test_asking_for_a_frequency_moves_no_thread() -> None:
    before = os.sched_getaffinity(0)
    kperf.get_cpu_freq(0)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("core", [-1, 1 << 40])
def test_the_frequency_of_no_cpu(core: int) -> None:
    assert kperf.get_cpu_freq(core) == -1
    assert kperf.errorno() == Error.INVALID_CPU_LIST


@pytest.mark.parametrize(
    "function", [kperf.get_cpu_freq, kperf.get_cluster_core, kperf.get_numa_core]
)
@pytest.mark.parametrize("wrong", ["0", 0.0, None, True])
def test_wrong_types(function: object, wrong: object) -> None:
    with pytest.raises(TypeError):
        function(wrong)  # type: ignore[operator]


def test_cppc_gives_the_bounds(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name, value in (
        ("nominal_freq", 2600),
        ("nominal_perf", 260),
        ("lowest_perf", 20),
        ("highest_perf", 300),
    ):
        tree.write(f"sys/devices/system/cpu/cpu0/acpi_cppc/{name}", value)
    assert frequencies(tree.machine(), [0]) == {0: Frequency(None, 200_000_000, 3_000_000_000)}
