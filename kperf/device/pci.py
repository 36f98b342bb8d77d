"""PCIe devices by bus, device and function: their names, and which PMU sees their traffic."""

from __future__ import annotations

import re
from typing import NamedTuple

from kperf._cached import cached_property
from kperf.attrs import PmuBdfType
from kperf.device.metric import PCIE, SMMU
from kperf.errors import Error, KperfError, error
from kperf.machine import Machine

_DEVICES = "sys/bus/pci/devices"
_BDF = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7])")
_BRIDGE = "0x0604"  # class: PCI-to-PCI bridge, as every port of a root complex is one
_SHOWN = 6

# Documentation/admin-guide/perf/hisi-pcie-pmu.rst; names of the SMMUs' monitors are their page's
# number (drivers/perf/arm_smmuv3_pmu.c).
_PCIE_PMU = re.compile(r"hisi_pcie\d+_core\d+")
_SMMU_PMU = re.compile(r"smmuv3_pmcg_([0-9a-f]+)")
_SMMU = re.compile(r"smmu3\.0x([0-9a-f]+)")
_PAGE_BITS = 12
_SMMU_SPAN = 1 << 24  # a monitor lies within its SMMU's registers, or right behind them


class Address(NamedTuple):
    """A PCIe function. Prints as `7a:01.0`, with its domain before it where that is not 0."""

    domain: int
    bus: int
    device: int
    function: int

    @property
    def number(self) -> int:
        """Bus, device and function in 16 bits: what it calls itself on the bus."""
        return self.bus << 8 | self.device << 3 | self.function

    def __str__(self) -> str:
        domain = f"{self.domain:04x}:" if self.domain else ""
        return f"{domain}{self.bus:02x}:{self.device:02x}.{self.function}"


def parse_bdf(text: str) -> Address | None:
    """`7a:01.0` or `0000:7a:01.0`; None for what is no BDF."""
    match = _BDF.fullmatch(text.strip())
    if match is None or int(match[3], 16) > 31:
        return None
    return Address(int(match[1] or "0", 16), int(match[2], 16), int(match[3], 16), int(match[4]))


class Device(NamedTuple):
    """A PCIe function of this machine. `names`: its driver, then its netdevs and NVMe disks."""

    address: Address
    root_port: Address | None  # None: it sits in the root complex itself
    numa: int | None
    iommu: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address} ({', '.join(self.names)})" if self.names else str(self.address)


def named(text: str) -> Address:
    """As `parse_bdf`; raises `KperfError` for what is no BDF."""
    address = parse_bdf(text)
    if address is None:
        raise error(
            Error.INVALID_BDF,
            f"'{text}' is no BDF",
            hint="write bus:device.function in hexadecimal digits, such as 7a:01.0",
        )
    return address


class Pci:
    """The PCI tree of a machine, read when it is asked for."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._devices: dict[Address, Device] = {}

    @cached_property
    def _folders(self) -> dict[Address, str]:
        names = self._machine.list_dir(_DEVICES)
        found = {parse_bdf(name): f"{_DEVICES}/{name}" for name in names}
        return {address: path for address, path in found.items() if address is not None}

    def device(self, address: Address) -> Device | None:
        """What sits there; None if nothing does."""
        folder = self._folders.get(address)
        if folder is None:
            return None
        if address not in self._devices:
            self._devices[address] = self._read(address, folder)
        return self._devices[address]

    def _read(self, address: Address, folder: str) -> Device:
        machine = self._machine
        node = machine.read_int(f"{folder}/numa_node")
        driver = machine.read_link(f"{folder}/driver").rpartition("/")[2]
        return Device(
            address,
            self._root_port(address, folder),
            numa=node if node is not None and node >= 0 else None,
            iommu=machine.read_link(f"{folder}/iommu").rpartition("/")[2],
            names=tuple(filter(None, (driver, *self._children(folder)))),
        )

    def _children(self, folder: str) -> list[str]:
        """What a device is known as to those who use it."""
        list_dir = self._machine.list_dir
        return [*list_dir(f"{folder}/net"), *list_dir(f"{folder}/nvme")]

    def _root_port(self, address: Address, folder: str) -> Address | None:
        """The topmost of the bridges that lead to a device, or itself: `pcie_find_root_port`."""
        above = [*map(parse_bdf, self._machine.read_link(folder).split("/")), address]
        top = next(found for found in above if found is not None)
        path = self._folders.get(top)
        if path is None or not (self._machine.read(f"{path}/class") or "").startswith(_BRIDGE):
            return None
        return top

    # ---- what a PMU covers ----

    @cached_property
    def _root_complexes(self) -> list[tuple[str, int, int]]:
        """PMUs of root complexes with the first and the last root port that each covers."""
        found = []
        for name in filter(_PCIE_PMU.fullmatch, self._machine.pmu_names):
            pmu = self._machine.pmu(name)
            low, high = pmu.number("bdf_min"), pmu.number("bdf_max")
            if low is not None and high is not None:
                found.append((name, low, high))
        return found

    @cached_property
    def _monitors(self) -> dict[str, list[str]]:
        """PMUs of SMMUs by the SMMU: the one whose registers lie before the monitor's page."""
        bases = {
            int(match[1], 16): name
            for name in self._machine.list_dir("sys/class/iommu")
            if (match := _SMMU.fullmatch(name))
        }
        found: dict[str, list[str]] = {}
        for name in self._machine.pmu_names:
            match = _SMMU_PMU.fullmatch(name)
            address = int(match[1], 16) << _PAGE_BITS if match else 0
            below = [base for base in bases if base <= address < base + _SMMU_SPAN]
            if below:
                found.setdefault(bases[max(below)], []).append(name)
        return found

    def pmus_of(self, device: Device, kind: str) -> list[str]:
        """The PMUs that count a device's traffic (PCIE) or its translations (SMMU)."""
        if kind == SMMU:
            return self._monitors.get(device.iommu, [])
        port = device.root_port
        if port is None:
            return []
        return [name for name, low, high in self._root_complexes if low <= port.number <= high]

    def covered(self, kind: str) -> list[Device]:
        """The devices that a PMU of this kind can be asked for, in order."""
        devices = (self.device(address) for address in sorted(self._folders))
        return [device for device in devices if device is not None and self.pmus_of(device, kind)]

    def all(self) -> list[Device]:
        """Every device, in order."""
        devices = (self.device(address) for address in sorted(self._folders))
        return [device for device in devices if device is not None]

    def find(self, text: str, kind: str) -> tuple[Device, list[str]]:
        """A device that was named, and its PMUs. Raises for no BDF, no device, and no PMU."""
        address = named(text)
        device = self.device(address)
        if device is None:
            raise error(
                Error.INVALID_BDF,
                f"there is no PCIe device {address} here",
                hint=self.choice(kind),
            )
        pmus = self.pmus_of(device, kind)
        if not pmus:
            raise self._not_covered(device, kind)
        return device, pmus

    def _not_covered(self, device: Device, kind: str) -> KperfError:
        what = {
            PCIE: "no PMU of a root complex covers it",
            SMMU: "it sits behind no SMMU whose translations are counted",
        }[kind]
        return error(Error.INVALID_BDF, f"{device} is here, but {what}", hint=self.choice(kind))

    def choice(self, kind: str) -> str:
        """The devices that may be named, in words."""
        names = list(map(str, self.covered(kind)))
        if not names:
            return (
                f"no device here is covered: see 'kperf device --list' for what the {kind} "
                "metrics lack"
            )
        more = f" and {len(names) - _SHOWN} more ('kperf list bdf')" if len(names) > _SHOWN else ""
        return f"name one of {', '.join(names[:_SHOWN])}{more}"


def port_bit(port: Address) -> int:
    """A root port in the bitmap of a root complex's `port` filter: 00:00.0 is bit 0, 00:04.0 bit 8.

    Source: Documentation/admin-guide/perf/hisi-pcie-pmu.rst.
    """
    return 1 << 2 * port.device


_KINDS = {PmuBdfType.PMU_BDF_TYPE_PCIE: PCIE, PmuBdfType.PMU_BDF_TYPE_SMMU: SMMU}


def covered_bdfs(machine: Machine, bdf_type: int) -> list[str]:
    """The BDFs that metrics of a type may name. Raises where there is none."""
    if bdf_type not in list(_KINDS):
        raise error(
            Error.INVALID_ARGUMENT,
            f"{bdf_type} is no type of BDFs",
            hint="use a member of kperf.PmuBdfType",
        )
    kind = _KINDS[PmuBdfType(bdf_type)]
    devices = Pci(machine).covered(kind)
    if not devices:
        raise error(
            Error.NOT_SUPPORTED_BY_CPU,
            f"no PCIe device here is covered by a PMU for {kind} metrics",
            hint="see 'kperf device --list' for what they lack",
        )
    return [str(device.address) for device in devices]
