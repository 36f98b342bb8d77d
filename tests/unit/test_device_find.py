"""Which counters a machine has for a metric, and why not."""

from __future__ import annotations

import pytest
from unit.trees import MachineOf, Tree

from kperf.attrs import PmuDeviceMetric
from kperf.device.find import Found, find, metric_of, recipes
from kperf.device.metric import CORES, METRICS
from kperf.errors import Error, KperfError
from kperf.formula import Formula
from kperf.machine import Machine


def found(name: str, machine: Machine) -> Found:
    return find(metric_of(name), machine)


def configs(name: str, machine: Machine) -> dict[str, list[str]]:
    """Each PMU's events, and what one count of them is."""
    return {
        source.pmu.name: [
            f"{event.config:#x} x {source.sizes[term]:g}" for term, event in source.events.items()
        ]
        for source in found(name, machine).sources
    }


def test_every_metric_of_the_contract_has_its_number() -> None:
    names = [PmuDeviceMetric(number).name for number in range(11)]
    assert names == [
        *("PMU_DDR_READ_BW", "PMU_DDR_WRITE_BW", "PMU_L3_TRAFFIC", "PMU_L3_MISS", "PMU_L3_REF"),
        *("PMU_L3_LAT", "PMU_PCIE_RX_MRD_BW", "PMU_PCIE_RX_MWR_BW", "PMU_PCIE_TX_MRD_BW"),
        *("PMU_PCIE_TX_MWR_BW", "PMU_SMMU_TRAN"),
    ]
    assert set(METRICS) == set(map(int, PmuDeviceMetric))


@pytest.mark.parametrize("metric", METRICS)
def test_tables_are_whole(metric: int) -> None:
    assert recipes(metric)
    for recipe in recipes(metric):
        assert recipe.source
        assert recipe.pmus == CORES or recipe.driver or recipe.pmus == ("msr",)
        if recipe.formula:
            assert set(Formula(recipe.formula).names) == {term.name for term in recipe.terms}
        else:
            assert len(recipe.terms) == 1


def test_generation_1(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-128")
    reads = configs("ddr-read-bw", machine)
    assert len(reads) == 16
    assert set(map(str, reads.values())) == {"['0x1 x 32']"}
    assert set(map(str, configs("ddr-write-bw", machine).values())) == {"['0x0 x 32']"}
    assert configs("l3-traffic", machine) == {"armv8_pmuv3_0": ["0x32 x 64"]}
    assert configs("l3-miss", machine) == {"armv8_pmuv3_0": ["0x33 x 1"]}
    assert configs("hha-cross-numa", machine)["hisi_sccl1_hha2"] == ["0x2 x 1", "0x0 x 1"]
    lat = found("l3-lat", machine)
    assert not lat.sources
    assert "is of generation 1" in lat.reason


def test_generation_2(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-gen2")
    reads = configs("ddr-read-bw", machine)
    assert len(reads) == 16
    assert reads["hisi_sccl3_ddrc1_0"] == ["0x84 x 32"]
    assert configs("ddr-write-bw", machine)["hisi_sccl1_ddrc0_1"] == ["0x83 x 32"]
    assert configs("l3-lat", machine)["hisi_sccl1_l3c2"] == ["0x80 x 1"]
    assert configs("l3-mean-lat", machine)["hisi_sccl1_l3c2"] == [
        *("0x80 x 1", "0xb8 x 1", "0xce x 1"),
    ]
    assert configs("pcie-rx-mrd-bw", machine)["hisi_pcie1_core0"] == ["0x804 x 4", "0x10804 x 1"]


def test_what_the_machine_says_wins_over_tables(tree: Tree) -> None:
    tree.cpus(range(2))
    events = {"flux_rd": "config=0x7", "flux_rd.scale": "2", "flux_rd.unit": "MiB"}
    formats = {"event": "config:0-4"}
    tree.pmu("hisi_sccl1_ddrc0", formats=formats, events=events, cpumask=[0])
    assert configs("ddr-read-bw", tree.machine()) == {"hisi_sccl1_ddrc0": ["0x7 x 2.09715e+06"]}


@pytest.mark.parametrize(
    ("identifier", "midr", "code"),
    [
        ("0x00000030", 0x481FD010, "0x84"),  # the block's own word wins over its cores'
        ("0x00000040", 0x481FD010, "0x84"),
        ("0x00000021", 0x480FD020, "0x1"),
        ("0x00000000", 0x481FD010, "0x1"),
        ("0x00000000", 0x480FD020, "0x84"),
        (None, 0x482FD061, "0x84"),
    ],
)
def test_code_by_generation(tree: Tree, identifier: str | None, midr: int, code: str) -> None:
    tree.cpus(range(2))
    tree.arm_cpuinfo([midr] * 2)
    tree.pmu("hisi_sccl1_ddrc0", formats={"event": "config:0-8"}, cpumask=[0])
    if identifier:
        tree.pmu_file("hisi_sccl1_ddrc0", "identifier", identifier)
    assert configs("ddr-read-bw", tree.machine()) == {"hisi_sccl1_ddrc0": [f"{code} x 32"]}


def test_unknown_generation(tree: Tree) -> None:
    tree.cpus(range(2))
    tree.arm_cpuinfo([0x481FDFF0] * 2)
    tree.pmu("hisi_sccl1_ddrc0", formats={"event": "config:0-8"}, cpumask=[0])
    assert "generation is unknown" in found("ddr-read-bw", tree.machine()).reason


def test_intel_server(machine_of: MachineOf) -> None:
    reads = configs("ddr-read-bw", machine_of("xeon"))
    assert list(reads) == [f"uncore_imc_{n}" for n in (0, 1, 2, 10)]
    assert reads["uncore_imc_2"] == ["0x304 x 64"]
    assert configs("l3-miss", machine_of("xeon")) == {"cpu": ["0x412e x 1"]}
    energy = configs("energy-pkg", machine_of("xeon"))
    assert energy == {"power": ["0x2 x 2.32831e-10"]}


def test_intel_client_counts_freely(machine_of: MachineOf) -> None:
    reads = configs("ddr-read-bw", machine_of("hybrid"))
    assert list(reads) == ["uncore_imc_free_running_0", "uncore_imc_free_running_1"]
    assert reads["uncore_imc_free_running_0"] == ["0x20ff x 64"]


def test_amd(machine_of: MachineOf) -> None:
    assert configs("ddr-read-bw", machine_of("epyc"))["amd_umc_0"] == ["0x10a x 64"]
    assert configs("ddr-write-bw", machine_of("epyc"))["amd_umc_1"] == ["0x20a x 64"]


@pytest.mark.parametrize(
    ("family", "model", "known"),
    [(23, 49, True), (25, 1, True), (25, 33, True), (25, 17, False), (26, 2, False)],
)
def test_amd_before_zen_4(tree: Tree, family: int, model: int, known: bool) -> None:
    """Before it, only the data fabric counts memory traffic, and reads and writes together."""
    tree.cpus(range(2))
    tree.cpuinfo(
        {"processor": n, "vendor_id": "AuthenticAMD", "cpu family": family, "model": model}
        for n in range(2)
    )
    formats = {"event": "config:0-7,32-35,59-60", "umask": "config:8-15"}
    tree.pmu("amd_df", formats=formats, cpumask=[0])
    machine = tree.machine()
    result = found("ddr-bw", machine)
    if known:
        assert configs("ddr-bw", machine)["amd_df"][::7] == ["0x3807 x 64", "0x1000038c7 x 64"]
        assert result.recipe is not None
        assert result.recipe.scope == "socket"
    else:
        assert "generation is unknown" in result.reason
    assert not found("ddr-read-bw", machine).sources


def test_reads_and_writes_together(machine_of: MachineOf) -> None:
    assert configs("ddr-bw", machine_of("kunpeng-gen2"))["hisi_sccl1_ddrc0_0"] == [
        *("0x84 x 32", "0x83 x 32"),
    ]
    assert configs("ddr-bw", machine_of("xeon"))["uncore_imc_0"] == ["0x304 x 64", "0xc04 x 64"]
    assert configs("ddr-bw", machine_of("epyc"))["amd_umc_0"] == ["0x10a x 64", "0x20a x 64"]


def test_grace_as_far_as_its_sysfs_tells(machine_of: MachineOf) -> None:
    machine = machine_of("grace")
    assert configs("l3-ref", machine) == {"armv8_pmuv3_0": ["0x32 x 1"]}
    assert found("ddr-read-bw", machine).reason == "nvidia_scf_pmu_0 has no event cmem_rd_data"
    assert "arm_dsu_*" in found("cluster-l3-ref", machine).reason


def test_codes_are_for_cores_of_their_maker(machine_of: MachineOf, tree: Tree) -> None:
    """The same number is another event elsewhere; a name of the machine's own is no number."""
    assert "not on this kind of machine" in found("l3-miss", machine_of("epyc")).reason
    tree.cpus(range(2))
    tree.arm_cpuinfo([0x410FD0C0] * 2)
    events = {"ll_cache_rd": "event=0x36"}
    tree.pmu("armv8_pmuv3_0", formats={"event": "config:0-15"}, events=events, cpus=range(2))
    assert configs("l3-ref", tree.machine()) == {"armv8_pmuv3_0": ["0x36 x 1"]}
    assert found("l3-miss", tree.machine()).reason == "armv8_pmuv3_0 has no event ll_cache_miss_rd"


def test_arm_blocks_by_their_names(tree: Tree) -> None:
    tree.cpus(range(4))
    tree.pmu(
        "arm_dsu_0",
        formats={"event": "config:0-31"},
        events={"l3d_cache": "event=0x2b"},
        cpumask=[0],
    )
    tree.pmu(
        "arm_cmn_0",
        formats={"type": "config:0-15", "eventid": "config:16-26"},
        events={"hnf_cache_miss": "type=0x5,eventid=0x1"},
        cpumask=[0],
    )
    machine = tree.machine()
    assert configs("cluster-l3-ref", machine) == {"arm_dsu_0": ["0x2b x 1"]}
    assert configs("slc-miss", machine) == {"arm_cmn_0": ["0x10005 x 1"]}
    assert found("slc-ref", machine).reason == ("arm_cmn_0 has no event hnf_slc_sf_cache_access")


def test_reasons_without_a_pmu(machine_of: MachineOf, tree: Tree) -> None:
    assert "(modprobe intel_uncore)" in found("ddr-read-bw", machine_of("guest")).reason
    assert "not on this kind of machine" in found("hha-cross-numa", machine_of("guest")).reason
    tree.cpus([0])
    assert "not on this kind of machine" in found("ddr-read-bw", tree.machine()).reason


def test_malformed_files_are_named_and_skipped(tree: Tree) -> None:
    tree.cpus(range(2))
    good = {"event": "config:0-4"}
    for number in range(3):
        tree.pmu(
            f"hisi_sccl1_ddrc{number}", formats=good, events={"flux_rd": "config=0x1"}, cpumask=[0]
        )
    tree.pmu_file("hisi_sccl1_ddrc0", "events/flux_rd", "flux=nonsense")
    tree.pmu_file("hisi_sccl1_ddrc1", "events/flux_rd", "event=0x1")
    tree.pmu_file("hisi_sccl1_ddrc1", "format/event", "config:9-2")
    result = found("ddr-read-bw", tree.machine())
    assert [source.pmu.name for source in result.sources] == ["hisi_sccl1_ddrc2"]
    first, second = result.skipped
    assert "hisi_sccl1_ddrc0: events/flux_rd says 'flux=nonsense'" in first
    assert "hisi_sccl1_ddrc1" in second
    assert "format/event says 'config:9-2'" in second


def test_unit_that_means_nothing_is_named(tree: Tree) -> None:
    tree.cpus(range(2))
    events = {"flux_rd": "config=0x1", "flux_rd.scale": "1", "flux_rd.unit": "furlongs"}
    tree.pmu("hisi_sccl1_ddrc0", formats={"event": "config:0-4"}, events=events, cpumask=[0])
    result = found("ddr-read-bw", tree.machine())
    assert not result.sources
    assert "'furlongs'" in result.reason


def test_names() -> None:
    for name in ("ddr-read-bw", "PMU_DDR_READ_BW", "ddr_read_bw", " DDR-Read-BW "):
        assert metric_of(name).id == PmuDeviceMetric.PMU_DDR_READ_BW
    with pytest.raises(KperfError, match="did you mean ddr-read-bw") as caught:
        metric_of("ddr-raed-bw")
    assert caught.value.code == Error.INVALID_METRIC
    with pytest.raises(KperfError, match="99 is no metric"):
        metric_of(99)
