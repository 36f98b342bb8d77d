"""What an ordinary user gets: an own command counted by itself, and a way out of every refusal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.conftest import Run, Start
from cli.processes import (
    KPERF,
    ORDINARY_USER,
    Done,
    Running,
    private_mounts,
    user_prefix,
    wait_until,
)
from support import rooted

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

closed = pytest.mark.skipif(
    int(PARANOID.read_text()) < 2,
    reason="kernel.perf_event_paranoid lets ordinary users see the kernel here",
)
_CAP_SYS_RESOURCE = 24
KERNEL_ONLY = ["context-switches", "cpu-migrations"]


@pytest.fixture
def at_level() -> Iterator[Callable[[int], None]]:
    """Sets kernel.perf_event_paranoid; it is as it was after the test."""
    before = PARANOID.read_text()

    def set_level(level: int) -> None:
        PARANOID.write_text(f"{level}\n")

    yield set_level
    PARANOID.write_text(before)


# ---- an own command ----


@closed
def test_an_own_command_is_counted_by_itself(user_kperf: Run) -> None:
    done = user_kperf("stat", "--json", "--", "sh", "-c", "exit 5")
    assert (done.status, done.err) == (5, "")
    rows = {row["event"]: row for row in done.rows()}
    assert rows["page-faults"]["state"] == rows["task-clock"]["state"] == "counted"
    assert rows["page-faults"]["count"] > 0


@closed
def test_the_fallback_is_told(user_kperf: Run) -> None:
    notes = user_kperf("stat", "--json", "--", "true").document()["quality"]["notes"]
    level = PARANOID.read_text().strip()
    user_only = next(note for note in notes if note.startswith("user space only"))
    hidden = next(note for note in notes if note.startswith("hidden"))
    assert f"kernel.perf_event_paranoid is {level}" in user_only
    assert "page-faults" in user_only
    assert all(name in hidden and name not in user_only for name in KERNEL_ONLY)


@closed
def test_the_fallback_is_told_under_the_table(user_kperf: Run) -> None:
    assert "user space only" in user_kperf("stat", "--", "true").lines()[-1]


@closed
def test_what_happens_in_the_kernel_is_not_shown_as_0(user_kperf: Run) -> None:
    rows = {row["event"]: row for row in user_kperf("stat", "--json", "--", "true").rows()}
    assert {rows[name]["count"] for name in KERNEL_ONLY} == {None}


@closed
def test_the_count_is_that_of_user_space(user_kperf: Run, kperf: Run) -> None:
    """The same as root gets who asks for user space."""
    asked = "page-faults:u"
    program = ("setarch", "-R", "true")
    whole = kperf("stat", "--json", "-r", 3, "-e", asked, "--", *program)
    own = user_kperf("stat", "--json", "-r", 3, "-e", "page-faults", "--", *program)
    assert abs(own.row("page-faults")["count"] - whole.row(asked)["count"]) <= 10


@closed
def test_a_table_does_not_blame_the_machine_for_it(user_kperf: Run) -> None:
    lines = user_kperf("stat", "-e", "page-faults,context-switches", "--", "true").lines()
    (row,) = (line for line in lines[3:] if "context-switches" in line and "quality" not in line)
    assert row.split("  ")[0].strip() == "<no permission>"
    assert "not supported" not in lines[-1]


@closed
def test_an_event_that_was_asked_of_the_kernel_is_not_0(user_kperf: Run) -> None:
    """Without the kernel nothing is left of it."""
    done = user_kperf("stat", "--json", "-e", "page-faults:k,page-faults", "--", "true")
    hidden, counted = done.rows()
    assert (hidden["count"], hidden["state"]) == (None, "not-supported")
    assert counted["count"] > 0
    assert user_kperf("stat", "-e", "page-faults:k", "--", "true").status == 1


@closed
@pytest.mark.skipif(
    not Path("/sys/bus/event_source/devices/msr").exists(), reason="this machine has no msr PMU"
)
def test_a_pmu_that_knows_no_user_space_is_refused(user_kperf: Run) -> None:
    done = user_kperf("stat", "-e", "page-faults,msr/tsc/", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "no permission to count msr/tsc/" in done.error()
    assert "cannot leave the kernel out" in done.error()


@closed
def test_one_event_of_the_kernel_alone_is_refused(user_kperf: Run) -> None:
    done = user_kperf("stat", "-e", "context-switches", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    error = done.error()
    assert "no permission to count context-switches" in error
    assert "sysctl kernel.perf_event_paranoid=1" in error
    assert ":u" not in error, "in user space there are none"


@rooted
@closed
@pytest.mark.parametrize("level", [2, 3, 4])
def test_an_own_command_is_counted_at_every_level(
    user_kperf: Run, at_level: Callable[[int], None], level: int
) -> None:
    """Above 2 kernels of Debian and Ubuntu refuse everything; others take it for 2."""
    at_level(level)
    done = user_kperf("stat", "--json", "-e", "page-faults", "--", "true")
    if done.status == 1:
        assert "sysctl kernel.perf_event_paranoid=2" in done.error()
    else:
        assert done.row("page-faults")["count"] > 0
        assert f"perf_event_paranoid is {level}" in " ".join(done.document()["quality"]["notes"])


@rooted
@closed
def test_an_own_command_is_counted_whole_where_the_kernel_allows_it(
    user_kperf: Run, at_level: Callable[[int], None]
) -> None:
    at_level(1)
    done = user_kperf("stat", "--json", "-e", "page-faults,context-switches", "--", "true")
    assert {row["state"] for row in done.rows()} == {"counted"}
    assert done.document()["quality"]["notes"] == []


# ---- own and foreign processes ----


@pytest.fixture
def own_sleeper(start: Start) -> Running:
    running = start(*user_prefix(), "sleep", "1000")
    comm = Path(f"/proc/{running.pid}/comm")
    wait_until(lambda: comm.read_text() == "sleep\n", "the sleeper")
    return running


@closed
@pytest.mark.parametrize("option", ["-p", "-t"])
def test_an_own_process_is_counted(user_kperf: Run, own_sleeper: Running, option: str) -> None:
    done = user_kperf("stat", "--json", "-d", "0.05", "-e", "page-faults", option, own_sleeper.pid)
    assert done.status == 0
    assert "user space only" in " ".join(done.document()["quality"]["notes"])


@rooted
@closed
@pytest.mark.parametrize("option", ["-p", "-t"])
def test_somebody_elses_process_is_refused(user_kperf: Run, start: Start, option: str) -> None:
    sleeper = start("sleep", "1000")
    done = user_kperf("stat", option, sleeper.pid)
    assert (done.status, done.out) == (1, "")
    assert "it belongs to somebody else" in done.error()
    assert "run as its owner, as root, or with CAP_PERFMON" in done.error()


# ---- whole CPUs ----


@closed
@pytest.mark.parametrize("options", [["-a"], ["-C", "0"], ["-a", "--per-core"]])
def test_whole_cpus_are_refused_with_the_way_out(user_kperf: Run, options: list[str]) -> None:
    done = user_kperf("stat", *options, "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "sysctl kernel.perf_event_paranoid=0" in done.error()
    assert "CAP_PERFMON" in done.error()


# ---- tracepoints ----


def test_tracepoints_are_refused_with_the_way_out(user_kperf: Run) -> None:
    done = user_kperf("stat", "-e", "sched:sched_switch", "--", "echo", "never")
    assert (done.status, done.out) == (1, "")
    assert "run as root" in done.error()


def test_a_list_of_everything_notes_that_tracepoints_are_missing(user_kperf: Run) -> None:
    done = user_kperf("list", "--json")
    assert done.status == 0
    assert {row["kind"] for row in done.rows()} >= {"software"}
    assert "trace events are missing" in " ".join(done.document()["quality"]["notes"])


# A mount namespace in which tracefs is nowhere.
_WITHOUT_TRACEFS = """
    umount -l /sys/kernel/tracing 2>/dev/null || true
    mount -t tmpfs none /sys/kernel/debug 2>/dev/null || true
    exec "$@"
"""


@pytest.fixture
def without_tracefs(start: Start) -> Callable[..., Done]:
    def run(prefix: list[str], *arguments: object) -> Done:
        hidden = private_mounts(_WITHOUT_TRACEFS, "bash")
        return start(*hidden, *prefix, KPERF, *arguments).finish()

    return run


@rooted
def test_without_tracefs_an_ordinary_user_is_told_how_to_get_it(
    without_tracefs: Callable[..., Done],
) -> None:
    done = without_tracefs(user_prefix(), "stat", "-e", "sched:sched_switch", "--", "echo", "x")
    assert (done.status, done.out) == (1, "")
    assert "tracefs, which is not mounted" in done.error()
    assert "mount -t tracefs nodev /sys/kernel/tracing" in done.error()


@rooted
def test_without_tracefs_root_makes_a_mount_that_nobody_sees(
    without_tracefs: Callable[..., Done],
) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    event = "sched:sched_process_exec"
    done = without_tracefs([], "stat", "--json", "-e", event, "--", "true")
    assert done.row(event)["count"] == 1
    assert Path("/proc/self/mounts").read_text() == mounts


# ---- descriptors ----


def test_a_soft_limit_is_raised(shell: Run) -> None:
    """200 threads with 8 counters each, and room for 64 descriptors."""
    source = (
        "import threading, sys; e = threading.Event();"
        "[threading.Thread(target=e.wait, daemon=True).start() for _ in range(200)];"
        "print(flush=True); sys.stdin.read()"
    )
    script = f"""
        ulimit -Sn 64
        coproc python3 -c '{source}'
        read -u "${{COPROC[0]}}"
        kperf stat --json --per-thread -d 0.05 -p "$COPROC_PID"
        status=$?
        eval "exec ${{COPROC[1]}}>&-"
        wait
        exit $status
    """
    done = shell(script)
    assert done.status == 0, done.err
    assert len({row["tid"] for row in done.rows()}) == 201


@rooted
def test_a_hard_limit_is_told(start: Start) -> None:
    """An ordinary user cannot raise it; what is needed and what there is stand in the error."""
    prefix = ["prlimit", "--nofile=64:64", *user_prefix()]
    events = ",".join(["page-faults"] * 100)
    done = start(*prefix, KPERF, "stat", "-e", events, "--", "echo", "never").finish()
    assert (done.status, done.out) == (1, "")
    assert "file descriptors, and the limit is 64" in done.error()
    assert "ulimit -n" in done.error()


@rooted
def test_a_hard_limit_does_not_matter_to_what_fits(start: Start) -> None:
    prefix = ["prlimit", "--nofile=64:64", *user_prefix()]
    done = start(*prefix, KPERF, "stat", "--json", "--", "sh", "-c", "ulimit -n").finish()
    assert (done.status, done.lines()[0]) == (0, "64")


def may_raise_hard_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)


@pytest.mark.skipif(not may_raise_hard_limits(), reason="without CAP_SYS_RESOURCE nobody does")
def test_root_raises_even_the_hard_limit(start: Start) -> None:
    events = ",".join(["page-faults"] * 100)
    prefix = ["prlimit", "--nofile=64:64"]
    done = start(
        *prefix, KPERF, "stat", "--json", "-e", events, "--", "sh", "-c", "ulimit -n"
    ).finish()
    assert done.lines()[0] == "64", "the command has the limit that kperf had"


def test_the_users_are_who_they_should_be() -> None:
    """The other tests would prove nothing as root."""
    shown = subprocess.run(
        [*user_prefix(), "cat", "/proc/self/status"], capture_output=True, text=True, check=True
    ).stdout
    uids = next(line.split()[1:] for line in shown.splitlines() if line.startswith("Uid:"))
    assert set(uids) == {str(ORDINARY_USER if os.geteuid() == 0 else os.geteuid())}
    effective = next(line.split()[1] for line in shown.splitlines() if line.startswith("CapEff:"))
    assert os.geteuid() != 0 or int(effective, 16) == 0
