"""Intel: memory controllers (server, free-running, client), caches, energy, the time stamp counter.

Event numbers of the uncore change from model to model, and the kernel lists what matters by name:
so there are no codes here but the architectural ones.
"""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device.metric import ANY, CORES, Recipe, Term

MAKER = "GenuineIntel"

_SOURCE = "arch/x86/events/intel/uncore_snbep.c, uncore_snb.c: events/ with their .scale and .unit"
_SDM = "Intel SDM volume 3, architectural performance events (LLC reference, LLC misses)"
_LINE_BYTES = 64


def _memory(metric: int, pmu: str, events: tuple[str, ...], driver: str) -> Recipe:
    return Recipe(
        metric,
        (pmu,),
        tuple(Term(event, size=_LINE_BYTES) for event in events),
        _SOURCE,
        formula=" + ".join(events),
        driver=driver,
        makers=(MAKER,),
    )


def _memory_controllers(metric: int, *words: str) -> tuple[Recipe, ...]:
    """The ways to measure reads, writes or both, the finest first."""

    def way(pmu: str, *names: str) -> Recipe:
        events = tuple(name.format(word) for word in words for name in names)
        return _memory(metric, pmu, events, "intel_uncore")

    return (
        way("uncore_imc_%", "cas_count_{}"),
        way("uncore_imc_%", "cas_count_{}_sch0", "cas_count_{}_sch1"),
        way("uncore_imc_free_running_%", "data_{}"),
        way("uncore_imc_free_running_%", "{}"),
        way("uncore_imc", "data_{}s"),
    )


def _cache(metric: int, umask: str, size: int = 1) -> Recipe:
    term = Term("llc", {ANY: f"0x2e,umask={umask}"}, size)
    return Recipe(metric, CORES, (term,), _SDM, makers=(MAKER,))


RECIPES: tuple[Recipe, ...] = (
    *_memory_controllers(M.PMU_DDR_READ_BW, "read"),
    *_memory_controllers(M.PMU_DDR_WRITE_BW, "write"),
    *_memory_controllers(M.PMU_DDR_BW, "read", "write"),
    _cache(M.PMU_L3_TRAFFIC, "0x4f", _LINE_BYTES),
    _cache(M.PMU_L3_MISS, "0x41"),
    _cache(M.PMU_L3_REF, "0x4f"),
)
