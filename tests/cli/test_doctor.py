"""`kperf doctor` on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Run
from support import privileged

from kperf.doctor import TOPICS


def test_the_whole_page(kperf: Run) -> None:
    done = kperf("doctor")
    assert (done.status, done.err) == (0, "")
    assert done.lines()[-1].startswith("quality: ")
    for topic in TOPICS:
        assert any(line.startswith(topic) for line in done.lines()), topic


def test_json_has_a_row_a_finding(kperf: Run) -> None:
    found = json.loads(kperf("doctor", "--json").out)
    assert (found["schema"], found["command"]) == (1, "doctor")
    assert {row["topic"] for row in found["rows"]} == set(TOPICS)
    for row in found["rows"]:
        assert list(row) == ["topic", "state", "what", "fix"]
        assert row["state"] in ("ok", "limited", "missing")
        assert row["fix"] is None or row["fix"]
        assert (row["state"] == "missing") <= (row["fix"] is not None)


def test_csv(kperf: Run) -> None:
    done = kperf("doctor", "--csv", "container")
    assert done.out.splitlines()[0] == "topic,state,what,fix"


def test_the_status_tells_of_topics_that_were_asked_for(kperf: Run) -> None:
    rows = json.loads(kperf("doctor", "--json").out)["rows"]
    missing = {row["topic"] for row in rows if row["state"] == "missing"}
    for topic in ("spe", "permission", "container", "source-lines"):
        assert kperf("doctor", topic).status == int(topic in missing), topic


@privileged
def test_root_may_do_what_a_user_may_not(kperf: Run, user_kperf: Run) -> None:
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    if paranoid < 0:
        pytest.skip("at this level of perf_event_paranoid everybody may do everything")
    states = [
        [row["state"] for row in json.loads(run("doctor", "--json", "permission").out)["rows"]]
        for run in (kperf, user_kperf)
    ]
    assert states[0] == ["ok"]
    assert states[1][0] in ("limited", "missing")


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (["doctor", "nosuch"], "no topic 'nosuch'"),
        (["doctor", ""], "no topic ''"),
        (["--sysroot", "/", "doctor"], "--sysroot"),
    ],
)
def test_wrong_calls(kperf: Run, call: list[str], word: str) -> None:
    done = kperf(*call)
    assert (done.status, done.out) == (2, "")
    assert word in done.error()
