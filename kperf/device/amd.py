"""AMD: unified memory controllers (Zen 4 and later), and the data fabric before them.

Generation 1 of the data fabric is Zen to Zen 3: `find.generation_of`.
"""

from __future__ import annotations

from kperf.attrs import PmuDeviceMetric as M
from kperf.device.metric import ANY, SOCKET, Recipe, Term

MAKER = "AuthenticAMD"

_UMC_SOURCE = (
    "AMD PPR, UMC performance monitors: event 0x0a counts CAS commands, RdWrMask chooses; "
    "tools/perf/pmu-events/arch/x86/amdzen4/memory-controller.json; 64 bytes a CAS"
)
_DF_SOURCE = (
    "tools/perf/pmu-events/arch/x86/amdzen3/data-fabric.json, recommended.json "
    "(nps1_die_to_dram): requests with 64 bytes of data; approximate, and with NPS1 only"
)
_LINE_BYTES = 64

_READS = Term("umc_cas_cmd_rd", {ANY: "0xa,rdwrmask=0x1"}, _LINE_BYTES)
_WRITES = Term("umc_cas_cmd_wr", {ANY: "0xa,rdwrmask=0x2"}, _LINE_BYTES)

# One event a channel of the die, 0x40 apart.
_CHANNELS = tuple(
    Term(f"dram_channel_{number}", {1: f"{0x07 + 0x40 * number:#x},umask=0x38"}, _LINE_BYTES)
    for number in range(8)
)


def _umc(metric: int, *terms: Term) -> Recipe:
    return Recipe(
        metric,
        ("amd_umc_%",),
        terms,
        _UMC_SOURCE,
        formula=" + ".join(term.name for term in terms),
        driver="amd_uncore",
        makers=(MAKER,),
    )


RECIPES: tuple[Recipe, ...] = (
    _umc(M.PMU_DDR_READ_BW, _READS),
    _umc(M.PMU_DDR_WRITE_BW, _WRITES),
    _umc(M.PMU_DDR_BW, _READS, _WRITES),
    Recipe(
        M.PMU_DDR_BW,
        ("amd_df",),
        _CHANNELS,
        _DF_SOURCE,
        formula=" + ".join(term.name for term in _CHANNELS),
        driver="amd_uncore",
        makers=(MAKER,),
        scope=SOCKET,
    ),
)
