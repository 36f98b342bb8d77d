"""A program with known counts, run by `support.Worker`: it does what each line of its input asks.

write N   N writes in the main thread
threads K starts K threads that wait; answers their numbers
hop N     N writes on each of its CPUs in turn
storm K   starts K threads from another thread, all at once; answers when they all wait
all N     N writes in the main thread and in each of the others
fork N    N writes in a child process, which ends
touch N   touches N fresh pages from user space
fill N    has the kernel fill N fresh pages
rename .. takes the bytes as its name
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import sys
import threading

NOWHERE = os.open("/dev/null", os.O_WRONLY)
ZEROS = os.open("/dev/zero", os.O_RDONLY)


class Helper:
    """A thread that waits for numbers of writes."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            write(self._orders.get())
            self._done.put(0)

    def order(self, times: int) -> None:
        self._orders.put(times)

    def wait(self) -> None:
        self._done.get()


HELPERS: list[Helper] = []


def write(times: int) -> None:
    for _ in range(times):
        os.write(NOWHERE, b"x")


def hop(times: int) -> list[int]:
    cpus = os.sched_getaffinity(0)
    for cpu in cpus:
        os.sched_setaffinity(0, {cpu})
        write(times)
    os.sched_setaffinity(0, cpus)
    return sorted(cpus)


def start_threads(number: int) -> list[int | None]:
    started = [Helper() for _ in range(number)]
    HELPERS.extend(started)
    return [helper.thread.native_id for helper in started]


def storm(number: int) -> int:
    """Every thread but the first is made by one that may be new itself."""
    made: list[Helper] = []

    def make() -> None:
        made.extend(Helper() for _ in range(number // 2))

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    HELPERS.extend(made)
    return len(made)


def write_everywhere(times: int) -> int:
    for helper in HELPERS:
        helper.order(times)
    write(times)
    for helper in HELPERS:
        helper.wait()
    return len(HELPERS) + 1


def write_in_child(times: int) -> int:
    pid = os.fork()
    if pid == 0:
        write(times)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _fresh(pages: int) -> mmap.mmap:
    area = mmap.mmap(-1, pages * mmap.PAGESIZE)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    return area


def touch(pages: int) -> None:
    with _fresh(pages) as area:
        for page in range(pages):
            area[page * mmap.PAGESIZE] = 1


def fill(pages: int) -> None:
    with _fresh(pages) as area:
        os.readv(ZEROS, [area])


def rename(*name: int) -> None:
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(bytes(name))


COMMANDS = {
    "write": write,
    "hop": hop,
    "threads": start_threads,
    "storm": storm,
    "all": write_everywhere,
    "fork": write_in_child,
    "touch": touch,
    "fill": fill,
    "rename": rename,
}


def main() -> None:
    for line in sys.stdin:
        command, *numbers = line.split()
        answer = COMMANDS[command](*map(int, numbers))
        os.write(1, json.dumps(answer).encode() + b"\n")


main()
