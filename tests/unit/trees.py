"""Machines that are not here, written as trees of sysfs, procfs and tracefs for `Machine(root)`.

Each builder writes what the kernel of such a machine shows, as far as event names and topology need
it. Sources: drivers/perf/ and Documentation/admin-guide/perf/ of the kernel, and the event source
directories of such machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from kperf.machine import Machine

MachineOf = Callable[[str], Machine]

_DEVICES = "sys/bus/event_source/devices"
_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"
_TRACING = "sys/kernel/tracing"


def cpu_list(cpus: Iterable[int]) -> str:
    """The kernel's list format, without kperf."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


class Tree:
    """A machine's files below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._types = 6

    def machine(self) -> Machine:
        """A reader that has read nothing yet."""
        return Machine(str(self.root))

    def write(self, path: str, text: object = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        return file

    # ---- CPUs ----

    def cpus(self, present: Iterable[int], online: Iterable[int] | None = None) -> None:
        present = list(present)
        self.write(f"{_CPU}/present", cpu_list(present))
        self.write(f"{_CPU}/possible", cpu_list(present))
        self.write(f"{_CPU}/online", cpu_list(present if online is None else online))

    def cpu(
        self,
        cpu: int,
        *,
        core: int,
        socket: int,
        cluster: int | None = None,
        midr: int | None = None,
        threads: Iterable[int] = (),
    ) -> None:
        topology = f"{_CPU}/cpu{cpu}/topology"
        self.write(f"{topology}/core_id", core)
        self.write(f"{topology}/physical_package_id", socket)
        if cluster is not None:
            self.write(f"{topology}/cluster_id", cluster)
        if threads:
            self.write(f"{topology}/thread_siblings_list", cpu_list(threads))
        if midr is not None:
            self.write(f"{_CPU}/cpu{cpu}/regs/identification/midr_el1", f"{midr:#018x}")

    def nodes(self, nodes: Mapping[int, Iterable[int]]) -> None:
        self.write(f"{_NODE}/online", cpu_list(nodes))
        for node, cpus in nodes.items():
            self.write(f"{_NODE}/node{node}/cpulist", cpu_list(cpus))

    def cpuinfo(self, blocks: Iterable[Mapping[str, object]]) -> None:
        texts = ("".join(f"{key}\t: {value}\n" for key, value in b.items()) for b in blocks)
        self.write("proc/cpuinfo", "\n".join(texts))

    def arm_cpuinfo(self, midrs: Sequence[int]) -> None:
        self.cpuinfo(
            {
                "processor": cpu,
                "BogoMIPS": "200.00",
                "Features": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics cpuid",
                "CPU implementer": f"{midr >> 24 & 0xFF:#x}",
                "CPU architecture": 8,
                "CPU variant": f"{midr >> 20 & 0xF:#x}",
                "CPU part": f"{midr >> 4 & 0xFFF:#x}",
                "CPU revision": midr & 0xF,
            }
            for cpu, midr in enumerate(midrs)
        )

    def x86_cpuinfo(self, cpus: int, vendor: str, model: str) -> None:
        self.cpuinfo(
            {"processor": cpu, "vendor_id": vendor, "model name": model, "flags": "fpu vme de"}
            for cpu in range(cpus)
        )

    def kernel(self, release: str, paranoid: int = 2) -> None:
        self.write("proc/sys/kernel/osrelease", release)
        self.write("proc/sys/kernel/perf_event_paranoid", paranoid)

    def link(self, path: str, target: str) -> None:
        """A symbolic link, as sysfs has them."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    # ---- PCIe ----

    def pci(
        self,
        path: str,
        *,
        kind: str = "0x020000",
        node: int = -1,
        driver: str = "",
        children: Sequence[str] = (),
        iommu: str = "",
    ) -> None:
        """A PCIe function by its way from the root: 'pci0000:78/0000:78:00.0/0000:7a:00.0'."""
        folder = f"sys/devices/{path}"
        self.write(f"{folder}/class", kind)
        self.write(f"{folder}/numa_node", node)
        for child in children:  # such as net/eth0
            (self.root / folder / child).mkdir(parents=True)
        if driver:
            self.link(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")
        if iommu:
            self.link(f"{folder}/iommu", f"../../../virtual/iommu/{iommu}")
            (self.root / "sys/class/iommu" / iommu).mkdir(parents=True, exist_ok=True)
        name = path.rpartition("/")[2]
        self.link(f"sys/bus/pci/devices/{name}", f"../../../devices/{path}")

    # ---- PMUs ----

    def pmu(
        self,
        name: str,
        *,
        type: int | None = None,
        formats: Mapping[str, str] | None = None,
        events: Mapping[str, str] | None = None,
        cpus: Iterable[int] | None = None,
        cpumask: Iterable[int] | None = None,
    ) -> None:
        """A PMU's directory. `events` has the companions too, such as 'energy-pkg.unit'."""
        if type is None:
            self._types += 1
            type = self._types
        self.write(f"{_DEVICES}/{name}/type", type)
        self.write(f"{_DEVICES}/{name}/perf_event_mux_interval_ms", 4)
        for term, bits in (formats or {}).items():
            self.write(f"{_DEVICES}/{name}/format/{term}", bits)
        for event, text in (events or {}).items():
            self.write(f"{_DEVICES}/{name}/events/{event}", text)
        if cpus is not None:
            self.write(f"{_DEVICES}/{name}/cpus", cpu_list(cpus))
        if cpumask is not None:
            self.write(f"{_DEVICES}/{name}/cpumask", cpu_list(cpumask))

    def pmu_file(self, pmu: str, path: str, text: object) -> Path:
        return self.write(f"{_DEVICES}/{pmu}/{path}", text)

    def kernel_pmus(self) -> None:
        """What every kernel has."""
        self.pmu("software", type=1)
        self.pmu("tracepoint", type=2)
        self.pmu("breakpoint", type=5)
        self.pmu("kprobe", formats={"retprobe": "config:0"})
        self.pmu("uprobe", formats={"retprobe": "config:0", "ref_ctr_offset": "config:32-63"})

    # ---- tracepoints ----

    def tracepoint(self, system: str, name: str, number: int) -> None:
        directory = f"{_TRACING}/events/{system}/{name}"
        self.write(f"{directory}/id", number)
        self.write(f"{directory}/enable", 0)
        self.write(f"{directory}/format", f"name: {name}\nID: {number}")

    def tracepoints(self) -> None:
        self.write(f"{_TRACING}/events/enable", 0)
        for system, names in TRACEPOINTS.items():
            self.write(f"{_TRACING}/events/{system}/enable", 0)
            for name, number in names.items():
                self.tracepoint(system, name, number)


TRACEPOINTS: dict[str, dict[str, int]] = {
    "ftrace": {"function": 1, "print": 5},
    "kprobes": {"p_vfs_read_0": 1801},
    "probe_libc": {"malloc": 1802},
    "sched": {"sched_process_exit": 310, "sched_switch": 314, "sched_waking": 317},
    "syscalls": {"sys_enter_read": 702, "sys_enter_write": 700, "sys_exit_write": 699},
}

# ---- Arm ----

# The names of drivers/perf/arm_pmuv3.c below 0x40.
ARM_COMMON: dict[str, int] = {
    "sw_incr": 0x00,
    "l1i_cache_refill": 0x01,
    "l1i_tlb_refill": 0x02,
    "l1d_cache_refill": 0x03,
    "l1d_cache": 0x04,
    "l1d_tlb_refill": 0x05,
    "inst_retired": 0x08,
    "exc_taken": 0x09,
    "exc_return": 0x0A,
    "br_mis_pred": 0x10,
    "cpu_cycles": 0x11,
    "br_pred": 0x12,
    "mem_access": 0x13,
    "l1i_cache": 0x14,
    "l2d_cache": 0x16,
    "l2d_cache_refill": 0x17,
    "bus_access": 0x19,
    "memory_error": 0x1A,
    "bus_cycles": 0x1D,
    "br_retired": 0x21,
    "stall_frontend": 0x23,
    "stall_backend": 0x24,
    "l1d_tlb": 0x25,
    "l1i_tlb": 0x26,
    "ll_cache": 0x32,
    "ll_cache_miss": 0x33,
    "ll_cache_rd": 0x36,
    "ll_cache_miss_rd": 0x37,
}
ARM_FORMATS = {"event": "config:0-15", "long": "config1:0", "rdpmc": "config1:1"}

TSV110 = 0x481FD010
HIP09 = 0x480FD020
NEOVERSE_V2 = 0x410FD4F0
CORTEX_A53 = 0x410FD034
CORTEX_A72 = 0x410FD083

DDRC = ("flux_wr", "flux_rd", "flux_wcmd", "flux_rcmd", "pre_cmd", "act_cmd", "rnk_chg", "rw_chg")
L3C = {
    "rd_cpipe": 0x00,
    "wr_cpipe": 0x01,
    "rd_hit_cpipe": 0x02,
    "wr_hit_cpipe": 0x03,
    "victim_num": 0x04,
    "rd_spipe": 0x20,
    "wr_spipe": 0x21,
    "rd_hit_spipe": 0x22,
    "wr_hit_spipe": 0x23,
    "back_invalid": 0x29,
    "retry_cpu": 0x40,
    "retry_ring": 0x41,
    "prefetch_drop": 0x42,
}
HHA = {"rx_ops_num": 0x00, "rx_outer": 0x01, "rx_sccl": 0x02, "sdir-lookup": 0x40}
SMMU = ("cycles", "transaction", "tlb_miss", "config_cache_miss", "trans_table_walk_access")
SMMU_FORMATS = {
    "event": "config:0-15",
    "filter_stream_id": "config1:0-31",
    "filter_span": "config1:32",
    "filter_enable": "config1:33",
}


def arm_events(names: Iterable[str] = ARM_COMMON) -> dict[str, str]:
    return {name: f"event={ARM_COMMON[name]:#06x}" for name in names}


def _hisi(codes: Mapping[str, int]) -> dict[str, str]:
    return {name: f"config={code:#x}" for name, code in codes.items()}


def _smmus(tree: Tree, pages: Iterable[str]) -> None:
    events = {name: f"event={code:#04x}" for code, name in enumerate(SMMU)}
    for page in pages:
        tree.pmu(f"smmuv3_pmcg_{page}", formats=SMMU_FORMATS, events=events, cpumask=[0])


def _spe(tree: Tree, cpus: Iterable[int]) -> None:
    formats = {
        "ts_enable": "config:0",
        "load_filter": "config:33",
        "store_filter": "config:34",
        "event_filter": "config1:0-63",
        "min_latency": "config2:0-11",
    }
    tree.pmu("arm_spe_0", formats=formats, cpumask=cpus)


# The dies of a Kunpeng 920, in the order of their NUMA nodes: two a socket, and the indexes of what
# sits on them begin anew on every other one.
_KUNPENG_DIES = (3, 1, 7, 5)
KUNPENG_SOCKETS = (36, 3180)


def kunpeng(root: Path, cpus: int) -> Tree:
    """Kunpeng 920, generation 1: two sockets, four dies, clusters of four cores."""
    tree = Tree(root)
    tree.kernel("5.10.0-136.12.0.86.oe2203sp1.aarch64")
    tree.cpus(range(cpus))
    tree.arm_cpuinfo([TSV110] * cpus)
    die = cpus // 4
    for cpu in range(cpus):
        socket = KUNPENG_SOCKETS[cpu // (2 * die)]
        cluster = 54 + 50 * (cpu // 4)  # the CPUs 48 to 51 are cluster 654
        tree.cpu(cpu, core=10 + 11 * cpu, socket=socket, cluster=cluster, midr=TSV110)
    tree.nodes({node: range(node * die, (node + 1) * die) for node in range(4)})
    tree.kernel_pmus()
    tree.pmu("armv8_pmuv3_0", formats=ARM_FORMATS, events=arm_events(), cpus=range(cpus))
    for node, sccl in enumerate(_KUNPENG_DIES):
        _kunpeng_die(tree, sccl, first=node % 2, slices=die // 4, cpu=node * die)
    _smmus(tree, ("100020", "140020", "200100020"))
    tree.tracepoints()
    return tree


def _kunpeng_die(tree: Tree, sccl: int, *, first: int, slices: int, cpu: int) -> None:
    ddrc = _hisi({name: code for code, name in enumerate(DDRC)})
    blocks = (
        ("ddrc", range(4), {"event": "config:0-4"}, ddrc),
        ("l3c", range(first * 8, first * 8 + slices), {"event": "config:0-7"}, _hisi(L3C)),
        ("hha", range(first * 2, first * 2 + 2), {"event": "config:0-7"}, _hisi(HHA)),
    )
    for block, numbers, formats, events in blocks:
        for number in numbers:
            name = f"hisi_sccl{sccl}_{block}{number}"
            tree.pmu(name, formats=formats, events=events, cpumask=[cpu])


DDRC2 = {"cycles": 0x00, "flux_wr": 0x83, "flux_rd": 0x84}
L3C2 = {"l3c_hit": 0x48, "cycles": 0x7F, "l3c_ref": 0xB8, "dat_access": 0xB9}
L3C2_FORMATS = {"event": "config:0-7", "tt_core": "config2:0-15", "tt_req": "config1:8-10"}
HHA2 = {"rx_ops_num": 0x00, "rx_outer": 0x01, "rx_sccl": 0x02, "hha_retry": 0x2E, "cycles": 0x55}
PCIE = {
    "rx_mwr_latency": 0x0010,
    "rx_mwr_cnt": 0x10010,
    "rx_mrd_latency": 0x0210,
    "rx_mrd_cnt": 0x10210,
    "tx_mrd_latency": 0x0011,
    "tx_mrd_cnt": 0x10011,
    "rx_mwr_flux": 0x0104,
    "rx_mwr_time": 0x10104,
    "rx_mrd_flux": 0x0804,
    "rx_mrd_time": 0x10804,
    "tx_mwr_flux": 0x0105,
    "tx_mwr_time": 0x10105,
    "tx_mrd_flux": 0x0405,
    "tx_mrd_time": 0x10405,
}
PCIE_FORMATS = {
    "event": "config:0-16",
    "thr_len": "config1:0-3",
    "thr_mode": "config1:4",
    "trig_len": "config1:5-8",
    "trig_mode": "config1:9",
    "len_mode": "config1:10-11",
    "port": "config2:0-15",
    "bdf": "config2:16-31",
}
GEN2_SMMU = "smmu3.0x0000000148000000"


def kunpeng2(root: Path, cpus: int = 128, nodes: int = 4, channels: int = 4) -> Tree:
    """Kunpeng, generation 2: two sockets, `channels` DDR channels a node, two of them a controller;
    two root complexes with a network card, a disk, and a device that no PMU covers."""
    tree = Tree(root)
    tree.kernel("6.6.0-72.0.0.76.oe2403sp1.aarch64")
    tree.cpus(range(cpus))
    tree.arm_cpuinfo([HIP09] * cpus)
    die = cpus // nodes
    for cpu in range(cpus):
        socket = KUNPENG_SOCKETS[cpu * 2 // cpus]
        tree.cpu(cpu, core=cpu, socket=socket, cluster=54 + 50 * (cpu // 4), midr=HIP09)
    tree.nodes({node: range(node * die, (node + 1) * die) for node in range(nodes)})
    tree.kernel_pmus()
    tree.pmu("armv8_pmuv3_0", formats=ARM_FORMATS, events=arm_events(), cpus=range(cpus))
    for node in range(nodes):
        _kunpeng2_die(tree, 2 * node + 1, channels, range(node * die, (node + 1) * die))
    _kunpeng2_pcie(tree)
    _smmus(tree, ("148020", "188020"))
    tree.tracepoints()
    return tree


def _kunpeng2_die(tree: Tree, sccl: int, channels: int, cpus: range) -> None:
    ddrc = [f"ddrc{number // 2}_{number % 2}" for number in range(channels)]
    blocks = (
        (ddrc, {"event": "config:0-8"}, _hisi(DDRC2)),
        ([f"l3c{number}" for number in range(4)], L3C2_FORMATS, _hisi(L3C2)),
        (["hha0", "hha1"], {"event": "config:0-7"}, _hisi(HHA2)),
    )
    for names, formats, events in blocks:
        for name in names:
            pmu = f"hisi_sccl{sccl}_{name}"
            tree.pmu(pmu, formats=formats, events=events, cpumask=[cpus[0]])
            tree.pmu_file(pmu, "identifier", "0x00000030")
            tree.pmu_file(pmu, "associated_cpus", cpu_list(cpus))


def _kunpeng2_pcie(tree: Tree) -> None:
    events = {name: f"event={code:#06x}" for name, code in PCIE.items()}
    for number, (low, high) in enumerate(((0x7800, 0x780F), (0xB800, 0xB80F))):
        name = f"hisi_pcie{number}_core0"
        tree.pmu(name, formats=PCIE_FORMATS, events=events, cpumask=[0])
        for file, value in (("bus", low >> 8), ("bdf_min", low), ("bdf_max", high)):
            tree.pmu_file(name, file, f"{value:#04x}")
        tree.pmu_file(name, "identifier", "0x00000030")
    bridge = "0x060400"
    tree.pci("pci0000:78/0000:78:00.0", kind=bridge, node=0, driver="pcieport")
    tree.pci(
        "pci0000:78/0000:78:00.0/0000:7a:00.0",
        node=0,
        driver="hns3",
        children=["net/eth0"],
        iommu=GEN2_SMMU,
    )
    tree.pci("pci0000:b8/0000:b8:01.0", kind=bridge, node=2, driver="pcieport")
    tree.pci(
        "pci0000:b8/0000:b8:01.0/0000:b9:00.0",
        kind="0x010802",
        node=2,
        driver="nvme",
        children=["nvme/nvme0"],
        iommu="smmu3.0x0000000188000000",
    )
    tree.pci("pci0000:74/0000:74:02.0", kind="0x010700", node=0, driver="hisi_sas_v3_hw")


def grace(root: Path) -> Tree:
    """One socket of Neoverse V2 cores, with an SMMU whose page number has letters."""
    tree = Tree(root)
    tree.kernel("6.8.0-1013-nvidia-64k")
    tree.cpus(range(72))
    tree.arm_cpuinfo([NEOVERSE_V2] * 72)
    for cpu in range(72):
        tree.cpu(cpu, core=cpu, socket=0, cluster=cpu, midr=NEOVERSE_V2)
    tree.nodes({0: range(72), 1: []})  # node 1 is the GPU's memory
    tree.kernel_pmus()
    tree.pmu("armv8_pmuv3_0", formats=ARM_FORMATS, events=arm_events(), cpus=range(72))
    scf = {"cycles": "event=0x100000000", "bus_cycles": "event=0x1d", "scf_cache": "event=0xf2"}
    tree.pmu("nvidia_scf_pmu_0", formats={"event": "config:0-63"}, events=scf, cpumask=[0])
    _smmus(tree, ("2b442", "2b462"))
    _spe(tree, range(72))
    tree.tracepoints()
    return tree


A53_EVENTS = [name for name in ARM_COMMON if not name.startswith(("ll_", "stall_", "l1i_tlb"))]
A72_EVENTS = [name for name in ARM_COMMON if not name.startswith(("ll_", "stall_", "exc_"))]


def big_little(root: Path) -> Tree:
    """Four Cortex-A53 and two Cortex-A72, described by a device tree, without NUMA."""
    tree = Tree(root)
    tree.kernel("6.1.75-rockchip")
    tree.cpus(range(6))
    kinds = [(CORTEX_A53, 0)] * 4 + [(CORTEX_A72, 1)] * 2
    tree.arm_cpuinfo([midr for midr, _ in kinds])
    for cpu, (midr, cluster) in enumerate(kinds):
        core = cpu if cluster == 0 else cpu - 4  # numbered anew in each cluster
        tree.cpu(cpu, core=core, socket=0, cluster=cluster, midr=midr)
    tree.kernel_pmus()
    little, big = arm_events(A53_EVENTS), arm_events(A72_EVENTS)
    tree.pmu("armv8_cortex_a53", formats=ARM_FORMATS, events=little, cpus=range(4))
    tree.pmu("armv8_cortex_a72", formats=ARM_FORMATS, events=big, cpus=(4, 5))
    tree.tracepoints()
    return tree


# ---- x86 ----

INTEL_FORMATS = {
    "event": "config:0-7",
    "umask": "config:8-15",
    "edge": "config:18",
    "inv": "config:23",
    "cmask": "config:24-31",
    "offcore_rsp": "config1:0-63",
    "ldlat": "config1:0-15",
}
INTEL_EVENTS = {
    "branch-instructions": "event=0xc4",
    "branch-misses": "event=0xc5",
    "cpu-cycles": "event=0x3c",
    "instructions": "event=0xc0",
    "mem-loads": "event=0xcd,umask=0x1,ldlat=3",
    "ref-cycles": "event=0x00,umask=0x03",
    "topdown-fetch-bubbles": "event=0x9c,umask=0x1",
    "topdown-recovery-bubbles": "event=0xd,umask=0x3,cmask=1",
    "topdown-recovery-bubbles.scale": "2",
}
IMC_FORMATS = {"event": "config:0-7", "umask": "config:8-15", "edge": "config:18"}
IMC_SCALE = "6.103515625e-5"
ENERGY_SCALE = "2.3283064365386962890625e-10"


def _scaled(events: Mapping[str, str], scale: str, unit: str) -> dict[str, str]:
    files = dict(events)
    for name in events:
        files[f"{name}.scale"] = scale
        files[f"{name}.unit"] = unit
    return files


def xeon(root: Path) -> Tree:
    """Two sockets of 16 cores with two threads each; CPU 63 is offline."""
    tree = Tree(root)
    tree.kernel("5.15.0-91-generic")
    tree.cpus(range(64), range(63))
    tree.x86_cpuinfo(63, "GenuineIntel", "Intel(R) Xeon(R) Gold 6246R CPU @ 3.40GHz")
    for cpu in range(63):
        socket, core = cpu // 16 % 2, cpu % 16
        threads = [thread for thread in (cpu % 32, cpu % 32 + 32) if thread < 63]
        tree.cpu(cpu, core=core, socket=socket, cluster=32 * socket + core, threads=threads)
    socket_of = {socket: [c for c in range(63) if c // 16 % 2 == socket] for socket in (0, 1)}
    tree.nodes(socket_of)
    tree.kernel_pmus()
    tree.pmu("cpu", type=4, formats=INTEL_FORMATS, events=INTEL_EVENTS)
    imc = _scaled(
        {"cas_count_read": "event=0x04,umask=0x03", "cas_count_write": "event=0x04,umask=0x0c"},
        IMC_SCALE,
        "MiB",
    )
    for number in (0, 1, 10, 2):
        events = {**imc, "clockticks": "event=0x00"}
        tree.pmu(f"uncore_imc_{number}", formats=IMC_FORMATS, events=events, cpumask=(0, 16))
    tree.pmu("uncore_imc_free_running_0", formats=IMC_FORMATS, events={}, cpumask=(0, 16))
    cha = {"event": "config:0-7", "umask": "config:8-15,32-55"}
    tree.pmu("uncore_cha_0", formats=cha, events={"clockticks": "event=0x00"}, cpumask=(0, 16))
    msr = {"tsc": "event=0x00", "aperf": "event=0x01", "mperf": "event=0x02"}
    tree.pmu("msr", formats={"event": "config:0-63"}, events=msr)
    energy = _scaled(
        {"energy-pkg": "event=0x02", "energy-ram": "event=0x03"}, ENERGY_SCALE, "Joules"
    )
    tree.pmu("power", formats={"event": "config:0-7"}, events=energy, cpumask=(0, 16))
    tree.tracepoints()
    return tree


def epyc(root: Path) -> Tree:
    """One socket of 32 cores whose event numbers are split over two ranges of bits."""
    tree = Tree(root)
    tree.kernel("6.1.0-18-amd64")
    tree.cpus(range(32))
    tree.x86_cpuinfo(32, "AuthenticAMD", "AMD EPYC 9334 32-Core Processor")
    for cpu in range(32):
        tree.cpu(cpu, core=cpu, socket=0, cluster=cpu)
    tree.nodes({0: range(32)})
    tree.kernel_pmus()
    core = {
        "event": "config:0-7,32-35",
        "umask": "config:8-15",
        "edge": "config:18",
        "inv": "config:23",
        "cmask": "config:24-31",
    }
    events = {
        "branch-instructions": "event=0xc2",
        "cpu-cycles": "event=0x76",
        "instructions": "event=0xc0",
        "stalled-cycles-frontend": "event=0xa9",
    }
    tree.pmu("cpu", type=4, formats=core, events=events)
    fabric = {"event": "config:0-7,32-37", "umask": "config:8-15,24-27"}
    tree.pmu("amd_df", formats=fabric, events={}, cpumask=[0])
    tree.pmu("amd_l3", formats={"event": "config:0-7", "coreid": "config:42-44"}, cpumask=[0, 8])
    for channel in (0, 1):
        formats = {"event": "config:0-7", "rdwrmask": "config:8-9"}
        tree.pmu(f"amd_umc_{channel}", formats=formats, cpumask=[0])
    tree.pmu("ibs_op", formats={"cnt_ctl": "config:19"})
    tree.pmu("msr", formats={"event": "config:0-63"}, events={"tsc": "event=0x00"})
    tree.tracepoints()
    return tree


HYBRID_TYPES = {"cpu_core": 4, "cpu_atom": 10}


def hybrid(root: Path) -> Tree:
    """An Intel laptop: CPUs 0 to 7 are threads of four big cores, 8 to 15 are small ones."""
    tree = Tree(root)
    tree.kernel("6.5.0-15-generic")
    tree.cpus(range(16))
    tree.x86_cpuinfo(16, "GenuineIntel", "12th Gen Intel(R) Core(TM) i7-1260P")
    for cpu in range(16):
        core = cpu // 2 * 4 if cpu < 8 else cpu + 8
        cluster = core if cpu < 8 else 16 + (cpu - 8) // 4 * 8
        threads = [cpu, cpu ^ 1] if cpu < 8 else [cpu]
        tree.cpu(cpu, core=core, socket=0, cluster=cluster, threads=threads)
    tree.nodes({0: range(16)})
    tree.kernel_pmus()
    common = {name: INTEL_EVENTS[name] for name in ("cpu-cycles", "instructions", "branch-misses")}
    big = {**common, "slots": "event=0x00,umask=0x4", "mem-loads": INTEL_EVENTS["mem-loads"]}
    small = {**common, "topdown-be-bound": "event=0x74,umask=0x0"}
    for name, events, cpus in (("cpu_core", big, range(8)), ("cpu_atom", small, range(8, 16))):
        tree.pmu(name, type=HYBRID_TYPES[name], formats=INTEL_FORMATS, events=events, cpus=cpus)
    reads = _scaled({"data_read": "event=0xff,umask=0x20"}, IMC_SCALE, "MiB")
    for number in (0, 1):
        name = f"uncore_imc_free_running_{number}"
        tree.pmu(name, formats=IMC_FORMATS, events=reads, cpumask=[0])
    tree.tracepoints()
    return tree


def guest(root: Path) -> Tree:
    """A virtual machine of two CPUs without a hardware PMU, and without tracefs."""
    tree = Tree(root)
    tree.kernel("6.1.0-18-cloud-amd64")
    tree.cpus(range(2))
    tree.x86_cpuinfo(2, "GenuineIntel", "Intel Xeon Processor (Skylake)")
    for cpu in range(2):
        tree.cpu(cpu, core=cpu, socket=0, cluster=0xFFFF)
    tree.nodes({0: range(2)})
    tree.kernel_pmus()
    tree.pmu("msr", formats={"event": "config:0-63"}, events={"tsc": "event=0x00"})
    return tree


BUILDERS: dict[str, Callable[[Path], Tree]] = {
    "kunpeng-96": lambda root: kunpeng(root, 96),
    "kunpeng-128": lambda root: kunpeng(root, 128),
    "kunpeng-gen2": kunpeng2,
    "grace": grace,
    "big-little": big_little,
    "xeon": xeon,
    "epyc": epyc,
    "hybrid": hybrid,
    "guest": guest,
}
