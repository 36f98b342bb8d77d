"""PCIe devices: their names, and which PMU covers them."""

from __future__ import annotations

import pytest
from unit.trees import MachineOf, Tree

from kperf.attrs import PmuBdfType
from kperf.device.metric import PCIE, SMMU
from kperf.device.pci import Address, Pci, covered_bdfs, parse_bdf, port_bit
from kperf.errors import Error, KperfError


def test_bdfs() -> None:
    assert parse_bdf("7a:01.3") == Address(0, 0x7A, 1, 3)
    assert parse_bdf("0000:7A:1f.0") == Address(0, 0x7A, 31, 0)
    assert str(parse_bdf("1:0:0.0") or "") == ""
    assert str(parse_bdf("0001:0:0.0")) == "0001:00:00.0"
    assert Address(0, 0x7A, 1, 3).number == 0x7A0B


@pytest.mark.parametrize("text", ["", "zz", "7a:01", "7a:01.8", "7a:20.0", "7a.01.0", "1:2:3:4.0"])
def test_no_bdf(text: str, machine_of: MachineOf) -> None:
    assert parse_bdf(text) is None
    with pytest.raises(KperfError, match="is no BDF") as caught:
        Pci(machine_of("kunpeng-gen2")).find(text, PCIE)
    assert caught.value.code == Error.INVALID_BDF


def test_covered_by_root_complexes(machine_of: MachineOf) -> None:
    pci = Pci(machine_of("kunpeng-gen2"))
    covered = {str(d): pci.pmus_of(d, PCIE) for d in pci.covered(PCIE)}
    assert covered == {
        "78:00.0 (pcieport)": ["hisi_pcie0_core0"],
        "7a:00.0 (hns3, eth0)": ["hisi_pcie0_core0"],
        "b8:01.0 (pcieport)": ["hisi_pcie1_core0"],
        "b9:00.0 (nvme, nvme0)": ["hisi_pcie1_core0"],
    }


def test_covered_by_smmus(machine_of: MachineOf) -> None:
    pci = Pci(machine_of("kunpeng-gen2"))
    covered = {str(d.address): pci.pmus_of(d, SMMU) for d in pci.covered(SMMU)}
    assert covered == {
        "7a:00.0": ["smmuv3_pmcg_148020"],
        "b9:00.0": ["smmuv3_pmcg_188020"],
    }


def test_monitor_belongs_to_the_smmu_before_it(tree: Tree) -> None:
    """Two SMMUs close to each other, and a monitor far behind both."""
    tree.cpus([0])
    for page in ("100002", "100042", "101002", "900000"):
        tree.pmu(f"smmuv3_pmcg_{page}", cpumask=[0])
    tree.pci("pci0000:00/0000:00:01.0", iommu="smmu3.0x0000000100000000")
    tree.pci("pci0000:00/0000:00:02.0", iommu="smmu3.0x0000000101000000")
    tree.pci("pci0000:00/0000:00:03.0")
    pci = Pci(tree.machine())
    covered = {str(d.address): pci.pmus_of(d, SMMU) for d in pci.covered(SMMU)}
    assert covered == {
        "00:01.0": ["smmuv3_pmcg_100002", "smmuv3_pmcg_100042"],
        "00:02.0": ["smmuv3_pmcg_101002"],
    }


def test_three_errors_that_differ(machine_of: MachineOf) -> None:
    pci = Pci(machine_of("kunpeng-gen2"))
    valid = r"name one of 78:00.0 \(pcieport\), 7a:00.0 \(hns3, eth0\)"
    with pytest.raises(KperfError, match=r"'eth0' is no BDF: write bus:device\.function"):
        pci.find("eth0", PCIE)
    with pytest.raises(KperfError, match=f"there is no PCIe device 7a:05.0 here: {valid}"):
        pci.find("7a:05.0", PCIE)
    here = r"74:02.0 \(hisi_sas_v3_hw\) is here, but no PMU of a root complex covers it: "
    with pytest.raises(KperfError, match=here + valid):
        pci.find("74:02.0", PCIE)
    with pytest.raises(KperfError, match="sits behind no SMMU"):
        pci.find("74:02.0", SMMU)


def test_lists_for_programs(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-gen2")
    assert covered_bdfs(machine, PmuBdfType.PMU_BDF_TYPE_SMMU) == ["7a:00.0", "b9:00.0"]
    with pytest.raises(KperfError, match="no PCIe device here is covered"):
        covered_bdfs(machine_of("xeon"), PmuBdfType.PMU_BDF_TYPE_PCIE)
    with pytest.raises(KperfError, match="7 is no type of BDFs"):
        covered_bdfs(machine, 7)


def test_bits_of_ports() -> None:
    """The examples of the kernel's hisi-pcie-pmu.rst."""
    assert port_bit(Address(0, 0, 0, 0)) == 0x1
    assert port_bit(Address(0, 0, 4, 0)) == 0x100
