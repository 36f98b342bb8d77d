"""Fields of tracepoints: every form that a format file declares, and rows of real ones."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Any

import pytest
from support import privileged

import kperf
from kperf import Error
from kperf.tracepoint import Format, copy_field, field_of

_TEXT = """name: made_up
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:s8 small;\toffset:8;\tsize:1;\tsigned:1;
\tfield:u8 tiny;\toffset:9;\tsize:1;\tsigned:0;
\tfield:short half;\toffset:10;\tsize:2;\tsigned:1;
\tfield:unsigned int word;\toffset:12;\tsize:4;\tsigned:0;
\tfield:long wide;\toffset:16;\tsize:8;\tsigned:1;
\tfield:void * place;\toffset:24;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:32;\tsize:16;\tsigned:0;
\tfield:unsigned long args[2];\toffset:48;\tsize:16;\tsigned:0;
\tfield:int signs[2];\toffset:64;\tsize:8;\tsigned:1;
\tfield:__u8 bytes[4];\toffset:72;\tsize:4;\tsigned:0;
\tfield:__data_loc char[] path;\toffset:76;\tsize:4;\tsigned:0;
\tfield:__data_loc u64[] numbers;\toffset:80;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] word_behind;\toffset:84;\tsize:4;\tsigned:0;
\tfield:char named[TASK_COMM_LEN];\toffset:88;\tsize:8;\tsigned:0;
\tfield:struct timespec64 when;\toffset:96;\tsize:16;\tsigned:0;
\tfield:bool flag;\toffset:112;\tsize:1;\tsigned:0;
\tfield:char rest[];\toffset:144;\tsize:0;\tsigned:0;

print fmt: "%d", REC->small
"""


def _raw() -> memoryview:
    head = struct.pack("=HBBi", 7, 1, 0, 4711)
    body = struct.pack("=bBhIqQ", -1, 255, -2, 0xFFFFFFFF, -(1 << 40), 0xFFFF888000001000)
    arrays = struct.pack("=16s2Q2i4B", b"bash\0junk", 1, 1 << 63, -5, 6, 1, 2, 0, 4)
    words = struct.pack("=III", 120 | 8 << 16, 128 | 16 << 16, (118 - 88) | 2 << 16)
    more = struct.pack("=8sqqB", b"eightlen", 3, 4, 1).ljust(120 - 88, b"\0")
    data = bytearray(head + body + arrays + words + more)
    data[118:120] = b"r\0"
    data += b"/tmp/ab\0" + struct.pack("=QQ", 9, 1 << 40) + b"to the end"
    return memoryview(bytes(data))


class Row(kperf.ImplPmuData):
    """A row with the fields of the made-up format."""

    __slots__ = ()
    rawData = _raw()
    format = Format("made:up", _TEXT)
    evt = "made:up"  # type: ignore[assignment]


@pytest.fixture
def row() -> Row:
    return Row(None, 0)


def test_every_form_is_decoded() -> None:
    assert Row.format.decode(Row.rawData) == {
        "common_type": 7,
        "common_flags": 1,
        "common_preempt_count": 0,
        "common_pid": 4711,
        "small": -1,
        "tiny": 255,
        "half": -2,
        "word": 0xFFFFFFFF,
        "wide": -(1 << 40),
        "place": 0xFFFF888000001000,
        "comm": "bash",
        "args": (1, 1 << 63),
        "signs": (-5, 6),
        "bytes": b"\1\2\0\4",
        "path": "/tmp/ab",
        "numbers": (9, 1 << 40),
        "word_behind": "r",
        "named": "eightlen",
        "when": struct.pack("=qq", 3, 4),
        "flag": 1,
        "rest": "to the end",
    }


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("small", ctypes.c_int64, -1),
        ("small", ctypes.c_uint16, 0xFFFF),
        ("tiny", ctypes.c_int32, 255),
        ("half", ctypes.c_short, -2),
        ("word", ctypes.c_uint64, 0xFFFFFFFF),
        ("wide", ctypes.c_longlong, -(1 << 40)),
        ("place", ctypes.c_void_p, 0xFFFF888000001000),
        ("common_pid", ctypes.c_uint, 4711),
    ],
)
def test_integers_keep_their_sign(row: Row, name: str, kind: Any, value: int) -> None:
    for give in (ctypes.pointer, ctypes.byref):
        target = kind(85)
        assert kperf.get_field(row, name, give(target)) == 0
        assert target.value == value


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("comm", b"bash\0junk"), ("path", b"/tmp/ab"), ("bytes", b"\1\2\0\4"), ("small", b"\xff")],
)
def test_buffers_get_the_bytes_and_zeros_behind(row: Row, name: str, wanted: bytes) -> None:
    for buffer in (ctypes.create_string_buffer(b"?" * 64, 64), bytearray(b"?" * 64)):
        assert kperf.get_field(row, name, buffer) == 0
        assert bytes(buffer) == wanted.ljust(64, b"\0")


def test_an_array_of_numbers(row: Row) -> None:
    target = (ctypes.c_uint64 * 2)()
    assert kperf.get_field(row, "args", target) == 0
    assert list(target) == [1, 1 << 63]


def test_a_bare_address_gets_the_field_alone(row: Row) -> None:
    buffer = ctypes.create_string_buffer(b"?" * 16, 16)
    assert kperf.get_field(row, "wide", ctypes.cast(buffer, ctypes.c_void_p)) == 0
    assert buffer.raw == struct.pack("=q", -(1 << 40)) + b"?" * 8


@pytest.mark.parametrize("name", ["comm", "path", "args", "wide"])
def test_a_small_buffer_is_left_untouched(row: Row, name: str) -> None:
    buffer = ctypes.create_string_buffer(b"???", 3)
    assert kperf.get_field(row, name, buffer) == Error.INVALID_FIELD
    assert buffer.raw == b"???"
    assert name in kperf.error()
    assert "give it at least" in kperf.error()


def test_an_unknown_field_names_the_nearest(row: Row) -> None:
    target = ctypes.c_int(3)
    assert kperf.get_field(row, "commn_pid", ctypes.pointer(target)) == Error.INVALID_FIELD
    assert target.value == 3
    assert kperf.error() == (
        "made:up has no field 'commn_pid': did you mean common_pid, common_type, comm?"
    )
    assert kperf.get_field_exp(row, "nonsense") is None
    assert kperf.errorno() == Error.INVALID_FIELD


@pytest.mark.parametrize("value", [None, 3, b"bytes", "text", ctypes.c_char_p(b"x"), 1.5])
def test_what_is_no_buffer_is_a_type_error(row: Row, value: Any) -> None:
    with pytest.raises(TypeError):
        kperf.get_field(row, "comm", value)
    with pytest.raises(TypeError):
        kperf.get_field("row", "comm", ctypes.create_string_buffer(16))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kperf.get_field_exp(row, 3)  # type: ignore[arg-type]


def test_null_is_an_error_and_no_crash(row: Row) -> None:
    for null in (ctypes.c_void_p(), ctypes.POINTER(ctypes.c_int)()):
        assert kperf.get_field(row, "wide", null) == Error.INVALID_ARGUMENT


def test_a_sample_that_is_too_short(row: Row) -> None:
    field, raw = field_of(row, "path")
    for length in range(len(raw)):
        if length < 128:
            with pytest.raises(kperf.KperfError, match="the sample ends before its field path"):
                field.value_of(raw[:length])
        else:
            assert field.value_of(raw[:length]) == "/tmp/ab"


def test_how_a_field_is_described(row: Row) -> None:
    field = kperf.get_field_exp(row, "comm")
    assert isinstance(field, kperf.SampleRawField)
    assert (field.field_name, field.field_str) == ("comm", "char comm[16]")
    assert (field.fieldName, field.fieldStr) == ("comm", "char comm[16]")
    assert (field.offset, field.size, field.is_signed, field.isSigned) == (32, 16, False, False)
    signed = kperf.get_field_exp(row, "half")
    assert signed is not None
    assert signed.is_signed


# ---- real ones ----


@privileged
def test_the_contracts_example() -> None:
    sampling = kperf.Sampling("sched:sched_switch")
    with sampling:
        sampling.enable()
        for _ in range(50):
            time.sleep(0.001)
        sampling.disable()
        data = sampling.read()
    left = []
    for row in data.iter:
        next_comm = ctypes.create_string_buffer(128)
        assert kperf.get_field(row, "next_comm", next_comm) == 0
        prev_pid = ctypes.c_uint(0)
        assert kperf.get_field(row, "prev_pid", ctypes.pointer(prev_pid)) == 0
        fields = row.fields
        assert next_comm.value.decode("utf-8", "replace") == fields["next_comm"]
        assert prev_pid.value == fields["prev_pid"]
        assert row.tid in (prev_pid.value, -1)  # of one that is just ending the kernel says -1
        left.append(fields["prev_pid"])
    # Some kernels tell of no switch away from a CPU's idle task (perf misses them, too): so who
    # goes to sleep is looked for, not who wakes up.
    assert left.count(os.getpid()) >= 50
    described = kperf.get_field_exp(data[0], "next_comm")
    assert described is not None
    assert described.size == 16
    row = data[0]
    data.free()
    assert kperf.get_field(row, "next_comm", ctypes.create_string_buffer(16)) == Error.DATA_FREED


@privileged
def test_a_path_by_its_location(tmp_path: Any) -> None:
    command = kperf.Command(["/bin/true", "one"])
    with command, kperf.Sampling("sched:sched_process_exec", command=command) as sampling:
        sampling.enable()
        command.start()
        os.waitpid(command.pid, 0)
        rows = list(sampling.read())
        paths = [row.fields["filename"] for row in rows]
        buffer = ctypes.create_string_buffer(256)
        assert kperf.get_field(rows[0], "filename", buffer) == 0
    assert paths == ["/bin/true"]
    assert buffer.value == b"/bin/true"


@privileged
def test_events_of_other_kinds_have_no_fields() -> None:
    with kperf.Sampling(["sched:sched_switch", "context-switches"], period=1) as sampling:
        sampling.enable()
        time.sleep(0.01)
        data = sampling.read()
        software = next(row for row in data if row.evt == "context-switches")
        assert software.rawData is None
        assert software.fields == {}
        with pytest.raises(kperf.KperfError, match="has no raw data"):
            copy_field(software, "prev_pid", ctypes.c_int())
        del software
        data.free()


def test_counts_have_no_fields() -> None:
    with kperf.Counting("task-clock", pids=[os.getpid()]) as counting:
        row = counting.read()[0]
    assert kperf.get_field(row, "prev_pid", ctypes.pointer(ctypes.c_int())) == Error.INVALID_FIELD
    assert "SAMPLING" in kperf.error()


def test_this_machines_formats_are_all_understood() -> None:
    """Where the formats may be read at all."""
    machine = kperf.Machine()
    try:
        systems = machine.trace_systems()
    except kperf.KperfError:
        pytest.skip("tracefs is closed to this user")
    for system in [name for name in systems if name in ("sched", "raw_syscalls", "irq", "task")]:
        for name in machine.trace_names(system):
            text = machine.trace_format(system, name) or ""
            form = Format(f"{system}:{name}", text)
            assert len(form.fields) == text.count("\tfield:")
