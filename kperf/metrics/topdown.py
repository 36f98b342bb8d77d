"""Top-down analysis: where the slots of a core's pipeline went. Level 1, and level 2 on TSV110.

Formulas exist where a core's maker has published them; each names its source.
"""

from __future__ import annotations

from kperf.metrics.metric import CoreMetric, CoreRecipe, Part

TSV110: Part = (0x48, 0xD01)
NEOVERSE_N1: Part = (0x41, 0xD0C)
NEOVERSE_V1: Part = (0x41, 0xD40)
NEOVERSE_N2: Part = (0x41, 0xD49)
NEOVERSE_V2: Part = (0x41, 0xD4F)
COBALT_100: Part = (0x6D, 0xD49)

ARM_CORES = (TSV110, NEOVERSE_N1, NEOVERSE_V1, NEOVERSE_N2, NEOVERSE_V2, COBALT_100)

_PERF = "tools/perf/pmu-events/arch/arm64"
_TSV110_SOURCE = f"{_PERF}/hisilicon/hip08/metrics.json (HiSilicon)"
_V1_SOURCE = f"{_PERF}/arm/neoverse-v1/metrics.json; Arm Neoverse V1 PMU Guide"
_N2_SOURCE = f"{_PERF}/arm/neoverse-n2-v2/metrics.json; Arm Neoverse N2 PMU Guide"
_V2_SOURCE = f"{_PERF}/arm/neoverse-n2-v2/metrics.json"

_L1, _L2 = "topdown-l1", "topdown-l2"

# Events of TSV110 that have no public name.
_TSV110_EVENTS = {
    "fetch_latency_bubble": "r201d",
    "other_flush": "r2013",
    "mem_stall_anystore": "r7005",
}


def _tsv110(formula: str, family: str = "") -> CoreRecipe:
    return CoreRecipe(
        formula, _TSV110_SOURCE, events=_TSV110_EVENTS, parts=(TSV110,), family=family
    )


def _v1(formula: str) -> CoreRecipe:
    """Eight slots a cycle; a mispredicted branch costs four cycles of the front end."""
    return CoreRecipe(formula, _V1_SOURCE, parts=(NEOVERSE_V1,), family=_L1)


def _n2(formula: str) -> CoreRecipe:
    """Five slots a cycle. One too many of the stalled ones is counted in each cycle."""
    return CoreRecipe(formula, _N2_SOURCE, parts=(NEOVERSE_N2, COBALT_100), family=_L1)


def _v2(formula: str) -> CoreRecipe:
    """Eight slots a cycle."""
    return CoreRecipe(formula, _V2_SOURCE, parts=(NEOVERSE_V2,), family=_L1)


METRICS: tuple[CoreMetric, ...] = (
    CoreMetric(
        "frontend-bound",
        "slots that the front end left empty",
        (
            _tsv110("fetch_bubble / (4 * cpu_cycles)", _L1),
            _v1("stall_slot_frontend / (8 * cpu_cycles) - 4 * br_mis_pred / cpu_cycles"),
            _n2("(stall_slot_frontend - cpu_cycles) / (5 * cpu_cycles)"),
            _v2("stall_slot_frontend / (8 * cpu_cycles)"),
        ),
    ),
    CoreMetric(
        "bad-speculation",
        "slots of operations that were thrown away",
        (
            _tsv110("(inst_spec - inst_retired) / (4 * cpu_cycles)", _L1),
            _v1(
                "(1 - op_retired / op_spec) * (1 - stall_slot / (8 * cpu_cycles))"
                " + 4 * br_mis_pred / cpu_cycles"
            ),
            _n2("(1 - op_retired / op_spec) * (1 - (stall_slot - cpu_cycles) / (5 * cpu_cycles))"),
            _v2("(1 - op_retired / op_spec) * (1 - stall_slot / (8 * cpu_cycles))"),
        ),
    ),
    CoreMetric(
        "retiring",
        "slots of operations that were of use",
        (
            _tsv110("inst_retired / (4 * cpu_cycles)", _L1),
            _v1("op_retired / op_spec * (1 - stall_slot / (8 * cpu_cycles))"),
            _n2("op_retired / op_spec * (1 - (stall_slot - cpu_cycles) / (5 * cpu_cycles))"),
            _v2("op_retired / op_spec * (1 - stall_slot / (8 * cpu_cycles))"),
        ),
    ),
    CoreMetric(
        "backend-bound",
        "slots that the back end had no room for",
        (
            _tsv110("1 - (fetch_bubble + inst_spec) / (4 * cpu_cycles)", _L1),
            _v1("stall_slot_backend / (8 * cpu_cycles)"),
            _n2("stall_slot_backend / (5 * cpu_cycles)"),
            _v2("stall_slot_backend / (8 * cpu_cycles)"),
        ),
    ),
    # ---- level 2 ----
    CoreMetric(
        "fetch-latency-bound",
        "of frontend-bound: waiting for a fetch",
        (_tsv110("fetch_latency_bubble / cpu_cycles"),),
    ),
    CoreMetric(
        "fetch-bandwidth-bound",
        "of frontend-bound: fetching too little",
        (_tsv110("fetch_bubble / (4 * cpu_cycles) - fetch_latency_bubble / cpu_cycles"),),
    ),
    CoreMetric(
        "branch-mispredicts",
        "of bad-speculation: branches predicted wrongly",
        (
            _tsv110(
                "(inst_spec - inst_retired) / (4 * cpu_cycles)"
                " * br_mis_pred / (br_mis_pred + other_flush)"
            ),
        ),
    ),
    CoreMetric(
        "machine-clears",
        "of bad-speculation: flushes for other reasons",
        (
            _tsv110(
                "(inst_spec - inst_retired) / (4 * cpu_cycles)"
                " * other_flush / (br_mis_pred + other_flush)"
            ),
        ),
    ),
    CoreMetric(
        "core-bound",
        "of backend-bound: waiting for the core's units",
        (_tsv110("(exe_stall_cycle - mem_stall_anyload - mem_stall_anystore) / cpu_cycles"),),
    ),
    CoreMetric(
        "memory-bound",
        "of backend-bound: waiting for memory",
        (_tsv110("(mem_stall_anyload + mem_stall_anystore) / cpu_cycles"),),
    ),
)

SETS: dict[str, tuple[str, ...]] = {
    _L1: ("frontend-bound", "bad-speculation", "retiring", "backend-bound"),
    _L2: (
        "fetch-latency-bound",
        "fetch-bandwidth-bound",
        "branch-mispredicts",
        "machine-clears",
        "core-bound",
        "memory-bound",
    ),
}
