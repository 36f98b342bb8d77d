"""The devices of a Kunpeng 920, through the kernel's own drivers, against their known rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import guest
import pytest
from guest import DEVICES, Count, Wrong, counted, known_rate, settle, shown, wrong_rates

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


def measure(events: Sequence[str], seconds: float = 0.5) -> dict[str, Count]:
    return {row.evt: counted(row) for row in guest.count(list(events), seconds)}


def test_rates_are_the_devices() -> None:
    settle(lambda events: wrong_rates(measure(events, 1.0)), EVENTS)


def test_rates_are_perf_s() -> None:
    def attempt(events: Sequence[str]) -> Wrong:
        ours = measure(events, 1.0)
        counts = guest.perf_stat("-a", "-e", ",".join(events), "--", "sleep", "1")
        judges = dict(zip(events, counts))
        return {
            event: f"{ours[event]} where perf counts {judge}"
            for event, judge in judges.items()
            if abs(ours[event].rate - judge.rate)
            > ours[event].slack(judge.rate) + judge.slack(judge.rate)
        }

    settle(attempt, EVENTS)


def test_devices_are_read_on_their_own_die() -> None:
    rows = guest.count(EVENTS, 0.1)
    assert [row.evt for row in rows] == EVENTS
    cpus = [DEVICES[event.split("/")[0]][1] for event in EVENTS]
    assert [row.cpu for row in rows] == cpus
    assert [row.cpuTopo.numaId for row in rows] == cpus
    assert {(row.pid, row.tid, row.comm) for row in rows} == {(-1, -1, "")}


def test_all_events_of_a_box_fit_into_a_group() -> None:
    def attempt(_events: Sequence[str]) -> Wrong:
        rows = guest.count("{" + ",".join(box) + "}")
        assert [row.evt for row in rows] == box
        assert len({row.timeRunning for row in rows}) == 1
        return wrong_rates({row.evt: counted(row) for row in rows})

    box = [f"{DDRC}/{name}/" for name in DDRC_EVENTS]
    settle(attempt, box)


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

    def attempt(events: Sequence[str]) -> Wrong:
        counts = measure(events, 0.6)
        assert all(count.count > 1 << 32 for count in counts.values())
        return wrong_rates(counts, factor=5000)

    speed(5000)
    settle(attempt, [f"{DDRC}/flux_rd/"])


def test_pattern_opens_every_box() -> None:
    rows = guest.count(["hisi_sccl*_ddrc*/flux_rd/"], 0.1)
    assert [row.evt for row in rows] == [event for event in EVENTS if "ddrc" in event]
    assert all(row.count > 0 for row in rows)


def test_prefix_opens_every_box_of_a_die() -> None:
    rows = guest.count(["hisi_sccl3_ddrc/flux_wr/"], 0.1)
    assert [row.evt for row in rows] == [f"hisi_sccl3_ddrc{n}/flux_wr/" for n in range(4)]


def test_terms_of_the_devices_formats() -> None:
    """What stands beside the event's name or code filters, and the stand-ins have no filters."""
    meanings = {
        "hisi_sccl1_ddrc0/config=0x1/": "hisi_sccl1_ddrc0/flux_rd/",
        "hisi_sccl1_l3c0/event=0x29/": "hisi_sccl1_l3c0/back_invalid/",
        "hisi_pcie0_core0/rx_mrd_cnt,port=0x1/": "hisi_pcie0_core0/rx_mrd_cnt/",
        "hisi_pcie0_core0/rx_mrd_latency,port=0x1/": "hisi_pcie0_core0/rx_mrd_latency/",
        "smmuv3_pmcg_100020/tlb_miss,filter_enable=1,filter_span=0,filter_stream_id=0x42/": (
            "smmuv3_pmcg_100020/tlb_miss/"
        ),
    }
    written = {meaning: event for event, meaning in meanings.items()}

    def attempt(events: Sequence[str]) -> Wrong:
        counts = measure([written[event] for event in events])
        return wrong_rates({meanings[event]: count for event, count in counts.items()})

    settle(attempt, list(written))


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
    devices = BOTH_DIES.split(",")
    expected = [
        (event, place) for device, place in zip(devices, places) for event in (device, "cycles")
    ]

    def attempt(_events: Sequence[str]) -> Wrong:
        rows = guest.stat("-a", option, "-e", f"{BOTH_DIES},cycles", "-d", "0.5")["rows"]
        assert [(row["event"], {key: row[key] for key in places[0]}) for row in rows] == expected
        return wrong_rates({row["event"]: shown(row) for row in rows if row["event"] in devices})

    settle(attempt, devices)


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
    def attempt(events: Sequence[str]) -> Wrong:
        lines = guest.stat_lines("-a", "-I", "200", "--interval-count", "3", "-e", events[0])
        assert [line["interval"] for line in lines] == [0, 1, 2]
        counts = [shown(line["rows"][0]) for line in lines]
        whole = Count(sum(count.count for count in counts), sum(count.us for count in counts))
        return wrong_rates({events[0]: whole})

    settle(attempt, [f"{DDRC}/flux_rd/"])


def test_device_beside_a_launched_command() -> None:
    document = guest.stat("-a", "-e", f"{DDRC}/flux_rd/", "--", "sleep", "0.3")
    (row,) = document["rows"]
    assert row["state"] == "counted"
    assert row["enabled_ns"] >= 300_000_000
    assert document["exit_status"] == 0
