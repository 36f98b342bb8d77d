"""What `kperf.doctor` finds on machines that are not here."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from trees import Tree

from kperf import KperfError, doctor
from kperf.doctor import LIMITED, MISSING, OK, Finding

NOBODY = 0
PERFMON = 1 << 38


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Four Arm CPUs with a core PMU, as an ordinary user sees them at level 2."""
    tree = Tree(tmp_path)
    tree.cpus(range(4))
    tree.arm_cpuinfo([0x480FD010] * 4)
    tree.kernel("6.1.0", paranoid=2)
    tree.pmu("armv8_pmuv3_0", events={"cpu_cycles": "event=0x11"}, cpus=range(4))
    become(tree, NOBODY)
    return tree


def become(tree: Tree, capabilities: int, seccomp: int = 0) -> None:
    tree.write("proc/self/status", f"CapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}")


def found(tree: Tree, topic: str) -> list[Finding]:
    findings = doctor.examine(tree.machine(), [topic])
    assert all(finding.topic == topic for finding in findings)
    return findings


def only(tree: Tree, topic: str) -> Finding:
    (finding,) = found(tree, topic)
    return finding


@pytest.mark.parametrize(
    ("level", "capabilities", "state", "word"),
    [
        (4, NOBODY, MISSING, "nothing"),
        (3, NOBODY, MISSING, "nothing"),
        (2, NOBODY, LIMITED, "user space"),
        (1, NOBODY, LIMITED, "in the kernel too"),
        (0, NOBODY, LIMITED, "whole machine"),
        (-1, NOBODY, OK, "everything"),
        (-2, NOBODY, OK, "everything"),
        (4, PERFMON, OK, "everything"),
        (2, 1 << 21, OK, "everything"),
        (2, 1 << 20, LIMITED, "user space"),
    ],
)
def test_levels(tree: Tree, level: int, capabilities: int, state: str, word: str) -> None:
    tree.kernel("6.1.0", paranoid=level)
    become(tree, capabilities)
    finding = found(tree, "permission")[0]
    assert finding.state == state
    assert word in finding.what
    assert bool(finding.fix) == (state != OK)


def test_a_kernel_without_perf_events(tree: Tree) -> None:
    (tree.root / "proc/sys/kernel/perf_event_paranoid").unlink()
    assert only(tree, "permission").state == MISSING
    assert "CONFIG_PERF_EVENTS" in only(tree, "permission").fix


@pytest.mark.parametrize(("seccomp", "word"), [(0, "dmesg"), (2, "seccomp=unconfined")])
def test_a_system_call_filter_is_told(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, seccomp: int, word: str
) -> None:
    monkeypatch.setattr("kperf.doctor.permissions.probe", lambda event: 1)
    become(tree, PERFMON, seccomp)
    allowed, refused = found(tree, "permission")
    assert (allowed.state, refused.state) == (OK, MISSING)
    assert word in refused.fix


def test_core_pmus(tree: Tree) -> None:
    assert only(tree, "pmu").state == OK
    tree.write("proc/sys/kernel/nmi_watchdog", 1)
    watched = found(tree, "pmu")[-1]
    assert watched == Finding(
        "pmu",
        LIMITED,
        "the kernel's watchdog holds one counter of every core",
        "sysctl kernel.nmi_watchdog=0",
    )


def test_no_core_pmu_in_a_guest_and_elsewhere(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.cpus(range(1))
    tree.x86_cpuinfo(1, "GenuineIntel", "Xeon")
    assert "dmesg" in only(tree, "pmu").fix
    tree.write("sys/class/dmi/id/sys_vendor", "QEMU")
    assert "virtual machine" in only(tree, "pmu").what
    assert "the host" in only(tree, "devices").fix
    assert only(tree, "branches").state == MISSING
    assert "x86_64" in only(tree, "spe").what


def test_devices(tree: Tree) -> None:
    assert only(tree, "devices").state == MISSING
    tree.pmu("hisi_sccl1_ddrc0", cpumask=[0])
    assert only(tree, "devices").what == "device PMUs: 1, such as hisi_sccl1_ddrc0"


def test_descriptors(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.cpus(range(128))
    for hard, capabilities, state in (
        (1 << 20, NOBODY, OK),
        (resource.RLIM_INFINITY, NOBODY, OK),
        (1024, NOBODY, LIMITED),
        (1024, 1 << 24, OK),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (1024, hard))
        become(tree, capabilities)
        finding = only(tree, "descriptors")
        assert finding.state == state
        assert "1,088 file descriptors on 128 CPUs" in finding.what
        assert ("ulimit -Hn 1088" in finding.fix) == (state == LIMITED)


def test_memory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write("proc/sys/kernel/perf_event_mlock_kb", 64)
    monkeypatch.setattr(resource, "getpagesize", lambda: 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64 << 10, 64 << 10))
    finding = only(tree, "memory")
    assert finding.state == LIMITED
    assert "2,064 KiB, and this user may lock 320 KiB" in finding.what
    assert finding.fix == "sysctl kernel.perf_event_mlock_kb=516"
    tree.write("proc/sys/kernel/perf_event_mlock_kb", 516)
    assert only(tree, "memory").state == OK
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert only(tree, "memory").state == OK
    become(tree, PERFMON)
    assert "not limited" in only(tree, "memory").what


def test_rate(tree: Tree) -> None:
    assert found(tree, "rate") == []
    tree.write("proc/sys/kernel/perf_event_max_sample_rate", 100000)
    assert only(tree, "rate").state == OK
    tree.write("proc/sys/kernel/perf_event_max_sample_rate", 1000)
    assert only(tree, "rate").fix == "sysctl kernel.perf_event_max_sample_rate=4000"


def test_tracepoints(tree: Tree) -> None:
    assert only(tree, "tracepoints").state == MISSING
    tree.write("sys/kernel/tracing/events/sched/sched_switch/id", 1)
    assert only(tree, "tracepoints") == Finding("tracepoints", OK, "tracepoints of 1 systems")


@pytest.mark.parametrize(
    ("capabilities", "state"),
    [(NOBODY, LIMITED), (1 << 39, LIMITED), (1 << 39 | PERFMON, OK), (1 << 21, OK)],
)
def test_bpf(tree: Tree, capabilities: int, state: str) -> None:
    become(tree, capabilities)
    assert only(tree, "bpf").state == state
    tree.write("sys/kernel/security/lockdown", "none integrity [confidentiality]")
    assert "lockdown" in only(tree, "bpf").fix


def test_kernel_symbols(tree: Tree) -> None:
    assert "cannot be read" in only(tree, "kernel-symbols").what
    tree.write("proc/sys/kernel/kptr_restrict", 1)
    tree.write("proc/kallsyms", "0000000000000000 T _text\n0000000000000000 T _stext")
    assert "kptr_restrict is 1" in only(tree, "kernel-symbols").what
    tree.write("proc/kallsyms", "0000000000000000 A percpu\nffff800010000000 T _text")
    assert only(tree, "kernel-symbols").state == OK


def test_source_lines(tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))
    assert only(tree, "source-lines").state == LIMITED
    (tree.root / "usr/lib/debug/.build-id").mkdir(parents=True)
    assert only(tree, "source-lines").state == OK
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/1")
    assert "/proc/1/kperf cannot be written" in found(tree, "source-lines")[-1].what


def test_a_topic_that_there_is_none_of(tree: Tree) -> None:
    with pytest.raises(KperfError, match=r"there is no topic 'nosuch': choose from permission,"):
        doctor.examine(tree.machine(), ["nosuch"])
    assert {finding.topic for finding in doctor.examine(tree.machine())} <= set(doctor.TOPICS)
