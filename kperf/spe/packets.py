"""The packets of an SPE stream one by one, as a debugger of streams wants to see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kperf._core import ffi, lib

_PACKETS = 1 << 14  # read at a time

_KINDS: dict[int, str] = {
    lib.KP_SPE_BAD: "bad",
    lib.KP_SPE_PAD: "pad",
    lib.KP_SPE_END: "end",
    lib.KP_SPE_TIMESTAMP: "timestamp",
    lib.KP_SPE_EVENTS: "events",
    lib.KP_SPE_SOURCE: "source",
    lib.KP_SPE_CONTEXT: "context",
    lib.KP_SPE_OPERATION: "operation",
    lib.KP_SPE_ADDRESS: "address",
    lib.KP_SPE_COUNTER: "counter",
}


class Packet(NamedTuple):
    """One packet. `kind` "bad": a byte that begins none; "pad": padding or an alignment."""

    offset: int  # bytes from the beginning of the stream
    size: int  # bytes, with the header
    kind: str
    number: int  # which address, counter, context or class of operations
    payload: int


def packets(stream: Any) -> Iterator[Packet]:
    """The packets of a buffer of raw AUX bytes."""
    source = ffi.from_buffer(stream)
    raw, n = ffi.new("struct kp_spe_packet[]", _PACKETS), ffi.new("size_t *")
    at = 0
    while at < len(source):
        at += lib.kp_spe_packets(source + at, len(source) - at, at, raw, _PACKETS, n)
        for i in range(n[0]):
            one = raw[i]
            yield Packet(one.at, one.size, _KINDS[one.kind], one.index, one.payload)
