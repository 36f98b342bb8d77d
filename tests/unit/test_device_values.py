"""From counts to values, on machines that are not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from unit.trees import KUNPENG_SOCKETS, MachineOf

from kperf.device.evaluate import Place, Value, evaluate
from kperf.device.metric import SUMS
from kperf.device.plan import Plan, make_plan
from kperf.device.session import ask
from kperf.errors import Error, KperfError
from kperf.events.event import Event
from kperf.machine import Machine
from kperf.topo import Topology

CountOf = Callable[[Event, int], Any]  # a count, or (count, enabled, running)


class Counts:
    """The columns of a read, made up: what `count_of` says of each event and CPU."""

    def __init__(self, plan: Plan, machine: Machine, count_of: CountOf) -> None:
        self._columns: dict[str, list[int]] = {
            name: [] for name in ("event", "cpu", "count", "enabled", "running")
        }
        events = [event for group in plan.groups for event in group.events]
        for index, event in enumerate(events):
            for cpu in event.cpus or machine.online_cpus:
                counted = count_of(event, cpu)
                whole = counted if isinstance(counted, tuple) else (counted, 1000, 1000)
                for name, value in zip(("event", "cpu"), (index, cpu)):
                    self._columns[name].append(value)
                for name, value in zip(("count", "enabled", "running"), whole):
                    self._columns[name].append(value)

    def columns(self) -> Mapping[str, list[int]]:
        return self._columns


def measure(
    machine: Machine, metrics: str, count_of: CountOf, by: str = "", bdfs: tuple[str, ...] = ()
) -> list[Value]:
    wanted = ask(metrics, bdfs)
    plan = make_plan(wanted, machine)
    counts: Any = Counts(plan, machine, count_of)
    return evaluate(plan, counts, Topology(machine), wanted, dict.fromkeys(SUMS, by))


def by_number(event: Event, _cpu: int) -> int:
    """A count that tells the PMU and the event: 100 a die, 10 a box, 1 a code."""
    digits = [int(c) for c in event.pmu if c.isdecimal()]
    return 1000 * digits[0] + 100 * digits[1] + event.config


def test_ddr_by_channel(machine_of: MachineOf) -> None:
    values = measure(machine_of("kunpeng-128"), "ddr-read-bw", by_number)
    assert len(values) == 16
    first = values[0]
    # NUMA node 0 is die 3 of this machine: its place is its CPUs', not its number's.
    assert first.place == Place(socket=KUNPENG_SOCKETS[0], numa=0, channel=0)
    assert first.value == 32 * 3001
    assert [value.place.channel for value in values[:4]] == [0, 1, 2, 3]
    assert values[-1].place == Place(socket=KUNPENG_SOCKETS[1], numa=3, channel=3)
    assert values[-1].value == 32 * 5301


def test_channels_of_two_numbers_take_turns(machine_of: MachineOf) -> None:
    values = measure(machine_of("kunpeng-gen2"), "ddr-write-bw", lambda *_: 1)
    places = [(value.place.numa, value.place.channel) for value in values]
    assert places == [(node, channel) for node in range(4) for channel in range(4)]


def test_ddr_added_up(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-96")
    nodes = measure(machine, "ddr-read-bw", lambda *_: 10, by="numa")
    assert [(value.place.numa, value.value) for value in nodes] == [(n, 1280) for n in range(4)]
    sockets = measure(machine, "ddr-read-bw", lambda *_: 10, by="socket")
    assert [(value.place.socket, value.value) for value in sockets] == [
        (socket, 2560) for socket in KUNPENG_SOCKETS
    ]


def test_one_pmu_for_all_sockets(machine_of: MachineOf) -> None:
    """Intel has one PMU a channel number, with a CPU of each socket in its cpumask."""
    machine = machine_of("xeon")
    values = measure(machine, "ddr-read-bw", lambda _event, cpu: cpu + 1)
    places = [(value.place.socket, value.place.channel) for value in values]
    assert places == [(socket, channel) for socket in (0, 1) for channel in (0, 1, 2, 10)]
    assert {value.value for value in values[:4]} == {64}
    assert values[4].value == pytest.approx(17 * 64)
    assert values[4].place.numa == 1


def test_l3_by_core(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-128")
    values = measure(machine, "l3-traffic,l3-miss", lambda event, cpu: cpu + event.config)
    assert len(values) == 256
    assert values[5].value == (5 + 0x32) * 64
    assert values[5].place.cpu == 5
    assert values[128 + 5].value == 5 + 0x33
    clusters = measure(machine, "l3-ref", lambda *_: 1, by="cluster")
    assert [value.value for value in clusters] == [4] * 32


def test_latency_by_node(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-gen2")
    codes = {0x80: 6000, 0xB8: 100, 0xCE: 40}
    values = measure(machine, "l3-lat,l3-mean-lat", lambda event, _cpu: codes[event.config])
    assert [value.value for value in values] == [4 * 6000] * 4 + [100] * 4


def test_means_are_weighed_when_they_are_added_up(machine_of: MachineOf) -> None:
    def count(event: Event, cpu: int) -> int:
        busy = 9 if cpu else 1  # of node 0, one request in ten; of the others, nine in ten
        return busy * 100 if event.config == 0x2 else 1000 * (1 if cpu == 0 else 10)

    machine = machine_of("kunpeng-gen2")
    nodes = measure(machine, "hha-cross-numa", count)
    assert [value.value for value in nodes] == pytest.approx([0.1, 0.09, 0.09, 0.09])
    sockets = measure(machine, "hha-cross-numa", count, by="socket")
    assert sockets[0].value == pytest.approx((100 + 900) / (1000 + 10000))


def test_mean_of_nothing(machine_of: MachineOf) -> None:
    values = measure(machine_of("kunpeng-gen2"), "hha-cross-socket", lambda *_: 0)
    assert [value.value for value in values] == [None] * 4
    assert {value.running for value in values} == {1.0}


def test_pcie(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-gen2")

    def count(event: Event, _cpu: int) -> int:
        assert event.config2 >> 16 in (0x7A00, 0xB900)
        return 1000 if event.config & 0x10000 else 2500

    bdfs = ("b9:00.0", "0000:7a:00.0")
    values = measure(machine, "pcie-rx-mrd-bw", count, bdfs=bdfs)
    assert [(value.place.bdf, value.value, value.device) for value in values] == [
        ("b9:00.0", 10.0, "nvme, nvme0"),
        ("7a:00.0", 10.0, "hns3, eth0"),
    ]
    sockets = measure(machine, "pcie-rx-mrd-bw", count, bdfs=bdfs, by="socket")
    assert [(value.place.socket, value.value) for value in sockets] == [
        (socket, 10.0) for socket in KUNPENG_SOCKETS
    ]


def test_pcie_latency_is_a_port_s(machine_of: MachineOf) -> None:
    def count(event: Event, _cpu: int) -> int:
        assert event.config2 == 1 << 2  # root port b8:01.0
        return 50 if event.config & 0x10000 else 12000

    (value,) = measure(machine_of("kunpeng-gen2"), "pcie-rx-mrd-lat", count, bdfs=("b9:00.0",))
    assert value.value == 240


def test_smmu_filters_by_stream(machine_of: MachineOf) -> None:
    def count(event: Event, _cpu: int) -> int:
        assert (event.config, event.config1) == (1, 1 << 33 | 0x7A00)
        return 7

    (value,) = measure(machine_of("kunpeng-gen2"), "smmu-tran", count, bdfs=("7a:00.0",))
    assert (value.place.bdf, value.value) == ("7a:00.0", 7)


# ---- sharing ----


def test_metrics_share_counters(machine_of: MachineOf) -> None:
    machine = machine_of("kunpeng-gen2")
    plan = make_plan(ask("l3-traffic,l3-ref,l3-miss"), machine)
    assert [[event.config for event in group.events] for group in plan.groups] == [[0x32], [0x33]]
    plan = make_plan(ask("hha-cross-numa,hha-cross-socket"), machine)
    assert len(plan.groups) == 8
    assert {tuple(event.config for event in group.events) for group in plan.groups} == {(2, 0, 1)}


def test_lone_counter_joins_the_group_that_needs_it(machine_of: MachineOf) -> None:
    plan = make_plan(ask("l3-lat,l3-mean-lat"), machine_of("kunpeng-gen2"))
    assert len(plan.groups) == 16
    assert {tuple(event.config for event in group.events) for group in plan.groups} == {
        (0x80, 0xB8, 0xCE)
    }


def test_duplicates_count_once(machine_of: MachineOf) -> None:
    values = measure(
        machine_of("kunpeng-128"), "l3-ref,l3-ref,PMU_L3_REF", lambda *_: 1, by="socket"
    )
    assert [value.value for value in values] == [64, 64]


# ---- counters that took turns ----


def test_run_share(machine_of: MachineOf) -> None:
    def count(event: Event, _cpu: int) -> tuple[int, int, int]:
        if event.pmu == "hisi_sccl3_ddrc1":
            return (5, 1000, 0)  # never had its turn
        return (5, 1000, 250 if event.pmu == "hisi_sccl3_ddrc0" else 1000)

    machine = machine_of("kunpeng-128")
    first, second, third, *_ = measure(machine, "ddr-read-bw", count)
    assert (first.running, first.value) == (0.25, 160)
    assert (second.running, second.value, second.uncounted) == (0, None, 1)
    assert third.running == 1
    node = measure(machine, "ddr-read-bw", count, by="numa")[0]
    assert (node.value, node.running, node.uncounted) == (3 * 160, 0.25, 1)


# ---- refusals ----


@pytest.mark.parametrize(
    ("tree", "metrics", "bdfs", "code", "words"),
    [
        ("kunpeng-gen2", "pcie-rx-mrd-bw", (), Error.INVALID_BDF, "none was named .* name one of"),
        ("kunpeng-gen2", "pcie-rx-mrd-bw", ("eth0",), Error.INVALID_BDF, "is no BDF"),
        ("kunpeng-128", "pcie-rx-mrd-bw", (), Error.NOT_SUPPORTED_BY_CPU, "no PMU hisi_pcie"),
        ("kunpeng-128", "l3-lat", (), Error.NOT_SUPPORTED_BY_CPU, "generation 1"),
        ("guest", "", (), Error.INVALID_METRIC, "no metric was named"),
    ],
)
def test_refused(
    machine_of: MachineOf, tree: str, metrics: str, bdfs: tuple[str, ...], code: Error, words: str
) -> None:
    with pytest.raises(KperfError, match=words) as caught:
        make_plan(ask(metrics, bdfs), machine_of(tree))
    assert caught.value.code == code


def test_bdf_where_none_belongs(machine_of: MachineOf) -> None:
    from kperf.attrs import PmuDeviceAttr

    attr = PmuDeviceAttr(0, bdf="7a:00.0")
    with pytest.raises(KperfError, match="is not measured by device"):
        make_plan(ask(attr), machine_of("kunpeng-gen2"))
