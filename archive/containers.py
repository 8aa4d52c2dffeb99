"""Avro object container files (Avro 1.11) whose blocks hold one message's body each, so that nothing is decoded to archive it.

Codec `zstandard`; the metadata hold the writer's schema. docs/formats/archive.md shows the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import cramjam

from archive.port import CorruptArchiveError
from heliograph.framing import zigzag

CODEC: Final = "zstandard"
BLOCK_BYTES_MAX: Final = 1024 * 1024
_MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
_LEVEL: Final = 3
_VARINT_BYTES_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Container:
    """A container's content."""

    schema_text: str
    """Avro JSON of the writer's schema."""
    blocks: tuple[bytes, ...]
    """Encoded records, one per block, without any frame."""


def write_container(schema_text: str, bodies: Iterable[bytes | memoryview]) -> bytes:
    """A container with one block per body. The same input gives the same bytes."""
    blocks = [bytes(cramjam.zstd.compress(body, level=_LEVEL)) for body in bodies]
    sync = _sync_marker(schema_text, blocks)
    out = [_MAGIC, zigzag(2)]
    for key, value in (("avro.schema", schema_text), ("avro.codec", CODEC)):
        out += (_bytes(key.encode()), _bytes(value.encode()))
    out += (b"\0", sync)
    one = zigzag(1)
    for block in blocks:
        out += (one, zigzag(len(block)), block, sync)
    return b"".join(out)


def read_container(key: str, data: bytes, block_bytes_max: int = BLOCK_BYTES_MAX) -> Container:
    """The inverse of write_container; raises CorruptArchiveError for `key` on anything else."""
    reader = _Reader(key, data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise CorruptArchiveError(key, "not an Avro container")
    metadata = reader.metadata()
    codec = metadata.get("avro.codec", b"null").decode("utf-8", "replace")
    if codec != CODEC or "avro.schema" not in metadata:
        raise CorruptArchiveError(key, f"a container of codec {codec!r}, not one of the archive")
    sync = reader.take(_SYNC_BYTES)
    # One buffer for all blocks: it bounds what a block may inflate to.
    room = bytearray(block_bytes_max)
    blocks: list[bytes] = []
    while not reader.at_end:
        if reader.long() != 1:
            raise CorruptArchiveError(key, "a block that does not hold one record")
        packed = reader.take(reader.long())
        try:
            size = cramjam.zstd.decompress_into(packed, room)
        except cramjam.DecompressionError as error:
            raise CorruptArchiveError(key, f"block {len(blocks)}: {error}") from error
        blocks.append(bytes(memoryview(room)[:size]))
        if reader.take(_SYNC_BYTES) != sync:
            raise CorruptArchiveError(key, f"block {len(blocks) - 1} does not end with the sync marker")
    return Container(metadata["avro.schema"].decode(), tuple(blocks))


def _sync_marker(schema_text: str, blocks: Sequence[bytes]) -> bytes:
    # Avro wants random bytes; a hash of the content is as hard to plant in it, and keeps this a pure function.
    digest = hashlib.sha256(schema_text.encode())
    for block in blocks:
        digest.update(block)
    return digest.digest()[:_SYNC_BYTES]


def _bytes(data: bytes) -> bytes:
    return zigzag(len(data)) + data


class _Reader:
    def __init__(self, key: str, data: bytes) -> None:
        self._key = key
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if size < 0 or end > len(self._data):
            raise CorruptArchiveError(self._key, f"cut short at byte {self._at}")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def long(self) -> int:
        value = 0
        for i in range(_VARINT_BYTES_MAX):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise CorruptArchiveError(self._key, f"a number of more than {_VARINT_BYTES_MAX} bytes at byte {self._at}")

    def metadata(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        while (count := self.long()) != 0:
            if count < 0:
                self.long()
            for _ in range(abs(count)):
                name = self.take(self.long()).decode("utf-8", "replace")
                found[name] = self.take(self.long())
        return found
