"""A sealed batch as it stands on the bus: topic, partition, headers, framed body; and many of them as one HTTP body."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import google_crc32c

from .errors import DecodeError
from .identity import BatchId

HeaderList = tuple[tuple[str, bytes], ...]

_BOOK = struct.Struct(">IIQ")
_LENGTH = struct.Struct(">I")
BUNDLE_CONTENT_TYPE = "application/vnd.heliograph.bundle"


@dataclass(frozen=True, slots=True)
class BookEntry:
    """What a batch says of one event minute."""

    minute: int
    """Minutes since the epoch."""
    count: int
    hash_sum: int


@dataclass(frozen=True, slots=True)
class Headers:
    """What every message says of itself without being decoded."""

    tenant: str
    service: str
    batch_id: BatchId
    attempt: int
    """0 at the first send; greater means that the log may hold the batch already."""
    count: int
    """Items: log records, spans or samples."""
    time_min_ns: int
    time_max_ns: int
    schema: bytes
    """Fingerprint of the writer's schema, 16 bytes."""
    crc32c: int
    """Of the framed body."""
    books: tuple[BookEntry, ...]

    def encode(self) -> HeaderList:
        """As pairs, in a fixed order; numbers are big-endian."""
        return (
            ("hg.tenant", self.tenant.encode()),
            ("hg.service", self.service.encode()),
            ("hg.producer_id", self.batch_id.producer_id),
            ("hg.sequence", self.batch_id.sequence.to_bytes(8, "big")),
            ("hg.attempt", self.attempt.to_bytes(4, "big")),
            ("hg.count", self.count.to_bytes(4, "big")),
            ("hg.time_min_ns", self.time_min_ns.to_bytes(8, "big", signed=True)),
            ("hg.time_max_ns", self.time_max_ns.to_bytes(8, "big", signed=True)),
            ("hg.schema", self.schema),
            ("hg.crc32c", self.crc32c.to_bytes(4, "big")),
            ("hg.books", b"".join(_BOOK.pack(b.minute, b.count, b.hash_sum) for b in self.books)),
        )

    @classmethod
    def decode(cls, pairs: HeaderList) -> Headers:
        """Raises DecodeError("bad_headers") when one is missing or malformed."""
        found = dict(pairs)
        try:
            producer_id = found["hg.producer_id"]
            if len(producer_id) != 16:
                raise ValueError(f"hg.producer_id has {len(producer_id)} bytes, not 16")
            return cls(
                found["hg.tenant"].decode(),
                found["hg.service"].decode(),
                BatchId(producer_id, int.from_bytes(found["hg.sequence"], "big")),
                int.from_bytes(found["hg.attempt"], "big"),
                int.from_bytes(found["hg.count"], "big"),
                int.from_bytes(found["hg.time_min_ns"], "big", signed=True),
                int.from_bytes(found["hg.time_max_ns"], "big", signed=True),
                found["hg.schema"],
                int.from_bytes(found["hg.crc32c"], "big"),
                tuple(BookEntry(*entry) for entry in _BOOK.iter_unpack(found["hg.books"])),
            )
        except (KeyError, ValueError, struct.error) as error:
            raise DecodeError("bad_headers", f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Message:
    """One batch on its way: what a transport sends and a bus appends, unchanged."""

    topic: str
    partition: int
    headers: HeaderList
    body: bytes

    @property
    def size_bytes(self) -> int:
        """Body, keys and values: what every limit counts."""
        return len(self.body) + sum(len(k) + len(v) for k, v in self.headers)

    def header(self, key: str) -> bytes | None:
        """The first header of that name."""
        return next((v for k, v in self.headers if k == key), None)

    def again(self) -> Message:
        """The same batch with the attempt counted up: for every send after an ambiguous one."""
        attempt = int.from_bytes(self.header("hg.attempt") or b"\0", "big") + 1
        headers = tuple((k, attempt.to_bytes(4, "big") if k == "hg.attempt" else v) for k, v in self.headers)
        return replace(self, headers=headers)


def partition_of(key: bytes, partitions: int) -> int:
    """Which partition a trace id (or the resource, where there is none) belongs to."""
    return zlib.crc32(key) % partitions


def checked_crc(body: bytes, headers: HeaderList) -> bool:
    """Whether the body carries a CRC32C and matches it."""
    expected = next((v for k, v in headers if k == "hg.crc32c"), None)
    return expected is not None and google_crc32c.value(body) == int.from_bytes(expected, "big")


def encode_headers(headers: HeaderList) -> bytes:
    """Headers as bytes: count, then length-prefixed keys and values."""
    out = [_LENGTH.pack(len(headers))]
    for key, value in headers:
        name = key.encode()
        out += (_LENGTH.pack(len(name)), name, _LENGTH.pack(len(value)), value)
    return b"".join(out)


def decode_headers(data: bytes) -> HeaderList:
    """The inverse of encode_headers; raises DecodeError."""
    headers, end = _headers_at(memoryview(data), 0)
    if end != len(data):
        raise DecodeError("bad_headers", "bytes after the last header")
    return headers


def encode_bundle(messages: Sequence[Message]) -> bytes:
    """Messages as one body: per message length-prefixed topic, partition, headers, length-prefixed body."""
    out: list[bytes] = []
    for m in messages:
        topic = m.topic.encode()
        out += (_LENGTH.pack(len(topic)), topic, _LENGTH.pack(m.partition), encode_headers(m.headers))
        out += (_LENGTH.pack(len(m.body)), m.body)
    return b"".join(out)


def decode_bundle(data: bytes) -> list[Message]:
    """The inverse of encode_bundle; raises DecodeError("bad_bundle") on anything cut or malformed."""
    view = memoryview(data)
    messages: list[Message] = []
    at = 0
    try:
        while at < len(view):
            topic, at = _chunk_at(view, at)
            (partition,) = _LENGTH.unpack_from(view, at)
            headers, at = _headers_at(view, at + 4)
            body, at = _chunk_at(view, at)
            messages.append(Message(topic.decode(), partition, headers, body))
    except (struct.error, UnicodeDecodeError) as error:
        raise DecodeError("bad_bundle", str(error)) from error
    return messages


def _chunk_at(view: memoryview, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(view, at)
    at += 4
    if at + length > len(view):
        raise DecodeError("bad_bundle", "cut short")
    return bytes(view[at : at + length]), at + length


def _headers_at(view: memoryview, at: int) -> tuple[HeaderList, int]:
    try:
        (count,) = _LENGTH.unpack_from(view, at)
        at += 4
        headers = []
        for _ in range(count):
            key, at = _chunk_at(view, at)
            value, at = _chunk_at(view, at)
            headers.append((key.decode(), value))
    except (struct.error, UnicodeDecodeError) as error:
        raise DecodeError("bad_headers", str(error)) from error
    return tuple(headers), at
