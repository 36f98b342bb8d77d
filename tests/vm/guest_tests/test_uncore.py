"""The devices of a Kunpeng 920, through the kernel's own drivers, against their known rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import guest
import pytest
from guest import DEVICES, check_rate, counted, known_rate, shown

import kperf

EVENTS = [
    *(f"{device}/flux_rd/" for device in DEVICES if "ddrc" in device),
    *(f"{device}/rx_ops_num/" for device in DEVICES if "hha" in device),
    "hisi_sccl1_hha0/rd_ddr_64b/",
    "hisi_sccl1_l3c0/rd_cpipe/",
    "hisi_sccl3_l3c2/back_invalid/",
    "smmuv3_pmcg_100020/transaction/",
    "smmuv3_pmcg_100040/tlb_miss/",
    "hisi_pcie0_core0/rx_mrd_cnt/",
    "hisi_pcie0_core0/rx_mrd_latency/",
]

DDRC = "hisi_sccl1_ddrc0"
DDRC_EVENTS = (
    *("flux_wr", "flux_rd", "flux_wcmd", "flux_rcmd"),
    *("pre_cmd", "act_cmd", "rnk_chg", "rw_chg"),
)

# On the two dies, one event each.
BOTH_DIES = "hisi_sccl1_ddrc0/flux_rd/,hisi_sccl3_ddrc0/flux_rd/"


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    rows = guest.count(EVENTS, 1.0)
    return dict(zip((row.evt for row in rows), rows))


@pytest.fixture(scope="module")
def judged() -> dict[str, guest.Count]:
    counts = guest.perf_stat("-a", "-e", ",".join(EVENTS), "--", "sleep", "1")
    return dict(zip(EVENTS, counts))


@pytest.mark.parametrize("event", EVENTS)
def test_rate_is_the_device_s(event: str, measured: dict[str, Any]) -> None:
    check_rate(counted(measured[event]), known_rate(event))


@pytest.mark.parametrize("event", EVENTS)
def test_rate_is_perf_s(
    event: str, measured: dict[str, Any], judged: dict[str, guest.Count]
) -> None:
    count, judge = counted(measured[event]), judged[event]
    slack = count.slack(judge.rate) + judge.slack(judge.rate)
    assert abs(count.rate - judge.rate) <= slack, (count, judge)


def test_devices_are_read_on_their_own_die(measured: dict[str, Any]) -> None:
    cpus = {event: DEVICES[event.split("/")[0]][1] for event in EVENTS}
    assert {event: row.cpu for event, row in measured.items()} == cpus
    assert {event: row.cpuTopo.numaId for event, row in measured.items()} == cpus
    assert {(row.pid, row.tid, row.comm) for row in measured.values()} == {(-1, -1, "")}


def test_all_events_of_a_box_fit_into_a_group() -> None:
    names = ",".join(f"{DDRC}/{name}/" for name in DDRC_EVENTS)
    rows = guest.count("{" + names + "}", 0.5)
    assert len(rows) == len(DDRC_EVENTS)
    assert len({row.timeRunning for row in rows}) == 1
    for row in rows:
        check_rate(counted(row), known_rate(row.evt))


def test_one_counter_for_several_events_takes_turns() -> None:
    """A DDRC has one counter an event: opened three times, each gets a third."""
    event = f"{DDRC}/flux_rd/"
    rows = guest.count([event] * 3, 2.0)
    assert len(rows) == 3
    for row in rows:
        assert row.countPercent == pytest.approx(1 / 3, abs=0.1)
        assert row.count / (row.timeEnabled / 1000) == pytest.approx(known_rate(event), rel=0.05)


def test_group_that_never_fits_is_told() -> None:
    """The driver takes such a group, though its one counter cannot count both at once."""
    group = "{" + ",".join([f"{DDRC}/flux_rd/"] * 2) + "}"
    document = guest.stat("-a", "-d", "0.2", "-e", group)
    assert [(row["state"], row["count"]) for row in document["rows"]] == [("not-counted", None)] * 2
    assert any("group" in note for note in document["quality"]["notes"])


def test_counts_beyond_32_bits(speed: Callable[[int], None]) -> None:
    """The driver adds up what its 32-bit counters lose when they wrap."""
    event = f"{DDRC}/flux_rd/"
    speed(5000)
    (row,) = guest.count([event], 0.6)
    assert row.count > 1 << 32
    check_rate(counted(row), known_rate(event) * 5000)


def test_pattern_opens_every_box() -> None:
    rows = guest.count(["hisi_sccl*_ddrc*/flux_rd/"], 1.0)
    assert [row.evt for row in rows] == [event for event in EVENTS if "ddrc" in event]
    for row in rows:
        check_rate(counted(row), known_rate(row.evt))


def test_prefix_opens_every_box_of_a_die() -> None:
    rows = guest.count(["hisi_sccl3_ddrc/flux_wr/"])
    assert [row.evt for row in rows] == [f"hisi_sccl3_ddrc{n}/flux_wr/" for n in range(4)]


@pytest.mark.parametrize(
    "event",
    [
        "hisi_pcie0_core0/rx_mrd_cnt,port=0x1/",
        "hisi_pcie0_core0/rx_mrd_latency,bdf=0x100/",
        "hisi_sccl1_l3c0/event=0x29/",
        "smmuv3_pmcg_100020/tlb_miss,filter_enable=1,filter_span=0,filter_stream_id=0x42/",
        "hisi_sccl1_ddrc0/config=0x1/",
    ],
)
def test_terms_of_the_device_s_formats(event: str) -> None:
    (row,) = guest.count([event])
    plain = {
        "hisi_sccl1_l3c0/event=0x29/": "hisi_sccl1_l3c0/back_invalid/",
        "hisi_sccl1_ddrc0/config=0x1/": "hisi_sccl1_ddrc0/flux_rd/",
    }
    check_rate(counted(row), known_rate(plain.get(event, event)))


def test_functional_interface() -> None:
    attr = kperf.PmuAttr(evtList=["hisi_sccl3_ddrc0/flux_rd/", "cycles"])
    pd = kperf.open(kperf.PmuTaskType.COUNTING, attr)
    assert pd > 0, kperf.error()
    assert kperf.enable(pd) == 0
    guest.spin(0.2)
    assert kperf.disable(pd) == 0
    data = kperf.read(pd)
    kperf.close(pd)
    assert sorted((row.evt, row.cpu, row.cpuTopo.numaId) for row in data) == [
        ("cycles", 0, 0),
        ("cycles", 1, 1),
        ("hisi_sccl3_ddrc0/flux_rd/", 1, 1),
    ]
    assert all(row.count > 0 for row in data.iter)


# ---- kperf stat ----


@pytest.mark.parametrize(
    ("option", "places"),
    [
        ("-A", [{"cpu": 0}, {"cpu": 1}]),
        ("--per-numa", [{"numa": 0}, {"numa": 1}]),
        ("--per-cluster", [{"cluster": 0, "socket": 0}, {"cluster": 1, "socket": 0}]),
        ("--per-core", [{"core": 0, "cluster": 0}, {"core": 0, "cluster": 1}]),
    ],
)
def test_rows_by_place(option: str, places: list[dict[str, int]]) -> None:
    """Each die has its device and its CPU."""
    document = guest.stat("-a", option, "-e", f"{BOTH_DIES},cycles", "-d", "0.5")
    first, second = BOTH_DIES.split(",")
    expected = [
        (first, places[0]),
        ("cycles", places[0]),
        (second, places[1]),
        ("cycles", places[1]),
    ]
    found = [(row["event"], {key: row[key] for key in places[0]}) for row in document["rows"]]
    assert found == expected
    for row in document["rows"]:
        if row["event"] != "cycles":
            check_rate(shown(row), known_rate(row["event"]))


def test_rows_by_socket_add_both_dies_up() -> None:
    document = guest.stat("-a", "--per-socket", "-e", f"{BOTH_DIES},cycles", "-d", "0.3")
    assert [(row["event"], row["socket"]) for row in document["rows"]] == [
        *((event, 0) for event in BOTH_DIES.split(",")),
        ("cycles", 0),
    ]
    cycles = document["events"]["cycles"]
    assert cycles["count"] == pytest.approx(cycles["running_ns"], rel=0.1)
    assert cycles["enabled_ns"] == pytest.approx(2 * document["duration_ns"], rel=0.2)


def test_intervals_lose_nothing() -> None:
    event = f"{DDRC}/flux_rd/"
    lines = guest.stat_lines("-a", "-I", "200", "--interval-count", "3", "-e", event)
    assert [line["interval"] for line in lines] == [0, 1, 2]
    rows = [line["rows"][0] for line in lines]
    whole = guest.Count(
        sum(row["count"] for row in rows), sum(row["enabled_ns"] for row in rows) / 1000
    )
    check_rate(whole, known_rate(event))


def test_device_beside_a_launched_command() -> None:
    document = guest.stat("-a", "-e", f"{DDRC}/flux_rd/", "--", "sleep", "0.3")
    (row,) = document["rows"]
    assert row["state"] == "counted"
    assert row["enabled_ns"] >= 300_000_000
    assert document["exit_status"] == 0
