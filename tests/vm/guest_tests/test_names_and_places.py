"""`kperf list`, the tables of event names by MIDR, and the machine's topology."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import guest
import pytest

import kperf
from kperf.topo import Topology

# What perf calls the implementation-defined events of this core.
TSV110 = (
    *("l1d_cache_rd", "l1d_cache_wr", "l1d_cache_refill_rd", "l1d_cache_refill_wr"),
    *("l1d_cache_wb_victim", "l1d_cache_wb_clean", "l1d_cache_inval"),
    *("l1d_tlb_refill_rd", "l1d_tlb_refill_wr", "l1d_tlb_rd", "l1d_tlb_wr"),
    *("l2d_cache_rd", "l2d_cache_wr", "l2d_cache_refill_rd", "l2d_cache_refill_wr"),
    *("l2d_cache_wb_victim", "l2d_cache_wb_clean", "l2d_cache_inval"),
    *("l1i_cache_prf", "l1i_cache_prf_refill", "iq_is_empty", "if_is_stall", "fetch_bubble"),
    *("prf_req", "hit_on_prf", "exe_stall_cycle"),
    *("mem_stall_anyload", "mem_stall_l1miss", "mem_stall_l2miss"),
)

# What every PMUv3 calls by these names (Arm Architecture Reference Manual, common events).
ARCHITECTURAL = {
    "sw_incr": 0x00,
    "l1i_cache_refill": 0x01,
    "l1d_cache_refill": 0x03,
    "l1d_cache": 0x04,
    "inst_retired": 0x08,
    "cpu_cycles": 0x11,
    "mem_access": 0x13,
    "br_retired": 0x21,
    "br_mis_pred_retired": 0x22,
    "stall_frontend": 0x23,
    "stall_backend": 0x24,
    "ll_cache_rd": 0x36,
    "ll_cache_miss_rd": 0x37,
}


def listed(*arguments: str) -> dict[str, dict[str, Any]]:
    done = guest.kperf_command("list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["rows"]}


def code(row: dict[str, Any]) -> int:
    found = re.fullmatch(r"armv8_pmuv3/event=(0x[0-9a-f]+)/", row["encoding"])
    assert found is not None, row
    return int(found[1], 16)


@pytest.fixture(scope="module")
def core() -> dict[str, dict[str, Any]]:
    return listed("core")


def test_architectural_events_have_the_architecture_s_codes(core: dict[str, Any]) -> None:
    assert {name: code(core[name]) for name in ARCHITECTURAL} == ARCHITECTURAL


def test_events_of_this_core_have_perf_s_codes(core: dict[str, Any]) -> None:
    done = guest.run("perf", "stat", "-vv", "-e", ",".join(TSV110), "--", "true")
    opened = [int(text, 16) for text in re.findall(r"^ +config +(0x[0-9a-f]+)", done.stderr, re.M)]
    assert len(opened) == len(TSV110), done.stderr
    assert [code(core[name]) for name in TSV110] == opened


def test_core_list_holds_what_the_kernel_counts(core: dict[str, Any]) -> None:
    own = os.listdir(guest.EVENT_SOURCE / "armv8_pmuv3" / "events")
    assert {"cycles", *own} <= set(core)
    assert {row["pmu"] for row in core.values()} - {None} == {"armv8_pmuv3"}
    assert all(row["kind"] == "core" and row["description"] for row in core.values())
    assert "branch-misses" not in core


def test_uncore_list_holds_every_event_of_every_device() -> None:
    expected = {
        f"{device}/{name}/"
        for device in guest.DEVICES
        for name in os.listdir(guest.EVENT_SOURCE / device / "events")
        if "." not in name
    }
    assert len(expected) > 200
    assert set(listed("uncore")) == expected


def test_list_by_pattern() -> None:
    rows = listed("hisi_sccl3_ddrc2*")
    assert {row["encoding"] for row in rows.values()} == {
        f"hisi_sccl3_ddrc2/config={number:#x}/" for number in range(8)
    }


def test_tracepoints_are_listed() -> None:
    names = set(kperf.event_list(kperf.PmuEventType.TRACE_EVENT))
    assert {"raw_syscalls:sys_enter", "sched:sched_switch", "syscalls:sys_enter_openat"} <= names
    assert "syscalls:sys_enter_open" not in names  # no such call on this architecture


@pytest.mark.parametrize("kind", ["CORE_EVENT", "UNCORE_EVENT"])
def test_all_listed_events_open(kind: str) -> None:
    names = list(kperf.event_list(kperf.PmuEventType[kind]))
    assert len(names) > 50
    pd = kperf.open(kperf.PmuTaskType.COUNTING, kperf.PmuAttr(evtList=names))
    assert pd > 0, kperf.error()
    kperf.close(pd)


def test_core_is_known_by_its_midr() -> None:
    machine = kperf.Machine()
    assert machine.midr == (0x48, 0xD01)
    assert [pmu.name for pmu in machine.core_pmus] == ["armv8_pmuv3"]


def test_places_of_the_cpus() -> None:
    """Two dies with a NUMA node and a cluster each, in one socket."""
    topology = Topology(kperf.Machine())
    places = [topology.place(cpu) for cpu in (0, 1)]
    assert [(place.numa, place.cluster, place.socket) for place in places] == [(0, 0, 0), (1, 1, 0)]
