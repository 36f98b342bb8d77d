"""The metrics that devices are asked for, and the forms that the vendors' tables fill in.

A metric says what is measured and in which unit; a recipe says how one kind of PMU gives it. Both
are data: `find` looks for a recipe's counters on a machine, `evaluate` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kperf.attrs import PmuDeviceMetric

# What a value is of. In this order they stand in tables.
CHANNEL, CORE, CLUSTER, NUMA, SOCKET, BDF = "channel", "core", "cluster", "numa", "socket", "bdf"

# What values of a scope can be added up to, itself first.
SUMS: dict[str, tuple[str, ...]] = {
    CHANNEL: (CHANNEL, NUMA, SOCKET),
    CORE: (CORE, CLUSTER, NUMA, SOCKET),
    CLUSTER: (CLUSTER, NUMA, SOCKET),
    NUMA: (NUMA, SOCKET),
    SOCKET: (SOCKET,),
    BDF: (BDF, NUMA, SOCKET),
}

BYTES, COUNT, CYCLES, JOULES = "Bytes", "count", "cycles", "Joules"
BYTES_PER_NS, NS, RATIO = "Bytes/ns", "ns", "ratio"

PCIE, SMMU = "pcie", "smmu"  # whose BDFs a metric asks for


class Metric(NamedTuple):
    """What is measured, whatever the machine."""

    id: int
    unit: str
    scope: str
    description: str
    bdf: str = ""  # PCIE or SMMU: it is measured for a device, which must be named
    is_mean: bool = False  # a quotient of sums: two of them do not add up

    @property
    def name(self) -> str:
        """As the command line has it: ddr-read-bw for PMU_DDR_READ_BW."""
        return PmuDeviceMetric(self.id).name[len("PMU_") :].lower().replace("_", "-")


class Term(NamedTuple):
    """One count of a formula: an event by its name in the machine's events/, else by its code.

    The machine's .scale and .unit win over `size`, in the metric's unit a count.
    """

    name: str
    codes: Mapping[int, str] = {}  # by generation; ANY: of all
    size: float = 1.0


CORES = ("core",)
ANY = 0  # of `Term.codes`: the same in every generation


class Recipe(NamedTuple):
    """How one kind of PMU gives a metric.

    In `pmus`, # stands for a number, % for the channel's number, @ for hexadecimal digits; CORES
    are the PMUs of the CPU cores. `source` says where codes, sizes and formula are from; what the
    kernel does not document is not `confirmed`.
    """

    metric: int
    pmus: tuple[str, ...]
    terms: tuple[Term, ...]
    source: str
    formula: str = ""  # of terms' names; "": the only term
    confirmed: bool = True
    driver: str = ""  # the kernel module to load where the PMU is missing
    makers: tuple[str, ...] = ()  # of the CPUs that have it: as /proc/cpuinfo calls them
    parameters: str = ""  # terms beside each event's own, with {bdf} and {port}
    together: bool = False  # its events are counted as one group
    scope: str = ""  # where it differs from the metric's

    @property
    def text(self) -> str:
        return self.formula or self.terms[0].name

    def scope_for(self, metric: Metric) -> str:
        """What its values are of."""
        return self.scope or metric.scope


_D = PmuDeviceMetric

METRICS: dict[int, Metric] = {
    metric.id: metric
    for metric in (
        Metric(_D.PMU_DDR_READ_BW, BYTES, CHANNEL, "read from memory"),
        Metric(_D.PMU_DDR_WRITE_BW, BYTES, CHANNEL, "written to memory"),
        Metric(_D.PMU_L3_TRAFFIC, BYTES, CORE, "moved between a core and the L3 cache"),
        Metric(_D.PMU_L3_MISS, COUNT, CORE, "accesses that the L3 cache did not have"),
        Metric(_D.PMU_L3_REF, COUNT, CORE, "accesses to the L3 cache"),
        Metric(_D.PMU_L3_LAT, CYCLES, NUMA, "latency of all accesses to the L3 cache, added up"),
        Metric(_D.PMU_PCIE_RX_MRD_BW, BYTES_PER_NS, BDF, "reads that a device asks for (rx)", PCIE),
        Metric(_D.PMU_PCIE_RX_MWR_BW, BYTES_PER_NS, BDF, "writes by a device (rx)", PCIE),
        Metric(_D.PMU_PCIE_TX_MRD_BW, BYTES_PER_NS, BDF, "reads from a device (tx)", PCIE),
        Metric(_D.PMU_PCIE_TX_MWR_BW, BYTES_PER_NS, BDF, "writes to a device (tx)", PCIE),
        Metric(_D.PMU_SMMU_TRAN, COUNT, BDF, "address translations for a device", SMMU),
        Metric(
            _D.PMU_PCIE_RX_MRD_LAT,
            NS,
            BDF,
            "mean time of a read that a port's device asks for",
            PCIE,
            is_mean=True,
        ),
        Metric(
            _D.PMU_PCIE_RX_MWR_LAT,
            NS,
            BDF,
            "mean time of a write by a port's device",
            PCIE,
            is_mean=True,
        ),
        Metric(
            _D.PMU_PCIE_TX_MRD_LAT,
            NS,
            BDF,
            "mean time of a read from a port's device",
            PCIE,
            is_mean=True,
        ),
        Metric(
            _D.PMU_HHA_CROSS_NUMA,
            RATIO,
            NUMA,
            "share of requests from another die of the socket",
            is_mean=True,
        ),
        Metric(
            _D.PMU_HHA_CROSS_SOCKET,
            RATIO,
            NUMA,
            "share of requests from another socket",
            is_mean=True,
        ),
        Metric(
            _D.PMU_L3_MEAN_LAT,
            CYCLES,
            NUMA,
            "mean latency of an access to the L3 cache",
            is_mean=True,
        ),
        Metric(_D.PMU_CLUSTER_L3_REF, COUNT, CLUSTER, "accesses to a cluster's L3 cache"),
        Metric(_D.PMU_CLUSTER_L3_MISS, COUNT, CLUSTER, "lines brought into a cluster's L3 cache"),
        Metric(_D.PMU_SLC_REF, COUNT, SOCKET, "accesses to the system-level cache"),
        Metric(_D.PMU_SLC_MISS, COUNT, SOCKET, "accesses that the system-level cache did not have"),
        Metric(_D.PMU_ENERGY_PKG, JOULES, SOCKET, "energy of a socket"),
        Metric(_D.PMU_ENERGY_CORES, JOULES, SOCKET, "energy of a socket's cores"),
        Metric(_D.PMU_ENERGY_RAM, JOULES, SOCKET, "energy of a socket's memory"),
        Metric(_D.PMU_TSC, COUNT, CORE, "ticks of the time stamp counter"),
        Metric(_D.PMU_DDR_BW, BYTES, CHANNEL, "read from memory and written to it"),
    )
}
