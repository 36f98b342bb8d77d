"""AMD: unified memory controllers (Zen 4 and later)."""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device.metric import ANY, Recipe, Term

MAKER = "AuthenticAMD"

_SOURCE = (
    "AMD PPR, UMC performance monitors: event 0x0a counts CAS commands, RdWrMask chooses; "
    "tools/perf/pmu-events/arch/x86/amdzen4/memory-controller.json; 64 bytes a CAS"
)


def _umc(metric: int, mask: str) -> Recipe:
    term = Term("umc_cas_cmd", {ANY: f"0xa,rdwrmask={mask}"}, 64)
    return Recipe(metric, ("amd_umc_%",), (term,), _SOURCE, driver="amd_uncore", makers=(MAKER,))


RECIPES: tuple[Recipe, ...] = (
    _umc(M.PMU_DDR_READ_BW, "0x1"),
    _umc(M.PMU_DDR_WRITE_BW, "0x2"),
)
