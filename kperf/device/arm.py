"""Arm's own blocks, and NVIDIA Grace: last-level cache, DSU, CMN, Scalable Coherency Fabric.

As far as their sysfs tells: an event that is not in events/ has no code here.
"""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device.metric import CORES, SOCKET, Recipe, Term

MAKER = "0x41"
_MAKERS = (MAKER, "0x6d")  # Microsoft's Cobalt has Arm's cores

_LL = "Arm ARM DDI 0487, PMU common events: LL_CACHE_RD, LL_CACHE_MISS_RD; 64-byte lines"
_DSU = "drivers/perf/arm_dsu_pmu.c"
_CMN = "drivers/perf/arm-cmn.c"
_SCF = (
    "drivers/perf/arm_cspmu/nvidia_cspmu.c for the names; 32 bytes a cmem_rd_data: NVIDIA Grace "
    "CPU Performance Tuning Guide, not the kernel"
)


def _core(metric: int, event: str, size: int = 1) -> Recipe:
    return Recipe(metric, CORES, (Term(event, size=size),), _LL, makers=_MAKERS)


def _block(metric: int, pmu: str, event: str, source: str, driver: str) -> Recipe:
    return Recipe(metric, (pmu,), (Term(event),), source, driver=driver, makers=_MAKERS)


_READS = Term("cmem_rd_data", size=32)
_WRITES = Term("cmem_wr_total_bytes")


def _fabric(metric: int, *terms: Term) -> Recipe:
    return Recipe(
        metric,
        ("nvidia_scf_pmu_#",),
        terms,
        _SCF,
        formula=" + ".join(term.name for term in terms),
        confirmed=False,
        driver="nvidia_cspmu",
        makers=_MAKERS,
        scope=SOCKET,
    )


RECIPES: tuple[Recipe, ...] = (
    _core(M.PMU_L3_TRAFFIC, "ll_cache_rd", 64),
    _core(M.PMU_L3_MISS, "ll_cache_miss_rd"),
    _core(M.PMU_L3_REF, "ll_cache_rd"),
    _fabric(M.PMU_DDR_READ_BW, _READS),
    _fabric(M.PMU_DDR_WRITE_BW, _WRITES),
    _fabric(M.PMU_DDR_BW, _READS, _WRITES),
    _block(M.PMU_CLUSTER_L3_REF, "arm_dsu_#", "l3d_cache", _DSU, "arm_dsu_pmu"),
    _block(M.PMU_CLUSTER_L3_MISS, "arm_dsu_#", "l3d_cache_refill", _DSU, "arm_dsu_pmu"),
    _block(M.PMU_SLC_REF, "arm_cmn_#", "hnf_slc_sf_cache_access", _CMN, "arm_cmn"),
    _block(M.PMU_SLC_MISS, "arm_cmn_#", "hnf_cache_miss", _CMN, "arm_cmn"),
)
