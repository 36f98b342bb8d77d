"""SIGKILL at any moment of a command's life: nothing stays, and no file is half written."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cli.processes import KPERF, wait_until
from sampling.python.programs import Programs, let_go, waiting
from support import PATIENCE_S, privileged

KILLS = 6
OLD = b"old\n"
CLOCK = ("-e", "cpu-clock", "-F", "2000")


class Case(NamedTuple):
    """A command with what it launches, and the file that it writes."""

    words: tuple[str, ...]
    place: str
    has_all: Callable[[bytes], bool]  # whether a file of these bytes is complete


def is_json(data: bytes) -> bool:
    return isinstance(json.loads(data), (dict, list))


def is_perf_data(data: bytes) -> bool:
    """Its header is written last."""
    return data[:8] == b"PERFILE2" and int.from_bytes(data[40:48], "little") > 0


def has_whole_lines(data: bytes) -> bool:
    """One that grows by lines may have none yet."""
    return not data or data.endswith(b"\n")


def is_gzip(data: bytes) -> bool:
    return bool(gzip.decompress(data))


CASES = [
    Case(("stat", "-e", "task-clock", "-o", "out.json"), "out.json", is_json),
    Case(("stat", "-e", "task-clock", "-I", "5", "-o", "out.csv"), "out.csv", has_whole_lines),
    Case(("trace", "write", "-o", "out.json"), "out.json", is_json),
    Case(("record", *CLOCK, "-g", "-o", "out.data"), "out.data", is_perf_data),
    Case(("record", *CLOCK, "--save", "out.folded", "--lines"), "out.folded", has_whole_lines),
    Case(("record", *CLOCK, "-o", "out.speedscope.json"), "out.speedscope.json", is_json),
]
REPORTS = [
    Case(("report", "-o", "out.txt", "--format", "dump"), "out.txt", has_whole_lines),
    Case(("report", "-o", "out.folded"), "out.folded", has_whole_lines),
    Case(("report", "-o", "out.data"), "out.data", is_perf_data),
    Case(("report", "-o", "out.profile.json.gz"), "out.profile.json.gz", is_gzip),
    Case(("report", "-o", "out.pb.gz"), "out.pb.gz", is_gzip),
    Case(("report", "-o", "out.json"), "out.json", is_json),
]
NAMES = [" ".join(case.words[:1] + case.words[-2:]) for case in CASES]


# ---- what must not stay ----


def traces_of_tracing() -> list[str]:
    """Events and file systems that somebody added to the kernel."""
    found = []
    for name in ("kprobe_events", "uprobe_events"):
        path = Path("/sys/kernel/tracing", name)
        if os.access(path, os.R_OK):
            found.append(path.read_text())
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    # The kernel itself mounts tracefs there for whoever looks.
    return found + [line for line in mounts if "/debug/tracing" not in line]


def marked(mark: str) -> list[int]:
    """The processes that have a mark in their environment."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment:
                pids.append(int(entry.name))
    return pids


class Place:
    """A folder that a command runs in, with all that it may write to."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folder = folder
        self._case = case
        self._mark = f"KPERF_TEST_MARK={folder.name}-{os.getpid()}"
        for name in ("work", "tmp", "cache"):
            (folder / name).mkdir(exist_ok=True)
        self._out = folder / "work" / case.place
        self._out.write_bytes(OLD)

    def start(self, *target: object) -> subprocess.Popen[bytes]:
        name, _, value = self._mark.partition("=")
        env = {
            **os.environ,
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            name: value,
        }
        command = [str(word) for word in (KPERF, *self._case.words, *target)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        return subprocess.Popen(
            command, cwd=self.folder / "work", env=env, stderr=subprocess.DEVNULL, **quiet
        )

    def end_launched(self, launched: Path) -> None:
        """A command that kperf launched outlives it, as it would any other shell."""
        for pid in marked(self._mark):
            try:
                if os.readlink(f"/proc/{pid}/exe") == str(launched):
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def check(self) -> None:
        """Nothing is left, and the file is the old one or a whole new one."""
        wait_until(lambda: not marked(self._mark), "the end of all processes of kperf")
        data = self._out.read_bytes()
        assert data == OLD or self._case.has_all(data), data[:200]
        left = {path.name for path in (self.folder / "work").iterdir()} - {self._case.place}
        hidden = [path for path in (self.folder / "cache").rglob("*") if path.name[0] == "."]
        assert (left, hidden, list((self.folder / "tmp").iterdir())) == (set(), [], [])


@pytest.fixture(autouse=True)
def kernel_as_it_was() -> Iterator[None]:
    before = traces_of_tracing()
    yield
    assert traces_of_tracing() == before


# ---- the tests ----


@pytest.fixture(scope="module")
def recording(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recording") / "in.data"
    words = ("record", *CLOCK, "-g", "-o", place, "--", programs.busy, "spin", 8000)
    subprocess.run([KPERF, *map(str, words)], check=True, capture_output=True, timeout=PATIENCE_S)
    return place


@pytest.fixture
def on_a_local_disk(tmp_path: Path) -> None:
    """Elsewhere a killed writer leaves its file, as kperf/whole_file.py says."""
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        pytest.skip(
            "no O_TMPFILE on this file system (no matter of hardware): test_whole_file.py covers "
            "what is done there"
        )


@pytest.mark.usefixtures("on_a_local_disk")
@privileged
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_profiler_is_killed(case: Case, busy: Path, tmp_path: Path) -> None:
    target = ("--", busy, "spin", 8000)
    begin = time.monotonic()
    place = Place(tmp_path, case)
    assert place.start(*target).wait(PATIENCE_S) == 0
    takes = time.monotonic() - begin
    place.check()
    moments = random.Random(case.place)
    for _ in range(KILLS):
        place = Place(tmp_path, case)
        process = place.start(*target)
        try:
            process.wait(takes * moments.uniform(0.1, 1.1))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        place.end_launched(busy)
        place.check()


@pytest.mark.usefixtures("on_a_local_disk")
@pytest.mark.parametrize("case", REPORTS, ids=lambda case: case.place)
def test_a_report_is_killed(case: Case, recording: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    assert Place(tmp_path, case).start(recording).wait(PATIENCE_S) == 0
    takes = time.monotonic() - begin
    moments = random.Random(case.place)
    for _ in range(KILLS // 2):
        place = Place(tmp_path, case)
        process = place.start(recording)
        try:
            process.wait(takes * moments.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        place.check()


@pytest.mark.usefixtures("on_a_local_disk")
@privileged
@pytest.mark.parametrize("case", CASES[1:4], ids=NAMES[1:4])
def test_whom_a_killed_profiler_watched_lives_on(case: Case, busy: Path, tmp_path: Path) -> None:
    moments = random.Random(case.place)
    with waiting(busy, "spin", 8000) as program:
        for _ in range(KILLS // 2):
            place = Place(tmp_path, case)
            process = place.start("-p", program.pid)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.1, 0.6))
            process.kill()
            process.wait()
            place.check()
        let_go(program)  # which ends well only where it does as before


@privileged
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_what_is_profiled_is_killed(case: Case, busy: Path, tmp_path: Path) -> None:
    """The profiler ends by itself, with what there was."""
    moments = random.Random(case.place)
    for _ in range(KILLS // 2):
        place = Place(tmp_path, case)
        with waiting(busy, "spin", 1_000_000) as program:
            assert program.stdin is not None
            program.stdin.close()
            process = place.start("-p", program.pid)
            time.sleep(moments.uniform(0.0, 0.6))
            program.kill()
        # the target may have been gone before it was looked for: then the error is told
        assert process.wait(PATIENCE_S) in (0, 1)
        place.check()
