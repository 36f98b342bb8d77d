"""The same names, encoded by perf and by kperf on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from support import PATIENCE_S, rooted
from unit.test_names import HARDWARE, SOFTWARE_EVENTS, cache_spellings

from kperf.events import grammar
from kperf.events.event import Event
from kperf.events.listing import software_events
from kperf.events.resolve import resolve_groups
from kperf.machine import Machine

pytestmark = [
    pytest.mark.skipif(shutil.which("perf") is None, reason="perf is the judge"),
    pytest.mark.skipif(
        len(Machine().core_pmus) > 1,
        reason="perf chooses by its own rules among several kinds of cores",
    ),
]

# What perf shows of an attribute, as far as a name decides it; what it does not show is 0.
FIELDS = (
    *("type", "config", "config1", "config2", "bp_type", "precise_ip", "pinned"),
    *("exclude_user", "exclude_kernel", "exclude_hv", "exclude_host", "exclude_guest"),
)
_FIELD = re.compile(r"^  \{? ?(?:bp_(?:addr|len), )?(\w+) *\}? +(0x[0-9a-f]+|\d+)", re.MULTILINE)

Attribute = dict[str, int]


def perf_encodes(event_list: str, *before: str) -> list[Attribute]:
    """The attributes that `perf stat` opens for a list, in its order."""
    command = [*before, "perf", "stat", "-vv", "-e", event_list, "--", "true"]
    environment = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False
    )
    # An event that the kernel refuses is shown again for every easier try: the first one counts.
    shown = [(block, tail) for block, tail in _blocks(run.stderr)]
    assert shown, run.stderr
    first = [block for n, (block, _) in enumerate(shown) if n == 0 or not shown[n - 1][1]]
    return [{name: int(value, 0) for name, value in _FIELD.findall(block)} for block in first]


def _blocks(text: str) -> list[tuple[str, bool]]:
    """Each attribute, and whether what follows it is another try of the same event."""
    parts = re.split(r"^-{20,}\n(?=perf_event_attr:)", text, flags=re.MULTILINE)[1:]
    halves = [part.split("-" * 20, 1) for part in parts]
    return [(block, "switching off" in tail) for block, tail in halves]


def kperf_encodes(event_list: str) -> list[Attribute]:
    groups = resolve_groups(grammar.parse(event_list), Machine())
    return [attribute(event) for group in groups for event in group.events]


def attribute(event: Event) -> Attribute:
    """An event in perf's fields. Guests are left out by default, as perf does."""
    same = {name: getattr(event, name) for name in FIELDS if hasattr(event, name)}
    return {**same, "precise_ip": event.precise}


def differences(ours: Sequence[Attribute], perfs: Sequence[Attribute]) -> list[object]:
    """Where two lists say different things. A config's upper half chooses a PMU: see perf's."""
    found: list[object] = []
    for mine, its in zip(ours, perfs):
        for name in mine:
            value = its.get(name, 0)
            if name == "config" and mine["type"] in (0, 3):
                value &= 0xFFFFFFFF
            if name != "exclude_guest" and int(mine[name]) != value:
                found.append((name, mine, its))
    return found + (
        [("numbers of events", len(ours), len(perfs))] if len(ours) != len(perfs) else []
    )


def agree(event_list: str) -> None:
    assert differences(kperf_encodes(event_list), perf_encodes(event_list)) == []


@pytest.mark.parametrize(
    "names",
    [HARDWARE, SOFTWARE_EVENTS],
    ids=["hardware", "software"],
)
def test_generic_events(names: dict[str, int]) -> None:
    agree(",".join(names))


def test_cache_events_in_every_spelling() -> None:
    # perf's lexer knows this one word with its capital only.
    names = [name.replace("-reference", "-Reference") for name in cache_spellings()]
    assert len(names) > 100
    agree(",".join(names))


@pytest.mark.parametrize(
    "event_list", ["LLC", "LLC-misses", "LLC-misses-loads", "L1-dcache-store-miss", "node-ops"]
)
def test_cache_events_in_looser_forms(event_list: str) -> None:
    agree(event_list)


@pytest.mark.parametrize(
    "letters",
    ["u", "k", "h", "uk", "ku", "uh", "ukh", "p", "pp", "ppp", "up", "kpp", "P", "uP", "D", "uD"],
)
def test_modifiers(letters: str) -> None:
    agree(f"cycles:{letters},cpu-clock:{letters},L1-dcache-loads:{letters},r1a8:{letters}")


@pytest.mark.parametrize("letters", ["G", "H", "GH", "uG", "uH", "kGH"])
def test_guest_and_host(letters: str) -> None:
    text = f"cycles:{letters}"
    (ours,), (perfs,) = kperf_encodes(text), perf_encodes(text)
    assert ours["exclude_host"] == perfs.get("exclude_host", 0)
    assert ours["exclude_guest"] == perfs.get("exclude_guest", 0)


@pytest.mark.parametrize(
    "event_list",
    [
        "{cpu-clock,task-clock}:u",
        "{cpu-clock:u,task-clock}:k",
        "{cpu-clock:u,task-clock:k}:uk",
        "{cpu-clock:u,task-clock:kp}:kp",
        "{cpu-clock:p,task-clock:pp}:p",
        "cs,{cpu-clock,faults:u}:k,migrations",
    ],
)
def test_groups_with_modifiers(event_list: str) -> None:
    agree(event_list)


@pytest.mark.parametrize("event_list", ["r1", "r1a8", "rffffff", "r20000038f"])
def test_raw_events(event_list: str) -> None:
    agree(event_list)


@pytest.mark.parametrize(
    "event_list",
    [
        *("mem:0", "mem:0:u", "mem:0x1000", "mem:0x1000:r", "mem:0x1000:w", "mem:0x1000:rw"),
        *("mem:0x1000:x", "mem:0x1000/8:w", "mem:0x1000/2:rw:u", "mem:4096/1:r:k", "mem:04096"),
    ],
)
def test_breakpoints(event_list: str) -> None:
    agree(event_list)


@pytest.mark.skipif("msr" not in Machine().pmu_names, reason="no msr PMU (x86 has it)")
@pytest.mark.parametrize(
    "event_list",
    [
        "msr/tsc/",
        "msr/event=0x0/",
        "msr/event=3/",
        "msr/config=0x7/",
        "msr/tsc,config1=2/",
        "msr//",
    ],
)
def test_pmu_events(event_list: str) -> None:
    agree(event_list)


@rooted
@pytest.mark.skipif(shutil.which("unshare") is None, reason="perf mounts tracefs: for itself only")
def test_tracepoints() -> None:
    text = "sched:sched_switch,syscalls:sys_enter_write:u"
    perfs = perf_encodes(text, "unshare", "--mount")
    assert differences(kperf_encodes(text), perfs) == []


def test_the_software_events_that_perf_lists() -> None:
    text = subprocess.run(
        ["perf", "list", "sw"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    ).stdout
    rows = re.findall(r"^  (\S+)(?: OR (\S+))? +\[Software event\]", text, re.MULTILINE)
    names = {name for row in rows for name in row if name}
    assert {"task-clock", "cs"} <= names
    assert names <= set(SOFTWARE_EVENTS)
    assert {first for first, _ in rows} == {event.name for event in software_events(Machine())}


def test_the_judge_can_say_no() -> None:
    assert differences(kperf_encodes("cpu-clock:u"), perf_encodes("cpu-clock:k")) != []
    assert differences(kperf_encodes("cpu-clock"), perf_encodes("task-clock")) != []
    assert differences(kperf_encodes("cpu-clock"), perf_encodes("cpu-clock,cs")) != []
    assert differences(kperf_encodes("mem:0:r"), perf_encodes("mem:0:w")) != []
