"""The Arm event tables against facts written down a second time, by number."""

from __future__ import annotations

import re

import pytest

from kperf.events.arm import ARCHITECTURAL, ArmCore, core_events

N1 = (0x41, 0xD0C)
V1 = (0x41, 0xD40)
N2 = (0x41, 0xD49)
V2 = (0x41, 0xD4F)
COBALT_100 = (0x6D, 0xD49)
TSV110 = (0x48, 0xD01)
ALL = [N1, V1, N2, V2, COBALT_100, TSV110]


def codes(text: str) -> set[int]:
    """Expand "1-3 8" to {1, 2, 3, 8}; every number is hexadecimal."""
    found: set[int] = set()
    for word in text.split():
        first, _, last = word.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


# Which codes each core has, kept apart from the names so that a slip in either shows.
N1_CODES = codes(
    "00-05 08-0b 10-1d 20-26 29-2b 2d 2f 31 34-37"
    " 40-48 4c-53 56-58 5c-61 66-6a 6c-71 73-7a 7c-7e 81-84 86-88 8a-91 a0 4000-4003"
)
V1_CODES = N1_CODES | codes("39-3f 4004-4006 4009 400b 8005-8006 8074-8077 80bc-80bd 80c0-80c1")
N2_CODES = V1_CODES | codes(
    "400c 4010-4013 4018-401b 4020-4022 4024-4026 8014 8018 801c 8079 80e3 80e7 80eb 80ef"
)
TSV110_CODES = codes(
    "00-05 08-0b 0e 10-1d 21-28 2d-38 4000-4003"
    " 40-43 46-48 4c-53 56-58"
    " 102e-102f 1043-1044 2014 6013-6014 7001 7004 7006-7007"
)


def core(key: tuple[int, int]) -> ArmCore:
    found = core_events(*key)
    assert found is not None
    return found


def by_name(key: tuple[int, int]) -> dict[str, int]:
    return {event.name: event.code for event in core(key).events}


@pytest.mark.parametrize("key", ALL)
def test_core_is_consistent(key: tuple[int, int]) -> None:
    found = core(key)
    names = [event.name for event in found.events]
    numbers = [event.code for event in found.events]
    assert found.name
    assert re.search(r"TRM \d{6}|DDI ?\d{4}|pmu-events", found.source)
    assert len(set(names)) == len(names)
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)
    for event in found.events:
        # A comma, slash or colon in a name would make it impossible to type in an event list.
        assert re.fullmatch(r"[a-z][a-z0-9_]*", event.name)
        assert 0 <= event.code <= 0xFFFF
        assert 0 < len(event.description) <= 70
        assert event.description == event.description.strip()
        assert not event.description.endswith(".")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (N1, N1_CODES),
        (V1, V1_CODES),
        (N2, N2_CODES),
        (V2, N2_CODES),
        (COBALT_100, N2_CODES),
        (TSV110, TSV110_CODES),
    ],
)
def test_core_has_exactly_the_documented_codes(key: tuple[int, int], expected: set[int]) -> None:
    assert {event.code for event in core(key).events} == expected


def test_architectural_codes_are_unique() -> None:
    numbers = [code for code, _ in ARCHITECTURAL.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("key", ALL)
def test_no_own_event_reuses_an_architectural_name_or_code(key: tuple[int, int]) -> None:
    reserved = {code for code, _ in ARCHITECTURAL.values()}
    for event in core(key).events:
        if event.name in ARCHITECTURAL:
            assert event.code == ARCHITECTURAL[event.name][0]
        else:
            assert event.code not in reserved


@pytest.mark.parametrize("key", ALL)
def test_events_every_core_has(key: tuple[int, int]) -> None:
    names = by_name(key)
    expected = {
        "sw_incr": 0x00,
        "l1i_cache_refill": 0x01,
        "l1d_cache_refill": 0x03,
        "l1d_cache": 0x04,
        "inst_retired": 0x08,
        "br_mis_pred": 0x10,
        "cpu_cycles": 0x11,
        "mem_access": 0x13,
        "l2d_cache": 0x16,
        "inst_spec": 0x1B,
        "bus_cycles": 0x1D,
        "br_retired": 0x21,
        "br_mis_pred_retired": 0x22,
        "stall_frontend": 0x23,
        "stall_backend": 0x24,
        "dtlb_walk": 0x34,
        "itlb_walk": 0x35,
        "ll_cache_rd": 0x36,
        "ll_cache_miss_rd": 0x37,
        "l1d_cache_rd": 0x40,
        "l2d_cache_refill_rd": 0x52,
        "sample_pop": 0x4000,
    }
    assert {name: names.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ld_retired", 0x06),
        ("br_return_retired", 0x0E),
        ("l1d_cache_allocate", 0x1F),
        ("l3d_cache_wb", 0x2C),
        ("ll_cache", 0x32),
        ("ll_cache_miss", 0x33),
        ("remote_access_rd", 0x38),
        ("l1d_tlb_refill_rd", 0x4C),
        ("bus_access_periph", 0x65),
        ("ldrex_spec", 0x6C),
        ("ldst_spec", 0x72),
        ("br_indirect_spec", 0x7A),
        ("isb_spec", 0x7C),
        ("exc_irq", 0x86),
        ("exc_hvc", 0x8A),
        ("rc_st_spec", 0x91),
        ("l3d_cache_inval", 0xA8),
        ("l2d_cache_lmiss_rd", 0x4009),
        ("mem_access_checked_wr", 0x4026),
        ("sve_inst_spec", 0x8006),
    ],
)
def test_architectural_spot_checks(name: str, code: int) -> None:
    assert ARCHITECTURAL[name][0] == code


def test_tsv110_own_events() -> None:
    own = {name: code for name, code in by_name(TSV110).items() if name not in ARCHITECTURAL}
    assert own == {
        "l1i_cache_prf": 0x102E,
        "l1i_cache_prf_refill": 0x102F,
        "iq_is_empty": 0x1043,
        "if_is_stall": 0x1044,
        "fetch_bubble": 0x2014,
        "prf_req": 0x6013,
        "hit_on_prf": 0x6014,
        "exe_stall_cycle": 0x7001,
        "mem_stall_anyload": 0x7004,
        "mem_stall_l1miss": 0x7006,
        "mem_stall_l2miss": 0x7007,
    }


def test_cores_differ_where_their_documents_do() -> None:
    assert "ll_cache_miss" in by_name(TSV110)
    assert "ll_cache_miss" not in by_name(N1)
    assert "l3d_cache" in by_name(N1)
    assert "l3d_cache" not in by_name(TSV110)
    assert "stall_slot" in by_name(V1)
    assert "stall_slot" not in by_name(N1)
    assert by_name(V1)["fp_fixed_ops_spec"] == 0x80C1
    assert "fp_dp_spec" not in by_name(V1)
    assert by_name(N2)["fp_dp_spec"] == 0x801C


def test_relatives_share_a_table() -> None:
    assert core(V2).events == core(N2).events
    assert core(COBALT_100).events == core(N2).events
    assert len({core(N2).name, core(V2).name, core(COBALT_100).name}) == 3


@pytest.mark.parametrize(
    "key",
    [(0x41, 0xFFF), (0x00, 0xD0C), (0x48, 0xD0C), (0x41, 0xD01), (0x48, 0xD02), (0, 0)],
)
def test_unknown_core_has_no_table(key: tuple[int, int]) -> None:
    assert core_events(*key) is None
