"""What Intel and AMD share: energy counters and the time stamp counter."""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device import amd, intel
from kperf.device.metric import Recipe, Term

_MAKERS = (intel.MAKER, amd.MAKER)


def _energy(metric: int, domain: str) -> Recipe:
    # A name in events/ has a hyphen, which a formula of one term does not mind.
    source = "arch/x86/events/rapl.c: events/ with their .scale and .unit"
    terms = (Term(f"energy-{domain}"),)
    return Recipe(metric, ("power",), terms, source, driver="rapl", makers=_MAKERS)


RECIPES: tuple[Recipe, ...] = (
    _energy(M.PMU_ENERGY_PKG, "pkg"),
    _energy(M.PMU_ENERGY_CORES, "cores"),
    _energy(M.PMU_ENERGY_RAM, "ram"),
    Recipe(M.PMU_TSC, ("msr",), (Term("tsc"),), "arch/x86/events/msr.c", makers=_MAKERS),
)
