"""How messages lie in the file: a chunk is a few neighbouring messages of one partition, compressed together.

Messages of one kind have the same header names and mostly the same lengths of values: such a shape is stored once per chunk, and
its values are cut by one compiled struct. Raw layout, big-endian: u32 messages, u32 shapes; per shape u32 bytes and headers whose
values are the u32 lengths of values; per message u32 shape, u32 body bytes; per message its values; per message its body.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cramjam

from bus.port import Record
from heliograph.errors import DecodeError
from heliograph.message import HeaderList, Message, decode_headers, encode_headers

CHUNK_BYTES_TARGET = 512 * 1024
_ZSTD_LEVEL = 1
_LENGTH = struct.Struct(">I")
_PAIR = struct.Struct(">II")


class DamagedChunkError(Exception):
    """The stored bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages of one partition as they are stored."""

    count: int
    raw_bytes: int
    crc: int
    """CRC-32 of `payload`."""
    payload: bytes


def split(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Runs of about CHUNK_BYTES_TARGET at most, and of one message at least."""
    start = size = 0
    for i, message in enumerate(messages):
        if i > start and size + message.size_bytes > CHUNK_BYTES_TARGET:
            yield messages[start:i]
            start, size = i, 0
        size += message.size_bytes
    if start < len(messages):
        yield messages[start:]


def encode(messages: Sequence[Message]) -> Chunk:
    """Messages of one partition, in order."""
    shapes: dict[tuple[tuple[str, int], ...], int] = {}
    entries = [
        _PAIR.pack(shapes.setdefault(tuple([(k, len(v)) for k, v in m.headers]), len(shapes)), len(m.body))
        for m in messages
    ]
    table = [encode_headers(tuple((k, _LENGTH.pack(n)) for k, n in shape)) for shape in shapes]
    values = [v for m in messages for _, v in m.headers]
    parts = [_PAIR.pack(len(messages), len(shapes)), *(_LENGTH.pack(len(t)) + t for t in table), *entries, *values]
    raw = b"".join([*parts, *(m.body for m in messages)])
    payload = bytes(cramjam.zstd.compress(raw, level=_ZSTD_LEVEL))
    return Chunk(len(messages), len(raw), zlib.crc32(payload), payload)


def decode(chunk: Chunk, topic: str, partition: int, first_offset: int, append_time_ms: int) -> list[Record]:
    """The records of a chunk; raises DamagedChunkError."""
    try:
        parts = _parts(chunk)
    except (DecodeError, struct.error, cramjam.DecompressionError, ValueError, IndexError) as error:
        raise DamagedChunkError(str(error)) from error
    return [
        Record(topic, partition, first_offset + i, append_time_ms, headers, body)
        for i, (headers, body) in enumerate(parts)
    ]


def _parts(chunk: Chunk) -> list[tuple[HeaderList, bytes]]:
    if zlib.crc32(chunk.payload) != chunk.crc:
        raise ValueError("its checksum does not match")
    raw = bytes(cramjam.zstd.decompress(chunk.payload, output_len=chunk.raw_bytes))
    count, shape_count = _PAIR.unpack_from(raw)
    shapes, at = _shapes(raw, shape_count)
    entries = list(_PAIR.iter_unpack(raw[at : at + _PAIR.size * count]))
    at += _PAIR.size * count
    body = at + sum(shapes[shape][1].size for shape, _ in entries)
    if count != chunk.count or len(raw) != chunk.raw_bytes or len(raw) != body + sum(n for _, n in entries):
        raise ValueError("its lengths do not match")
    parts: list[tuple[HeaderList, bytes]] = []
    for shape, body_bytes in entries:
        keys, values = shapes[shape]
        parts.append((tuple(zip(keys, values.unpack_from(raw, at), strict=True)), raw[body : body + body_bytes]))
        at += values.size
        body += body_bytes
    return parts


def _shapes(raw: bytes, count: int) -> tuple[list[tuple[tuple[str, ...], struct.Struct]], int]:
    """Names and the cutter of values of each shape, and where the shapes end."""
    shapes = []
    at = _PAIR.size
    for _ in range(count):
        (size,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + size
        shape = decode_headers(raw[at - size : at])
        cutter = struct.Struct("".join(f"{int.from_bytes(n, 'big')}s" for _, n in shape))
        shapes.append((tuple(k for k, _ in shape), cutter))
    return shapes, at
