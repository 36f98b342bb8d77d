"""What an ordinary user may count, and what kperf says of the rest."""

from __future__ import annotations

from collections.abc import Callable

import guest
import pytest

Paranoid = Callable[[int], None]


def test_own_command_is_counted_in_user_space(paranoid: Paranoid) -> None:
    paranoid(2)
    document = guest.stat("-e", "cycles,page-faults", "--", "true", user=True)
    assert document["events"]["cycles"]["state"] == "counted"
    assert document["events"]["cycles"]["count"] > 0
    assert any("user space only" in note for note in document["quality"]["notes"])


def test_default_events_of_an_own_command(paranoid: Paranoid) -> None:
    paranoid(2)
    document = guest.stat("--", "true", user=True)
    states = {name: row["state"] for name, row in document["events"].items()}
    assert states["cycles"] == states["instructions"] == states["task-clock"] == "counted"
    assert states["branch-misses"] == "not-supported"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-a", "-d", "0.1", "-e", "cycles"), "perf_event_paranoid=0"),
        (("-a", "-d", "0.1", "-e", "hisi_sccl1_ddrc0/flux_rd/"), "CAP_PERFMON"),
        (("-e", "cycles:k", "--", "true"), "perf_event_paranoid=1"),
        (("-e", "sched:sched_switch", "--", "true"), "run as root"),
    ],
)
def test_what_is_closed_names_the_way_in(
    paranoid: Paranoid, arguments: tuple[str, ...], words: str
) -> None:
    paranoid(2)
    done = guest.kperf_command("stat", *arguments, user=True)
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("kperf: ")
    assert words in done.stderr
    assert not done.stderr.rstrip().endswith(": output")
    assert "not mounted" not in done.stderr  # it is, and closed


def test_device_is_open_to_a_user_where_everything_is(paranoid: Paranoid) -> None:
    paranoid(-1)
    document = guest.stat("-a", "-d", "0.2", "-e", "hisi_sccl1_ddrc0/flux_rd/", user=True)
    assert document["rows"][0]["state"] == "counted"
