"""Samples out of a perf.data file, as if they had just been taken."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from kperf._core import ffi, lib
from kperf._native import last_failure, plain_error
from kperf.attrs import SymbolMode
from kperf.data import EventInfo
from kperf.errors import Error, error
from kperf.events.event import CORE, SOFTWARE, TRACEPOINT, Event
from kperf.machine import Machine
from kperf.perfdata.file import AUXTRACE, COMPRESSED, Attribute, PerfDataFile
from kperf.samples import SampleData, Shown
from kperf.symbols.image import BadFile
from kperf.symbols.kernel import kernel_symbols
from kperf.topo import Topology

# Bits of sample_type (perf_event_open(2)).
_ADDR, _CALLCHAIN, _RAW, _BRANCH_STACK = 1 << 3, 1 << 5, 1 << 10, 1 << 11

_BRANCH_ANY, _BRANCH_INDEX = 1 << 3, 1 << 17  # of branch_sample_type

_STORE_BYTES = 1 << 36  # address space, of which only what is used costs memory

# The record of the kernel's own mapping: where its first symbol was, in the field for the offset.
# Behind it comes the name; of the newer record, first the file's identity and what is permitted.
_BEFORE_NAME = {1: 0, 10: 32}  # PERF_RECORD_MMAP, PERF_RECORD_MMAP2
_KERNEL_MODE = 1
_KERNEL_MAP = struct.Struct("<IHHiIQQQ")  # header, pid, tid, start, length, offset
_KERNEL_NAME = "[kernel.kallsyms]"


class Recorded(NamedTuple):
    """A recording.

    data      its samples
    command   the command line that recorded it, as words; empty where it is not known
    hostname  where; "" where it is not known
    kernel    under which release of the kernel; "" where it is not known
    """

    data: SampleData
    command: tuple[str, ...]
    hostname: str
    kernel: str


class _Recording:
    """The core's reader of records."""

    def __init__(self, file: PerfDataFile, flags: int, branch_types: int) -> None:
        attributes = file.attributes
        raw = ffi.new("struct kp_recorded_event[]", len(attributes))
        kept = [_fill(event, attribute) for event, attribute in zip(raw, attributes)]
        sampling = ffi.new("struct kp_sampling *")
        sampling.flags = flags
        sampling.branch_sample_type = branch_types
        sampling.store_bytes = _STORE_BYTES
        out = ffi.new("struct kp_recording **")
        if lib.kp_recording_create(raw, len(attributes), sampling, out) != 0:
            raise plain_error(last_failure())
        del kept
        self._raw = ffi.gc(out[0], lib.kp_recording_destroy)
        self._file = file

    def feed(self) -> bool:
        """Takes all records; whether the file ended in the middle of one."""
        file = self._file
        used, stopped = ffi.new("size_t *"), ffi.new("uint32_t *")
        at = file.data_at
        while at < file.data_end:
            part = file.part(at, min(_BYTES_AT_ONCE, file.data_end - at))
            if lib.kp_recording_feed(self._raw, part, len(part), used, stopped) != 0:
                self._refuse_record()
            at += used[0]
            if stopped[0]:
                at = self._pass_over(at)
            elif used[0] == 0:
                return True
        return False

    def _pass_over(self, at: int) -> int:
        """Where the records go on behind those that are perf's own."""
        for record in self._file.records(at):
            if record.at > at and record.type < _FIRST_OF_PERF:
                return record.at
            if record.type in COMPRESSED:
                self._file.refuse("its records are compressed", "record it without -z")
        return self._file.data_end

    def _refuse_record(self) -> NoReturn:
        self._file.refuse(f"a damaged perf.data file: {last_failure().message}")

    def finish(self) -> Any:
        out = ffi.new("struct kp_samples **")
        if lib.kp_recording_finish(self._raw, out) != 0:
            raise plain_error(last_failure())
        return out[0]


_FIRST_OF_PERF = 64
_BYTES_AT_ONCE = 1 << 22  # more than a record can have


def _fill(event: Any, attribute: Attribute) -> Any:
    """Fills one kp_recorded_event; returns what must live as long as it."""
    event.sample_type = attribute.sample_type
    event.read_format = attribute.read_format
    event.branch_sample_type = attribute.branch_sample_type
    event.period = attribute.period
    event.sample_id_all = attribute.sample_id_all
    event.build_id = attribute.build_id
    ids = ffi.new("uint64_t[]", list(attribute.ids))
    event.ids = ids
    event.n_ids = len(attribute.ids)
    return ids


# ---- build-ids ----


def _add_build_ids(raw: Any, known: dict[str, bytes]) -> None:
    """What the file's end tells of the files that its records name without a build-id."""
    for number in range(raw.n_mappings):
        mapping = raw.mappings[number]
        if mapping.build_id_size:
            continue
        path = ffi.string(raw.strings + raw.string_offset[mapping.path]).decode("utf-8", "replace")
        build_id = known.get(path, b"").rstrip(b"\0")
        mapping.build_id[0 : len(build_id)] = build_id
        mapping.build_id_size = len(build_id)


# ---- the kernel ----


def _first_symbol(file: PerfDataFile) -> int | None:
    """Where the kernel's first symbol was; None where the file does not tell."""
    for record in file.records():
        before = _BEFORE_NAME.get(record.type)
        if before is None or record.size <= _KERNEL_MAP.size + before:
            continue
        raw = file.whole(record.at, record.size)
        _, misc, _, _, _, _, _, offset = _KERNEL_MAP.unpack_from(raw)
        name = raw[_KERNEL_MAP.size + before :].partition(b"\0")[0].decode("utf-8", "replace")
        if misc & 7 == _KERNEL_MODE and name.startswith(_KERNEL_NAME):
            return int(offset)
    return None


_OTHER_KERNEL = BadFile(
    "kernel symbols are left out, as another kernel runs here, or the same one was started again",
    "look at the file where and while it was recorded",
)


def _kernel_is_another(file: PerfDataFile, machine: Machine) -> BadFile | None:
    """Why kernel addresses mean nothing here; None where they do."""
    first = _first_symbol(file)
    if file.kernel != machine.kernel or first is None:
        return _OTHER_KERNEL
    found = kernel_symbols(machine.root.rstrip("/"))
    if found.is_hidden:
        return None  # that is what is told then
    entry = found.lookup([first])[0]
    return None if entry is not None and entry.start == first else _OTHER_KERNEL


# ---- the whole ----


_KINDS = {1: SOFTWARE, 2: TRACEPOINT}  # by perf_event_attr.type


def _event_of(attribute: Attribute) -> EventInfo:
    """An event as far as its recording tells: enough to be recorded again."""
    name = attribute.name or f"type={attribute.type},config={attribute.config:#x}"
    kind = _KINDS.get(attribute.type, CORE)
    event = Event(name, kind, attribute.type, attribute.config, period=attribute.period)
    return EventInfo(name, -1, event=event)


def _branch_filter(attributes: Sequence[Attribute]) -> int:
    """Which branches were recorded, of all events together."""
    found = 0
    for attribute in attributes:
        if attribute.sample_type & _BRANCH_STACK:
            found |= attribute.branch_sample_type & ~_BRANCH_INDEX or _BRANCH_ANY
    return found


def _check_layout(file: PerfDataFile) -> None:
    """Samples of several events can be told apart only by what all of them carry."""
    sampled = {attribute.sample_type & _TELLS_EVENT for attribute in file.attributes}
    if len(file.attributes) > 1 and (len(sampled) > 1 or 0 in sampled):
        file.refuse("its events cannot be told apart", "record them one by one")


_TELLS_EVENT = 1 << 6 | 1 << 16  # ID and IDENTIFIER


def read_recorded(
    path: str, *, machine: Machine | None = None, symbol_mode: int = SymbolMode.RESOLVE_ELF
) -> Recorded:
    """The samples of a perf.data file, of kperf or of perf. Raises `KperfError`.

    Samples of AUX areas (SPE) are not among them: see `decode_spe`.
    """
    machine = machine or Machine()
    with PerfDataFile(path) as file:
        _check_layout(file)
        kinds = 0
        for attribute in file.attributes:
            kinds |= attribute.sample_type
        branch_types = _branch_filter(file.attributes)
        flags = sum(int(flag) for bit, flag in _FLAGS if kinds & bit)
        recording = _Recording(file, flags, branch_types)
        is_cut = recording.feed() or file.is_cut
        raw = recording.finish()
        _add_build_ids(raw, file.build_ids)
        shown = Shown(
            symbol_mode,
            call_stack=bool(kinds & _CALLCHAIN),
            branches=branch_types,
            no_kernel=_kernel_is_another(file, machine),
        )
        data = SampleData(
            raw,
            list(map(_event_of, file.attributes)),
            machine,
            Topology(machine),
            shown,
            ("the file is cut: records are missing",) if is_cut else (),
        )
        if not len(data) and not is_cut:
            raise error(
                Error.INVALID_ARGUMENT,
                f"{path} holds no samples",
                hint="record a program that runs for longer"
                if not any(record.type == AUXTRACE for record in file.records())
                else "look at it with 'kperf spe --decode'",
            )
        return Recorded(data, file.command, file.hostname, file.kernel)


_FLAGS = (
    (_ADDR, lib.KP_SAMPLING_ADDR),
    (_CALLCHAIN, lib.KP_SAMPLING_CALLCHAIN),
    (_RAW, lib.KP_SAMPLING_RAW),
)
