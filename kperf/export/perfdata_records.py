"""The records of a perf.data file: attributes of events, samples, and what happened to processes.

Layouts are the kernel's (perf_event_open(2)). A record is a header (type, misc, size), its fields,
and, where it is no sample, the fields by which `perf` puts it in order (sample_id_all).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kperf.events.event import TRACEPOINT, Event
from kperf.export.build_ids import BuildIds, kernel_maps
from kperf.export.profile import Profile
from kperf.symbols.files import Mapping
from kperf.tasks import TaskEvent, TaskKind

# ---- attributes ----

# perf_event_attr up to what Linux 4.1 added (PERF_ATTR_SIZE_VER5), which every `perf` knows: type,
# size, config, period or frequency, sample_type, read_format, flags, wakeup, bp_type, config1,
# config2, branch_sample_type, sample_regs_user, sample_stack_user, clockid, sample_regs_intr,
# aux_watermark, sample_max_stack.
_ATTR = struct.Struct("=II QQQQQ II QQ Q Q Ii Q IHH")
_CLOCK_MONOTONIC = 1

_IP, _TID, _TIME, _CALLCHAIN, _CPU, _PERIOD = 1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 7, 1 << 8
_RAW, _BRANCH_STACK, _IDENTIFIER = 1 << 10, 1 << 11, 1 << 16

_DISABLED, _INHERIT, _PINNED, _EXCLUDE_USER, _EXCLUDE_KERNEL, _EXCLUDE_HV = (
    1 << bit for bit in (0, 1, 2, 4, 5, 6)
)
_MMAP, _COMM, _FREQ, _TASK, _SAMPLE_ID_ALL = (1 << bit for bit in (8, 9, 10, 13, 18))
_EXCLUDE_HOST, _EXCLUDE_GUEST, _MMAP2, _COMM_EXEC, _USE_CLOCKID, _BUILD_IDS = (
    1 << bit for bit in (19, 20, 23, 24, 25, 34)
)
_PRECISE_SHIFT = 15

# What the first event's ring tells of processes: ours come from an event of their own, which counts
# nothing, and `perf` would show as one without samples.
_TELLS = _MMAP | _COMM | _TASK | _MMAP2 | _COMM_EXEC | _BUILD_IDS


class Attribute(NamedTuple):
    """An event as it stands in the file."""

    event: int  # its number in the data
    id: int  # its number in the file
    name: str
    sample_type: int
    encoded: bytes
    tracepoint: str  # system:name; "" for what is none


def _flags(event: Event) -> int:
    bits = (
        (event.exclude_user, _EXCLUDE_USER),
        (event.exclude_kernel, _EXCLUDE_KERNEL),
        (event.exclude_hv, _EXCLUDE_HV),
        (event.exclude_host, _EXCLUDE_HOST),
        (event.exclude_guest, _EXCLUDE_GUEST),
        (event.pinned, _PINNED),
        (event.by_frequency, _FREQ),
    )
    chosen = sum(bit for is_set, bit in bits if is_set)
    return (
        chosen
        | _DISABLED
        | _INHERIT
        | _SAMPLE_ID_ALL
        | _USE_CLOCKID
        | (event.precise << _PRECISE_SHIFT)
    )


def _sample_type(event: Event, profile: Profile) -> int:
    chosen = _IDENTIFIER | _IP | _TID | _TIME | _CPU | _PERIOD
    if profile.has_call_stacks:
        chosen |= _CALLCHAIN
    if event.kind == TRACEPOINT:
        chosen |= _RAW
    elif profile.branch_filter:
        chosen |= _BRANCH_STACK
    return chosen


def _encode(event: Event, sample_type: int, flags: int, branch_filter: int) -> bytes:
    has_branches = sample_type & _BRANCH_STACK
    return _ATTR.pack(
        *(event.type, _ATTR.size),
        *(event.config, event.period, sample_type, 0, flags),
        *(0, event.bp_type, event.config1, event.config2),
        branch_filter if has_branches else 0,
        *(0, 0, _CLOCK_MONOTONIC, 0, 0, 0, 0),
    )


def _tracepoint(event: Event) -> str:
    """Its plain name, without modifiers."""
    return ":".join(event.name.split(":")[:2]) if event.kind == TRACEPOINT else ""


def attributes(profile: Profile) -> list[Attribute]:
    """The events that samples are of. The first one tells of the processes as well."""
    found: list[Attribute] = []
    for number in profile.sampled:
        event = profile.events[number].event
        assert event is not None, "samples are of events that were opened"
        sample_type = _sample_type(event, profile)
        flags = _flags(event) | (0 if found else _TELLS)
        encoded = _encode(event, sample_type, flags, profile.branch_filter)
        tracepoint = _tracepoint(event)
        found.append(
            Attribute(number, len(found) + 1, event.name, sample_type, encoded, tracepoint)
        )
    return found


# ---- records ----

_LOST, _COMM_RECORD, _EXIT, _FORK, _SAMPLE, _MMAP2_RECORD, _MMAP_RECORD = 2, 3, 4, 7, 9, 10, 1
_FINISHED_ROUND = 68  # none that follows is of an earlier time than what stood before the last one

_KERNEL, _USER = 1, 2  # misc: whose code was running
_MISC_COMM_EXEC, _MISC_BUILD_ID = 1 << 13, 1 << 14

_CONTEXT_KERNEL, _CONTEXT_USER = (1 << 64) - 128, (1 << 64) - 512

_HEADER = struct.Struct("=IHH")
_TRAILER = struct.Struct("=iiQIIQ")  # pid, tid, time, cpu, -, id
_TASK_FIELDS = struct.Struct("=iiiiQ")  # pid, ppid, tid, ptid, time
_MAP_FIELDS = struct.Struct("=iiQQQ24sII")  # pid, tid, start, length, offset, identity, prot, flags
_KERNEL_FIELDS = struct.Struct("=iiQQQ")  # pid, tid, start, length, offset
_INODE = struct.Struct("=IIQQ")  # device, inode, generation
_BUILD_ID = struct.Struct("=BxH20s")
_PROT_READ_EXEC, _MAP_PRIVATE = 5, 2

# Header, identifier, ip, pid, tid, time, cpu, period.
_SAMPLE_FIELDS = struct.Struct("=IHHQQiiQiIQ")

_NEVER = 1 << 64

_MOST_RECORD = 0xFFFF
_RECORDS_A_BLOCK = 4096
_BLOCKS_A_ROUND = 16
_MOST_STACKS = 1 << 16  # kept as bytes at a time


def padded(data: bytes, step: int = 8) -> bytes:
    """With at least one NUL behind it, so long that what follows is aligned."""
    return data + bytes(step - len(data) % step)


def _record(kind: int, misc: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, misc, _HEADER.size + len(body)) + body


class _Stacks:
    """Call chains as bytes, each made once for all its samples, and whose code is innermost."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._is_kernel = profile.kernel_addresses()
        self._address = profile.addresses
        self._known: dict[int, tuple[int, bytes]] = {}

    def __getitem__(self, stack: int) -> tuple[int, bytes]:
        found = self._known.get(stack)
        if found is None:
            if len(self._known) >= _MOST_STACKS:
                self._known.clear()
            found = self._known[stack] = self._encoded(self._profile.frames(stack))
        return found

    def _encoded(self, frames: list[int]) -> tuple[int, bytes]:
        chain: list[int] = []
        context = 0
        for frame in frames:
            of_frame = _CONTEXT_KERNEL if self._is_kernel[frame] else _CONTEXT_USER
            if of_frame != context:
                context = of_frame
                chain.append(context)
            chain.append(self._address[frame])
        misc = _KERNEL if frames and self._is_kernel[frames[0]] else _USER
        if not self._profile.has_call_stacks:
            return misc, b""
        return misc, struct.pack(f"={len(chain) + 1}Q", len(chain), *chain)


class Records:
    """All records of a profile, as blocks of bytes."""

    def __init__(self, profile: Profile, attrs: Sequence[Attribute]) -> None:
        self._profile = profile
        self._attrs = attrs
        self.build_ids = BuildIds(profile)
        self.first_time = self.last_time = 0
        self._makers: dict[int, Callable[[TaskEvent], bytes]] = {
            TaskKind.MAP: self._map,
            TaskKind.COMM: lambda task: self._comm(task, 0),
            TaskKind.EXEC: lambda task: self._comm(task, _MISC_COMM_EXEC),
            TaskKind.FORK: lambda task: self._task(_FORK, task),
            TaskKind.EXIT: lambda task: self._task(_EXIT, task),
        }

    def blocks(self) -> Iterator[bytes]:
        """Some records at a time. Only then first_time and last_time are known."""
        block: list[bytes] = []
        rounds = 0
        for record in self._all():
            block.append(record)
            if len(block) >= _RECORDS_A_BLOCK:
                rounds += 1
                if rounds % _BLOCKS_A_ROUND == 0:
                    block.append(_record(_FINISHED_ROUND, 0, b""))
                yield b"".join(block)
                block.clear()
        yield b"".join(block)

    def _all(self) -> Iterator[bytes]:
        if not self._attrs:
            return
        yield from self._kernel_maps()
        yield from self._in_order()
        yield from self._losses()

    def _in_order(self) -> Iterator[bytes]:
        """Samples, and before each what happened earlier."""
        tasks = self._profile.task_events()
        task = next(tasks, None)
        next_time = task.time if task else _NEVER
        for time, sample in self._samples():
            while next_time <= time and task is not None:
                yield self._makers[task.kind](task)
                task = next(tasks, None)
                next_time = task.time if task else _NEVER
            yield sample
        while task is not None:
            yield self._makers[task.kind](task)
            task = next(tasks, None)

    # ---- samples ----

    def _samples(self) -> Iterator[tuple[int, bytes]]:
        stacks = _Stacks(self._profile)
        ids = {attr.event: attr.id for attr in self._attrs}
        add_extra = self._add_extra()
        pack, size_of_fields = _SAMPLE_FIELDS.pack, _SAMPLE_FIELDS.size
        names = ("time", "ip", "period", "pid", "tid", "cpu", "event", "stack")
        time = 0
        for row in self._profile.rows(*names):
            time, ip, period, pid, tid, cpu, event, stack = row
            misc, tail = stacks[stack]
            if add_extra is not None:
                tail = add_extra(event, tail)
            size = size_of_fields + len(tail)
            fields = pack(_SAMPLE, misc, size, ids[event], ip, pid, tid, time, cpu, 0, period)
            self.first_time = self.first_time or time
            yield time, fields + tail
        self.last_time = time

    def _add_extra(self) -> Callable[[int, bytes], bytes] | None:
        """Puts what was recorded beside the samples behind each one's call chain, in order."""
        extras = self._profile.extras()
        if extras is None:
            return None
        is_raw = {attr.event: bool(attr.sample_type & _RAW) for attr in self._attrs}

        def add(event: int, tail: bytes) -> bytes:
            extra = next(extras)
            if is_raw[event]:
                most = _MOST_RECORD - _SAMPLE_FIELDS.size - len(tail) - 16
                extra = extra if len(extra) <= most else b""
                fill = bytes(-(len(extra) + 4) % 8)
                return tail + struct.pack("=I", len(extra)) + extra + fill
            return tail + struct.pack("=Q", len(extra) // 24) + extra

        return add

    # ---- processes ----

    def _side(self, kind: int, misc: int, body: bytes, pid: int, tid: int, time: int) -> bytes:
        return _record(kind, misc, body + _TRAILER.pack(pid, tid, time, 0, 0, self._attrs[0].id))

    def _comm(self, task: TaskEvent, misc: int) -> bytes:
        name = self._profile.string_bytes(task.value)
        body = struct.pack("=ii", task.pid, task.tid) + padded(name)
        return self._side(_COMM_RECORD, misc, body, task.pid, task.tid, task.time)

    def _task(self, kind: int, task: TaskEvent) -> bytes:
        body = _TASK_FIELDS.pack(task.pid, task.ppid, task.tid, task.ptid, task.time)
        return self._side(kind, 0, body, task.pid, task.tid, task.time)

    def _map(self, task: TaskEvent) -> bytes:
        mapping = self._profile.mapping(task.value)
        build_id = self.build_ids.of_mapping(task.value)
        identity = _identity(mapping, build_id)
        body = _MAP_FIELDS.pack(
            *(mapping.pid, mapping.pid, mapping.start, mapping.end - mapping.start),
            *(mapping.offset, identity, _PROT_READ_EXEC, _MAP_PRIVATE),
        ) + padded(self._profile.mapping_path(task.value))
        misc = _USER | (_MISC_BUILD_ID if build_id else 0)
        return self._side(_MMAP2_RECORD, misc, body, task.pid, task.tid, task.time)

    def _kernel_maps(self) -> Iterator[bytes]:
        """Where the kernel and its modules lie, which `perf` wants to name their functions."""
        if not any(self._profile.kernel_addresses()):
            return
        for found in kernel_maps(self._profile.machine):
            body = _KERNEL_FIELDS.pack(-1, 0, found.start, found.length, found.offset)
            body += padded(found.name)
            yield self._side(_MMAP_RECORD, _KERNEL, body, -1, 0, 0)

    def _losses(self) -> Iterator[bytes]:
        for attr in self._attrs:
            lost = self._profile.lost(attr.event)
            if lost:
                body = struct.pack("=QQ", attr.id, lost)
                trailer = _TRAILER.pack(0, 0, self.last_time, 0, 0, attr.id)
                yield _record(_LOST, 0, body + trailer)


def _identity(mapping: Mapping, build_id: bytes) -> bytes:
    """What tells the file from others: its build-id, or its inode."""
    if build_id:
        return _BUILD_ID.pack(len(build_id), 0, build_id)
    major, minor = mapping.device
    return _INODE.pack(major, minor, mapping.inode, 0)
