"""HiSilicon Kunpeng: DDR controllers, L3 cache, home agents, PCIe root complexes, SMMUs.

Generation 1 is Kunpeng 920 (hip08, TSV110), generation 2 what came after it (hip09, hip12): the
blocks are the same, many codes are not. `find.generation_of` tells them apart.
"""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device.metric import ANY, BDF, CORES, Recipe, Term

MAKER = "0x48"

_DDRC = ("hisi_sccl#_ddrc%", "hisi_sccl#_ddrc%_%")
_L3C = ("hisi_sccl#_l3c#", "hisi_sccl#_l3c#_#")
_HHA = ("hisi_sccl#_hha#", "hisi_sccl#_hha#_#")
_PCIE = ("hisi_pcie#_core#",)
_SMMU = ("smmuv3_pmcg_@",)

_FLUX_BYTES = 32  # a flux unit; two public tools agree on it
_LINE_BYTES = 64
_WORD_BYTES = 4  # PCIe flux counts doublewords

_DDRC_SOURCE = (
    "codes: drivers/perf/hisilicon/hisi_uncore_ddrc_pmu.c; 32 bytes a flux unit: libkperf and "
    "DevKit, not the kernel"
)
_CORE_SOURCE = "tools/perf/pmu-events/arch/arm64/hisilicon/hip08 (ll_cache); 64-byte lines"
_L3C_SOURCE = "code 0x80: libkperf, not the kernel"
_PCIE_SOURCE = (
    "codes and pairs: Documentation/admin-guide/perf/hisi-pcie-pmu.rst; 4 bytes a flux unit: "
    "libkperf, not the kernel"
)
_PCIE_LATENCY_SOURCE = "Documentation/admin-guide/perf/hisi-pcie-pmu.rst"
_HHA_SOURCE = "drivers/perf/hisilicon/hisi_uncore_hha_pmu.c"
_SMMU_SOURCE = (
    "drivers/perf/arm_smmuv3_pmu.c; stream id = BDF: as if the firmware's IORT added nothing"
)


_READS = Term("flux_rd", {1: "0x1", 2: "0x84"}, _FLUX_BYTES)
_WRITES = Term("flux_wr", {1: "0x0", 2: "0x83"}, _FLUX_BYTES)


def _ddr(metric: int, *terms: Term) -> Recipe:
    return Recipe(
        metric,
        _DDRC,
        terms,
        _DDRC_SOURCE,
        formula=" + ".join(term.name for term in terms),
        confirmed=False,
        driver="hisi_uncore_ddrc_pmu",
        makers=(MAKER,),
    )


def _core(metric: int, event: str, code: str, size: int = 1) -> Recipe:
    term = Term(event, {1: code, 2: code}, size)
    return Recipe(metric, CORES, (term,), _CORE_SOURCE, makers=(MAKER,))


def _pcie_bandwidth(metric: int, kind: str, flux: int) -> Recipe:
    # Bit 16 is the same event's second counter: how long the first one has counted.
    terms = (
        Term(f"{kind}_flux", {ANY: f"{flux:#x}"}, _WORD_BYTES),
        Term(f"{kind}_time", {ANY: f"{flux | 1 << 16:#x}"}),
    )
    return Recipe(
        metric,
        _PCIE,
        terms,
        _PCIE_SOURCE,
        formula=f"{kind}_flux / {kind}_time",
        confirmed=False,
        driver="hisi_pcie_pmu",
        makers=(MAKER,),
        parameters="bdf={bdf}",
        together=True,
    )


def _pcie_latency(metric: int, kind: str, latency: int) -> Recipe:
    terms = (
        Term(f"{kind}_latency", {ANY: f"{latency:#x}"}),
        Term(f"{kind}_cnt", {ANY: f"{latency | 1 << 16:#x}"}),
    )
    return Recipe(
        metric,
        _PCIE,
        terms,
        _PCIE_LATENCY_SOURCE,
        formula=f"{kind}_latency / {kind}_cnt",
        driver="hisi_pcie_pmu",
        makers=(MAKER,),
        parameters="port={port}",
        together=True,
    )


def _home_agent(metric: int, event: str, code: str) -> Recipe:
    return Recipe(
        metric,
        _HHA,
        (Term(event, {ANY: code}), Term("rx_ops_num", {ANY: "0x0"})),
        _HHA_SOURCE,
        formula=f"{event} / rx_ops_num",
        driver="hisi_uncore_hha_pmu",
        makers=(MAKER,),
        together=True,
    )


RECIPES: tuple[Recipe, ...] = (
    _ddr(M.PMU_DDR_READ_BW, _READS),
    _ddr(M.PMU_DDR_WRITE_BW, _WRITES),
    _ddr(M.PMU_DDR_BW, _READS, _WRITES),
    _core(M.PMU_L3_TRAFFIC, "ll_cache", "0x32", _LINE_BYTES),
    _core(M.PMU_L3_MISS, "ll_cache_miss", "0x33"),
    _core(M.PMU_L3_REF, "ll_cache", "0x32"),
    Recipe(
        M.PMU_L3_LAT,
        _L3C,
        (Term("latency", {2: "0x80"}),),
        _L3C_SOURCE,
        confirmed=False,
        driver="hisi_uncore_l3c_pmu",
        makers=(MAKER,),
    ),
    Recipe(
        M.PMU_L3_MEAN_LAT,
        _L3C,
        (Term("latency", {2: "0x80"}), Term("l3c_ref", {2: "0xb8"}), Term("other", {2: "0xce"})),
        _L3C_SOURCE,
        formula="latency / (l3c_ref - other)",
        confirmed=False,
        driver="hisi_uncore_l3c_pmu",
        makers=(MAKER,),
        together=True,
    ),
    _pcie_bandwidth(M.PMU_PCIE_RX_MRD_BW, "rx_mrd", 0x0804),
    _pcie_bandwidth(M.PMU_PCIE_RX_MWR_BW, "rx_mwr", 0x0104),
    _pcie_bandwidth(M.PMU_PCIE_TX_MRD_BW, "tx_mrd", 0x0405),
    _pcie_bandwidth(M.PMU_PCIE_TX_MWR_BW, "tx_mwr", 0x0105),
    _pcie_latency(M.PMU_PCIE_RX_MRD_LAT, "rx_mrd", 0x0210),
    _pcie_latency(M.PMU_PCIE_RX_MWR_LAT, "rx_mwr", 0x0010),
    _pcie_latency(M.PMU_PCIE_TX_MRD_LAT, "tx_mrd", 0x0011),
    Recipe(
        M.PMU_SMMU_TRAN,
        _SMMU,
        (Term("transaction", {ANY: "0x1"}),),
        _SMMU_SOURCE,
        confirmed=False,
        driver="arm_smmuv3_pmu",
        makers=(MAKER, "0x41"),
        parameters="filter_enable=1,filter_stream_id={bdf}",
        scope=BDF,
    ),
    _home_agent(M.PMU_HHA_CROSS_NUMA, "rx_sccl", "0x2"),
    _home_agent(M.PMU_HHA_CROSS_SOCKET, "rx_outer", "0x1"),
)
