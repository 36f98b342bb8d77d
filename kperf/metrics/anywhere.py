"""Metrics of generic events, which every CPU with a PMU counts, and of Arm's common events."""

from __future__ import annotations

from kperf.metrics.metric import CoreMetric, CoreRecipe

_GENERIC = "perf_event_open(2): the kernel's generic events"
_ARM = "Arm Architecture Reference Manual DDI 0487, PMU common events"


def _ratio(
    name: str, description: str, part: str, whole: str, *, times: int = 1, is_share: bool = True
) -> CoreMetric:
    formula = "part / whole" if times == 1 else f"{times} * part / whole"
    recipe = CoreRecipe(formula, _GENERIC, events={"part": part, "whole": whole})
    return CoreMetric(name, description, (recipe,), is_share)


def _arm(name: str, description: str, formula: str) -> CoreMetric:
    from kperf.metrics.topdown import ARM_CORES

    return CoreMetric(name, description, (CoreRecipe(formula, _ARM, parts=ARM_CORES),))


METRICS: tuple[CoreMetric, ...] = (
    _ratio("ipc", "instructions per cycle", "instructions", "cycles", is_share=False),
    _ratio("branch-miss-rate", "branches predicted wrongly", "branch-misses", "branches"),
    _ratio(
        "branch-mpki",
        "branches predicted wrongly in 1,000 instructions",
        "branch-misses",
        "instructions",
        times=1000,
        is_share=False,
    ),
    _ratio("cache-miss-rate", "misses of the last-level cache", "cache-misses", "cache-references"),
    _ratio(
        "cache-mpki",
        "misses of the last-level cache in 1,000 instructions",
        "cache-misses",
        "instructions",
        times=1000,
        is_share=False,
    ),
    _ratio(
        "l1d-miss-rate", "loads that L1D did not have", "L1-dcache-load-misses", "L1-dcache-loads"
    ),
    _ratio(
        "l1i-miss-rate",
        "fetches that L1I did not have",
        "L1-icache-load-misses",
        "L1-icache-loads",
    ),
    _ratio("llc-miss-rate", "loads that LLC did not have", "LLC-load-misses", "LLC-loads"),
    _ratio("dtlb-miss-rate", "data TLB misses of loads", "dTLB-load-misses", "dTLB-loads"),
    _ratio("itlb-miss-rate", "instruction TLB misses", "iTLB-load-misses", "iTLB-loads"),
    _arm("l2-miss-rate", "L2 accesses that missed", "l2d_cache_refill / l2d_cache"),
    _arm("l2-tlb-miss-rate", "L2 TLB accesses that missed", "l2d_tlb_refill / l2d_tlb"),
    _arm("dtlb-walk-rate", "data TLB accesses that walked tables", "dtlb_walk / l1d_tlb"),
    _arm("itlb-walk-rate", "fetches that walked tables", "itlb_walk / l1i_tlb"),
    _arm("frontend-stalled", "cycles without anything to issue", "stall_frontend / cpu_cycles"),
    _arm("backend-stalled", "cycles without room to issue", "stall_backend / cpu_cycles"),
)
