"""Confluent framing: a zero byte, the schema id as four bytes big-endian, then the Avro body."""

from __future__ import annotations

import struct

from .errors import DecodeError

_FRAME = struct.Struct(">BI")
FRAME_BYTES = _FRAME.size


def frame(schema_id: int) -> bytes:
    """The five bytes that stand before an Avro body."""
    return _FRAME.pack(0, schema_id)


def schema_id_of(message: bytes | memoryview) -> int:
    """The schema id of a framed message; raises DecodeError when the frame is not one."""
    if len(message) < FRAME_BYTES:
        raise DecodeError("not_avro", f"{len(message)} bytes are too few for a frame")
    magic, schema_id = _FRAME.unpack_from(message)
    if magic != 0:
        raise DecodeError("not_avro", f"the first byte is {magic}, not 0")
    return int(schema_id)


def zigzag(value: int) -> bytes:
    """Avro's int and long: zigzag, then base-128 varint."""
    n = (value << 1) ^ (value >> 63)
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n > 0x7F:
        out.append((n & 0x7F) | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)
