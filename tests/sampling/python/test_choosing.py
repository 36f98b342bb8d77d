"""Too many threads for an event each on every CPU: everybody is sampled, and some are chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import ask_python, privileged, rooted

THREADS, LIMIT = 60, 90
CHILDREN, WRITES = 5, 200

# Samples a program of many threads from its start to its end: `target`. It and its children write,
# as does another program at the same time. Told are: samples, processes, samples lost, the notes.
SAMPLE = """
    import json, os, resource, subprocess, sys, kperf
    target, kind, inherit, limit = json.loads(sys.argv[1])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen([sys.executable, "-I", "-c", target], **pipes) for _ in range(2)]
    tids = [[int(tid) for tid in program.stdout.readline().split()] for program in programs]
    wanted = {"pids": [programs[0].pid], "tids": tids[0]}[kind]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    reads = []
    with kperf.Sampling(
        "syscalls:sys_enter_write", filters=["count == 7777"], inherit=inherit,
        buffer_bytes=1 << 21, **{kind: wanted},
    ) as sampling:
        sampling.enable()
        for program in reversed(programs):
            program.stdin.close()
        while any([program.poll() is None for program in programs]):
            reads.append(sampling.read())
        sampling.disable()
        reads.append(sampling.read())
    pids = {row.pid for data in reads for row in data}
    lost = sum(data.quality.lost for data in reads)
    print(json.dumps([sum(map(len, reads)), len(pids), lost, reads[-1].quality.notes]))
"""

TARGET = f"""
import os, sys, threading
stop = threading.Event()
for _ in range({THREADS}):
    threading.Thread(target=stop.wait).start()
print(*sorted(map(int, os.listdir("/proc/self/task"))), flush=True)
null = os.open("/dev/null", os.O_WRONLY)
def write():
    for _ in range({WRITES}):
        os.write(null, bytes(7777))
sys.stdin.readline()
for _ in range({CHILDREN}):
    pid = os.fork()
    if pid == 0:
        write()
        os._exit(0)
    os.waitpid(pid, 0)
write()
stop.set()
"""

# Root may raise the hard limit, too: so who is tested may do all but that.
BOUND = ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")

pytestmark = [privileged, rooted]


def sample(kind: str = "pids", *, inherit: bool = True, limit: int = LIMIT) -> Any:
    return ask_python(SAMPLE, json.dumps([TARGET, kind, inherit, limit]), before=BOUND)


@pytest.mark.parametrize(("limit", "told"), [(LIMIT, True), (4096, False)])
@pytest.mark.parametrize("kind", ["pids", "tids"])
def test_a_program_and_its_children_are_sampled_and_nobody_else(
    kind: str, limit: int, told: bool
) -> None:
    n, processes, lost, notes = sample(kind, limit=limit)
    assert (n, processes, lost) == ((CHILDREN + 1) * WRITES, CHILDREN + 1, 0), notes
    assert any(f"and the limit is {LIMIT}" in note for note in notes) == told, notes


@pytest.mark.parametrize("limit", [LIMIT, 4096])
def test_children_are_left_out_on_request(limit: int) -> None:
    n, processes, lost, notes = sample(inherit=False, limit=limit)
    assert (n, processes, lost) == (WRITES, 1, 0), notes
