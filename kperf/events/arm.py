"""Named core PMU events of Arm server cores.

The kernel's sysfs ``events/`` directory names only the events below 0x40 and in the 0x4000 block
that the core announces in its PMCEID registers. Everything else a core implements can be counted
only by its number, so the names have to come from a table.

Event names and numbers are facts taken from the documents named in each core's ``source``; the
descriptions were written for this file. An event whose presence on a core could not be confirmed
is left out, because a missing name is an honest error message and a wrong code is a wrong count.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class ArmEvent(NamedTuple):
    name: str
    code: int
    description: str


class ArmCore(NamedTuple):
    name: str
    source: str
    events: tuple[ArmEvent, ...]


class _CoreData(NamedTuple):
    name: str
    source: str
    architectural: tuple[str, ...]
    own: dict[str, tuple[int, str]]


# One table for every core: the number of an architectural event is the same wherever it exists,
# so a core only has to say which of them it has. CHAIN (0x1e) is missing on purpose: it is the
# carry from one counter into the next and the kernel programs it itself for 64-bit counting.
ARCHITECTURAL: dict[str, tuple[int, str]] = {
    # PMUv3 common events
    "sw_incr": (0x00, "Writes by software to the increment register"),
    "l1i_cache_refill": (0x01, "Lines brought into the L1 instruction cache"),
    "l1i_tlb_refill": (0x02, "Entries brought into the L1 instruction TLB"),
    "l1d_cache_refill": (0x03, "Lines brought into the L1 data cache"),
    "l1d_cache": (0x04, "L1 data cache lookups"),
    "l1d_tlb_refill": (0x05, "Entries brought into the L1 data TLB"),
    "ld_retired": (0x06, "Loads retired"),
    "st_retired": (0x07, "Stores retired"),
    "inst_retired": (0x08, "Instructions retired"),
    "exc_taken": (0x09, "Exceptions entered"),
    "exc_return": (0x0A, "Exception returns retired"),
    "cid_write_retired": (0x0B, "Context ID register writes retired"),
    "pc_write_retired": (0x0C, "Program counter changes by software, retired"),
    "br_immed_retired": (0x0D, "Direct branches retired"),
    "br_return_retired": (0x0E, "Function returns retired"),
    "unaligned_ldst_retired": (0x0F, "Unaligned loads and stores retired"),
    "br_mis_pred": (0x10, "Branches predicted wrongly or not at all, any path"),
    "cpu_cycles": (0x11, "Core clock cycles"),
    "br_pred": (0x12, "Branches the predictor can handle, any path"),
    "mem_access": (0x13, "Loads and stores sent to memory, any level"),
    "l1i_cache": (0x14, "L1 instruction cache lookups"),
    "l1d_cache_wb": (0x15, "Lines written back from the L1 data cache"),
    "l2d_cache": (0x16, "L2 cache lookups for data"),
    "l2d_cache_refill": (0x17, "Lines brought into the L2 cache for data"),
    "l2d_cache_wb": (0x18, "Lines written back from the L2 cache"),
    "bus_access": (0x19, "Transfers between the core and the bus"),
    "memory_error": (0x1A, "Errors found in memory local to the core, such as ECC"),
    "inst_spec": (0x1B, "Operations executed, including on wrong paths"),
    "ttbr_write_retired": (0x1C, "Page table base register writes retired"),
    "bus_cycles": (0x1D, "Bus interface clock cycles"),
    "l1d_cache_allocate": (0x1F, "Whole lines written into the L1 data cache, no fetch"),
    "l2d_cache_allocate": (0x20, "Whole lines written into the L2 cache, no fetch"),
    "br_retired": (0x21, "Branches retired"),
    "br_mis_pred_retired": (0x22, "Mispredicted branches retired"),
    "stall_frontend": (0x23, "Cycles nothing issued because the front end was empty"),
    "stall_backend": (0x24, "Cycles nothing issued because the back end was full"),
    "l1d_tlb": (0x25, "L1 data TLB lookups"),
    "l1i_tlb": (0x26, "L1 instruction TLB lookups"),
    "l2i_cache": (0x27, "L2 cache lookups for instructions"),
    "l2i_cache_refill": (0x28, "Lines brought into the L2 cache for instructions"),
    "l3d_cache_allocate": (0x29, "Whole lines written into the L3 cache, no fetch"),
    "l3d_cache_refill": (0x2A, "Lines brought into the L3 cache for data"),
    "l3d_cache": (0x2B, "L3 cache lookups for data"),
    "l3d_cache_wb": (0x2C, "Lines written back from the L3 cache"),
    "l2d_tlb_refill": (0x2D, "Entries brought into the L2 TLB, data or unified"),
    "l2i_tlb_refill": (0x2E, "Entries brought into the L2 TLB for instructions"),
    "l2d_tlb": (0x2F, "L2 TLB lookups, data or unified"),
    "l2i_tlb": (0x30, "L2 TLB lookups for instructions"),
    "remote_access": (0x31, "Accesses that went to another socket"),
    "ll_cache": (0x32, "Last level cache lookups for data"),
    "ll_cache_miss": (0x33, "Last level cache misses for data"),
    "dtlb_walk": (0x34, "Page table walks for data"),
    "itlb_walk": (0x35, "Page table walks for instructions"),
    "ll_cache_rd": (0x36, "Last level cache lookups by reads"),
    "ll_cache_miss_rd": (0x37, "Last level cache misses by reads"),
    "remote_access_rd": (0x38, "Reads that went to another socket"),
    "l1d_cache_lmiss_rd": (0x39, "Reads slowed by an L1 data cache miss"),
    "op_retired": (0x3A, "Micro-operations retired"),
    "op_spec": (0x3B, "Micro-operations executed, including on wrong paths"),
    "stall": (0x3C, "Cycles in which nothing was sent to execute"),
    "stall_slot_backend": (0x3D, "Slots left empty because the back end was full"),
    "stall_slot_frontend": (0x3E, "Slots left empty because the front end was empty"),
    "stall_slot": (0x3F, "Slots left empty for any reason"),
    # Implementation-defined numbers for which the architecture recommends a meaning
    "l1d_cache_rd": (0x40, "L1 data cache lookups by reads"),
    "l1d_cache_wr": (0x41, "L1 data cache lookups by writes"),
    "l1d_cache_refill_rd": (0x42, "L1 data cache refills caused by reads"),
    "l1d_cache_refill_wr": (0x43, "L1 data cache refills caused by writes"),
    "l1d_cache_refill_inner": (0x44, "L1 data cache refills served inside the cluster"),
    "l1d_cache_refill_outer": (0x45, "L1 data cache refills served outside the cluster"),
    "l1d_cache_wb_victim": (0x46, "L1 data cache write-backs to make room"),
    "l1d_cache_wb_clean": (0x47, "L1 data cache write-backs to clean or share a line"),
    "l1d_cache_inval": (0x48, "L1 data cache lines invalidated"),
    "l1d_tlb_refill_rd": (0x4C, "L1 data TLB refills caused by reads"),
    "l1d_tlb_refill_wr": (0x4D, "L1 data TLB refills caused by writes"),
    "l1d_tlb_rd": (0x4E, "L1 data TLB lookups by reads"),
    "l1d_tlb_wr": (0x4F, "L1 data TLB lookups by writes"),
    "l2d_cache_rd": (0x50, "L2 cache lookups by reads"),
    "l2d_cache_wr": (0x51, "L2 cache lookups by writes"),
    "l2d_cache_refill_rd": (0x52, "L2 cache refills caused by reads"),
    "l2d_cache_refill_wr": (0x53, "L2 cache refills caused by writes"),
    "l2d_cache_wb_victim": (0x56, "L2 cache write-backs to make room"),
    "l2d_cache_wb_clean": (0x57, "L2 cache write-backs to clean or share a line"),
    "l2d_cache_inval": (0x58, "L2 cache lines invalidated"),
    "l2d_tlb_refill_rd": (0x5C, "L2 TLB refills caused by reads"),
    "l2d_tlb_refill_wr": (0x5D, "L2 TLB refills caused by writes"),
    "l2d_tlb_rd": (0x5E, "L2 TLB lookups by reads"),
    "l2d_tlb_wr": (0x5F, "L2 TLB lookups by writes"),
    "bus_access_rd": (0x60, "Read transfers on the bus"),
    "bus_access_wr": (0x61, "Write transfers on the bus"),
    "bus_access_shared": (0x62, "Bus transfers to cacheable, shareable memory"),
    "bus_access_not_shared": (0x63, "Bus transfers to anything but shareable cacheable memory"),
    "bus_access_normal": (0x64, "Bus transfers to normal memory"),
    "bus_access_periph": (0x65, "Bus transfers to devices"),
    "mem_access_rd": (0x66, "Loads sent to memory, any level"),
    "mem_access_wr": (0x67, "Stores sent to memory, any level"),
    "unaligned_ld_spec": (0x68, "Unaligned loads, any path"),
    "unaligned_st_spec": (0x69, "Unaligned stores, any path"),
    "unaligned_ldst_spec": (0x6A, "Unaligned loads and stores, any path"),
    "ldrex_spec": (0x6C, "Exclusive loads executed, any path"),
    "strex_pass_spec": (0x6D, "Exclusive stores that succeeded, any path"),
    "strex_fail_spec": (0x6E, "Exclusive stores that failed, any path"),
    "strex_spec": (0x6F, "Exclusive stores executed, any path"),
    "ld_spec": (0x70, "Loads executed, any path"),
    "st_spec": (0x71, "Stores executed, any path"),
    "ldst_spec": (0x72, "Loads and stores executed, any path"),
    "dp_spec": (0x73, "Integer arithmetic and logic executed, any path"),
    "ase_spec": (0x74, "Advanced SIMD operations executed, any path"),
    "vfp_spec": (0x75, "Scalar floating-point operations executed, any path"),
    "pc_write_spec": (0x76, "Program counter changes by software, any path"),
    "crypto_spec": (0x77, "Cryptographic operations executed, any path"),
    "br_immed_spec": (0x78, "Direct branches executed, any path"),
    "br_return_spec": (0x79, "Function returns executed, any path"),
    "br_indirect_spec": (0x7A, "Indirect branches executed, any path"),
    "isb_spec": (0x7C, "ISB barriers executed, any path"),
    "dsb_spec": (0x7D, "DSB barriers executed, any path"),
    "dmb_spec": (0x7E, "DMB barriers executed, any path"),
    "exc_undef": (0x81, "Undefined instruction and like exceptions, taken locally"),
    "exc_svc": (0x82, "System calls (SVC), taken locally"),
    "exc_pabort": (0x83, "Instruction aborts, taken locally"),
    "exc_dabort": (0x84, "Data aborts and SErrors, taken locally"),
    "exc_irq": (0x86, "IRQs, taken locally"),
    "exc_fiq": (0x87, "FIQs, taken locally"),
    "exc_smc": (0x88, "Secure monitor calls (SMC)"),
    "exc_hvc": (0x8A, "Hypervisor calls (HVC)"),
    "exc_trap_pabort": (0x8B, "Instruction aborts, taken at another level"),
    "exc_trap_dabort": (0x8C, "Data aborts and SErrors, taken at another level"),
    "exc_trap_other": (0x8D, "Other traps, taken at another level"),
    "exc_trap_irq": (0x8E, "IRQs, taken at another level"),
    "exc_trap_fiq": (0x8F, "FIQs, taken at another level"),
    "rc_ld_spec": (0x90, "Load-acquire operations executed, any path"),
    "rc_st_spec": (0x91, "Store-release operations executed, any path"),
    "l3d_cache_rd": (0xA0, "L3 cache lookups by reads"),
    "l3d_cache_wr": (0xA1, "L3 cache lookups by writes"),
    "l3d_cache_refill_rd": (0xA2, "L3 cache refills caused by reads"),
    "l3d_cache_refill_wr": (0xA3, "L3 cache refills caused by writes"),
    "l3d_cache_wb_victim": (0xA6, "L3 cache write-backs to make room"),
    "l3d_cache_wb_clean": (0xA7, "L3 cache write-backs to clean or share a line"),
    "l3d_cache_inval": (0xA8, "L3 cache lines invalidated"),
    # Statistical profiling, activity monitors, trace, alignment and tag checking
    "sample_pop": (0x4000, "Operations that SPE could have sampled"),
    "sample_feed": (0x4001, "Operations that SPE picked for sampling"),
    "sample_filtrate": (0x4002, "SPE samples that passed the filters"),
    "sample_collision": (0x4003, "SPE samples lost because one was still in flight"),
    "cnt_cycles": (0x4004, "Ticks of the constant-rate system counter"),
    "stall_backend_mem": (0x4005, "Back end stall cycles spent waiting for memory"),
    "l1i_cache_lmiss": (0x4006, "Fetches slowed by an L1 instruction cache miss"),
    "l2d_cache_lmiss_rd": (0x4009, "Reads slowed by an L2 cache miss"),
    "l2i_cache_lmiss": (0x400A, "Fetches slowed by an L2 cache miss"),
    "l3d_cache_lmiss_rd": (0x400B, "Reads slowed by an L3 cache miss"),
    "trb_wrap": (0x400C, "Times the trace buffer started over from its base"),
    "trb_trig": (0x400E, "Trace buffer trigger events"),
    "trcextout0": (0x4010, "Pulses on trace unit output 0"),
    "trcextout1": (0x4011, "Pulses on trace unit output 1"),
    "trcextout2": (0x4012, "Pulses on trace unit output 2"),
    "trcextout3": (0x4013, "Pulses on trace unit output 3"),
    "cti_trigout4": (0x4018, "Pulses on cross-trigger output 4"),
    "cti_trigout5": (0x4019, "Pulses on cross-trigger output 5"),
    "cti_trigout6": (0x401A, "Pulses on cross-trigger output 6"),
    "cti_trigout7": (0x401B, "Pulses on cross-trigger output 7"),
    "ldst_align_lat": (0x4020, "Loads and stores slowed by their alignment"),
    "ld_align_lat": (0x4021, "Loads slowed by their alignment"),
    "st_align_lat": (0x4022, "Stores slowed by their alignment"),
    "mem_access_checked": (0x4024, "Loads and stores whose memory tag was checked"),
    "mem_access_checked_rd": (0x4025, "Loads whose memory tag was checked"),
    "mem_access_checked_wr": (0x4026, "Stores whose memory tag was checked"),
    # Vector and floating-point operations
    "ase_inst_spec": (0x8005, "Advanced SIMD instructions executed, any path"),
    "sve_inst_spec": (0x8006, "SVE instructions executed, any path"),
    "fp_hp_spec": (0x8014, "Half-precision operations executed, any path"),
    "fp_sp_spec": (0x8018, "Single-precision operations executed, any path"),
    "fp_dp_spec": (0x801C, "Double-precision operations executed, any path"),
    "sve_pred_spec": (0x8074, "SVE operations under a predicate, any path"),
    "sve_pred_empty_spec": (0x8075, "SVE operations with every lane switched off, any path"),
    "sve_pred_full_spec": (0x8076, "SVE operations with every lane switched on, any path"),
    "sve_pred_partial_spec": (0x8077, "SVE operations with some lanes on, some off, any path"),
    "sve_pred_not_full_spec": (0x8079, "SVE operations with at least one lane off, any path"),
    "sve_ldff_spec": (0x80BC, "SVE first-fault loads executed, any path"),
    "sve_ldff_fault_spec": (0x80BD, "SVE first-fault loads that suppressed a fault, any path"),
    "fp_scale_ops_spec": (0x80C0, "FP element operations that grow with the vector length"),
    "fp_fixed_ops_spec": (0x80C1, "FP element operations of a fixed vector length"),
    "ase_sve_int8_spec": (0x80E3, "SIMD and SVE integer operations, at most 8-bit elements"),
    "ase_sve_int16_spec": (0x80E7, "SIMD and SVE integer operations, at most 16-bit elements"),
    "ase_sve_int32_spec": (0x80EB, "SIMD and SVE integer operations, at most 32-bit elements"),
    "ase_sve_int64_spec": (0x80EF, "SIMD and SVE integer operations, at most 64-bit elements"),
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# LDST_SPEC (0x72) is left out of the N1: its manual has it, the Linux event list does not.
_N1 = _names(
    """
    sw_incr l1i_cache_refill l1i_tlb_refill l1d_cache_refill l1d_cache l1d_tlb_refill
    inst_retired exc_taken exc_return cid_write_retired
    br_mis_pred cpu_cycles br_pred mem_access l1i_cache l1d_cache_wb
    l2d_cache l2d_cache_refill l2d_cache_wb bus_access memory_error inst_spec
    ttbr_write_retired bus_cycles l2d_cache_allocate br_retired br_mis_pred_retired
    stall_frontend stall_backend l1d_tlb l1i_tlb
    l3d_cache_allocate l3d_cache_refill l3d_cache l2d_tlb_refill l2d_tlb remote_access
    dtlb_walk itlb_walk ll_cache_rd ll_cache_miss_rd
    l1d_cache_rd l1d_cache_wr l1d_cache_refill_rd l1d_cache_refill_wr
    l1d_cache_refill_inner l1d_cache_refill_outer
    l1d_cache_wb_victim l1d_cache_wb_clean l1d_cache_inval
    l1d_tlb_refill_rd l1d_tlb_refill_wr l1d_tlb_rd l1d_tlb_wr
    l2d_cache_rd l2d_cache_wr l2d_cache_refill_rd l2d_cache_refill_wr
    l2d_cache_wb_victim l2d_cache_wb_clean l2d_cache_inval
    l2d_tlb_refill_rd l2d_tlb_refill_wr l2d_tlb_rd l2d_tlb_wr
    bus_access_rd bus_access_wr mem_access_rd mem_access_wr
    unaligned_ld_spec unaligned_st_spec unaligned_ldst_spec
    ldrex_spec strex_pass_spec strex_fail_spec strex_spec
    ld_spec st_spec dp_spec ase_spec vfp_spec pc_write_spec crypto_spec
    br_immed_spec br_return_spec br_indirect_spec isb_spec dsb_spec dmb_spec
    exc_undef exc_svc exc_pabort exc_dabort exc_irq exc_fiq exc_smc exc_hvc
    exc_trap_pabort exc_trap_dabort exc_trap_other exc_trap_irq exc_trap_fiq
    rc_ld_spec rc_st_spec l3d_cache_rd
    sample_pop sample_feed sample_filtrate sample_collision
    """
)

# The later cores' manuals list everything the N1's does and then more, hence the sums.
_V1 = _N1 + _names(
    """
    l1d_cache_lmiss_rd op_retired op_spec
    stall stall_slot_backend stall_slot_frontend stall_slot
    cnt_cycles stall_backend_mem l1i_cache_lmiss l2d_cache_lmiss_rd l3d_cache_lmiss_rd
    ase_inst_spec sve_inst_spec
    sve_pred_spec sve_pred_empty_spec sve_pred_full_spec sve_pred_partial_spec
    sve_ldff_spec sve_ldff_fault_spec fp_scale_ops_spec fp_fixed_ops_spec
    """
)

_N2 = _V1 + _names(
    """
    trb_wrap trcextout0 trcextout1 trcextout2 trcextout3
    cti_trigout4 cti_trigout5 cti_trigout6 cti_trigout7
    ldst_align_lat ld_align_lat st_align_lat
    mem_access_checked mem_access_checked_rd mem_access_checked_wr
    fp_hp_spec fp_sp_spec fp_dp_spec sve_pred_not_full_spec
    ase_sve_int8_spec ase_sve_int16_spec ase_sve_int32_spec ase_sve_int64_spec
    """
)

_TSV110 = _names(
    """
    sw_incr l1i_cache_refill l1i_tlb_refill l1d_cache_refill l1d_cache l1d_tlb_refill
    inst_retired exc_taken exc_return cid_write_retired br_return_retired
    br_mis_pred cpu_cycles br_pred mem_access l1i_cache l1d_cache_wb
    l2d_cache l2d_cache_refill l2d_cache_wb bus_access memory_error inst_spec
    ttbr_write_retired bus_cycles br_retired br_mis_pred_retired
    stall_frontend stall_backend l1d_tlb l1i_tlb l2i_cache l2i_cache_refill
    l2d_tlb_refill l2i_tlb_refill l2d_tlb l2i_tlb remote_access ll_cache ll_cache_miss
    dtlb_walk itlb_walk ll_cache_rd ll_cache_miss_rd remote_access_rd
    l1d_cache_rd l1d_cache_wr l1d_cache_refill_rd l1d_cache_refill_wr
    l1d_cache_wb_victim l1d_cache_wb_clean l1d_cache_inval
    l1d_tlb_refill_rd l1d_tlb_refill_wr l1d_tlb_rd l1d_tlb_wr
    l2d_cache_rd l2d_cache_wr l2d_cache_refill_rd l2d_cache_refill_wr
    l2d_cache_wb_victim l2d_cache_wb_clean l2d_cache_inval
    sample_pop sample_feed sample_filtrate sample_collision
    """
)

_TSV110_OWN: dict[str, tuple[int, str]] = {
    "l1i_cache_prf": (0x102E, "L1 instruction cache lookups by the prefetcher"),
    "l1i_cache_prf_refill": (0x102F, "L1 instruction cache misses by the prefetcher"),
    "iq_is_empty": (0x1043, "Instruction queue had no entries"),
    "if_is_stall": (0x1044, "Cycles in which instruction fetch was held up"),
    "fetch_bubble": (0x2014, "Slots the back end could take but the front end left empty"),
    "prf_req": (0x6013, "Prefetches asked for by the load/store unit"),
    "hit_on_prf": (0x6014, "Accesses that found data a prefetch had brought in"),
    "exe_stall_cycle": (0x7001, "Cycles in which fewer than four micro-operations issued"),
    "mem_stall_anyload": (0x7004, "No issue while some load was outstanding"),
    "mem_stall_l1miss": (0x7006, "No issue while a load waited on an L1 miss"),
    "mem_stall_l2miss": (0x7007, "No issue while a load waited on an L1 and L2 miss"),
}

_ARM_ARM = "Arm Architecture Reference Manual DDI 0487"

# Keyed by the implementer and part number fields of MIDR_EL1.
_CORES: dict[tuple[int, int], _CoreData] = {
    (0x41, 0xD0C): _CoreData(
        "Neoverse N1", f"Arm Neoverse N1 Core TRM 100616; {_ARM_ARM}", _N1, {}
    ),
    (0x41, 0xD40): _CoreData(
        "Neoverse V1", f"Arm Neoverse V1 Core TRM 101427; {_ARM_ARM}", _V1, {}
    ),
    (0x41, 0xD49): _CoreData(
        "Neoverse N2", f"Arm Neoverse N2 Core TRM 102099; {_ARM_ARM}", _N2, {}
    ),
    # Linux pmu-events maps N2 and V2 to one event list, and the two manuals agree.
    (0x41, 0xD4F): _CoreData(
        "Neoverse V2", f"Arm Neoverse V2 Core TRM 102375; {_ARM_ARM}", _N2, {}
    ),
    # Linux documents this part as an N2 r0p0 under Microsoft's implementer code.
    (0x6D, 0xD49): _CoreData(
        "Azure Cobalt 100 (Neoverse N2)",
        f"Linux arm64 errata list (Cobalt 100 is N2); Arm Neoverse N2 Core TRM 102099; {_ARM_ARM}",
        _N2,
        {},
    ),
    (0x48, 0xD01): _CoreData(
        "Kunpeng 920 (TSV110)",
        f"Linux kernel pmu-events facts for hisilicon/hip08, public Kunpeng 920 event listings; "
        f"{_ARM_ARM}",
        _TSV110,
        _TSV110_OWN,
    ),
}


@cache
def core_events(implementer: int, part: int) -> ArmCore | None:
    """The named events of one core, in order of code, or None for a core without a table."""
    data = _CORES.get((implementer, part))
    if data is None:
        return None
    events = [ArmEvent(name, *ARCHITECTURAL[name]) for name in data.architectural]
    events += [ArmEvent(name, *entry) for name, entry in data.own.items()]
    events.sort(key=lambda event: event.code)
    return ArmCore(data.name, data.source, tuple(events))


@cache
def core_codes(implementer: int, part: int) -> dict[str, int]:
    """The numbers of one core's named events; empty for a core without a table."""
    core = core_events(implementer, part)
    return {event.name: event.code for event in core.events} if core else {}
