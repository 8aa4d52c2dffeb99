"""What stands in the cells and keys of the block store on Cassandra: bytes of docs/formats/cassandra.md. Needs no driver, does no I/O."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from .cassandra_schema import SLOTS
from .errors import CorruptBlockError
from .port import Absorbed, FlushRecord, L0Row, Manifest, MergedWindow, OffsetRange, RowRecord, Source, Stored, Version

_RANGE: Final = struct.Struct(">IQQ")
_ROW: Final = struct.Struct("<16sIQ")
_PART: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
SET_PART_BYTES: Final = 1024 * 1024
_TEXT_BYTES_MAX: Final = 1024 * 1024
_RAW_BYTES_MAX: Final = 64 * 1024 * 1024

Directory = Mapping[tuple[str, str], Iterable[str]]
"""Metrics by (label name, label value)."""


def slot_of(text: str, slots: int = SLOTS) -> int:
    """Which of a day's or a window's slots a text belongs to."""
    return zlib.crc32(text.encode()) % slots


def label_slot(name: str, value: str) -> int:
    """Which slot of the directory a label belongs to."""
    return slot_of(f"{name}\0{value}")


def encode_ranges(ranges: Sequence[OffsetRange]) -> bytes:
    """A key part: partition, first and next of each range, big-endian."""
    return b"".join(_RANGE.pack(r.partition, r.first, r.next) for r in sorted(ranges))


def decode_ranges(data: bytes) -> tuple[OffsetRange, ...]:
    """The inverse of encode_ranges."""
    return tuple(OffsetRange(*fields) for fields in _RANGE.iter_unpack(data))


def encode_row(row: L0Row) -> bytes:
    """The cell of an L0 row: what the flush says of it, then its block."""
    return _ROW.pack(row.set_hash, row.samples, row.hash_sum) + row.block


def decode_row(window: int, source: Source, data: bytes) -> Stored:
    """Raises CorruptBlockError when the cell is too short."""
    if len(data) < _ROW.size:
        raise CorruptBlockError(f"a row of {len(data)} bytes")
    return Stored(window, source, data[:16], data[_ROW.size :])


def encode_set(blob: bytes) -> list[bytes]:
    """The cells of a series set's rows, part 0 first: each says how many there are, and the whole set's CRC."""
    pieces = [blob[at : at + SET_PART_BYTES] for at in range(0, max(len(blob), 1), SET_PART_BYTES)]
    head = _PART.pack(len(pieces), zlib.crc32(blob))
    return [head + piece for piece in pieces]


def decode_set(parts: Mapping[int, bytes]) -> bytes | None:
    """The set, or None when a part is missing or damaged."""
    first = parts.get(0, b"")
    if len(first) < _PART.size:
        return None
    count, crc = _PART.unpack_from(first)
    if count > len(parts):
        return None
    blob = b"".join(parts.get(part, b"")[_PART.size :] for part in range(count))
    return blob if zlib.crc32(blob) == crc else None


def encode_merged(block: bytes) -> bytes:
    """The cell of a merged row: the block's CRC, then the block."""
    return _CRC.pack(zlib.crc32(block)) + block


def decode_merged(data: bytes) -> bytes | None:
    """The block, or None when it is damaged."""
    block = data[_CRC.size :]
    return block if data[: _CRC.size] == _CRC.pack(zlib.crc32(block)) else None


def encode_names(names: Sequence[str]) -> bytes:
    """Metrics of a series set that share a slot."""
    return _packed(sorted(names))


def decode_names(data: bytes) -> list[str]:
    """Raises CorruptBlockError."""
    names: list[str] = _unpacked(data)
    return names


def encode_directory(labels: Directory) -> Iterator[tuple[bytes, bytes]]:
    """Rows (hash, cell) that hold these labels, none of them large."""
    document: dict[str, dict[str, list[str]]] = {}
    size = 0
    for (name, value), metrics in sorted(labels.items()):
        for some in _cut(sorted(metrics)):
            size += len(name) + len(value) + sum(map(len, some))
            document.setdefault(name, {}).setdefault(value, []).extend(some)
            if size > _TEXT_BYTES_MAX:
                yield _addressed(document)
                document, size = {}, 0
    if document:
        yield _addressed(document)


def decode_directory(data: bytes, name: str, value: str) -> list[str]:
    """Metrics that have this label. Raises CorruptBlockError."""
    document: dict[str, dict[str, list[str]]] = _unpacked(data)
    return document.get(name, {}).get(value, [])


def encode_flush(record: FlushRecord) -> bytes:
    """The cell of a flush record: its rows."""
    return _packed([(r.tenant, r.bucket, r.window, r.samples, r.hash_sum) for r in record.rows])


def decode_flush(source: Source, data: bytes) -> FlushRecord:
    """Raises CorruptBlockError."""
    return FlushRecord(source, tuple(RowRecord(*row) for row in _unpacked(data)))


def encode_manifest(manifest: Manifest) -> bytes:
    """The cell of a manifest: equal manifests have equal bytes."""
    return _packed({
        "versions": [(v.id, v.set_hash.hex(), v.samples, v.checksum) for v in manifest.versions],
        "windows": [
            (window, held.version, [(a.log_id, a.partition, a.first, a.next) for a in held.absorbed])
            for window, held in sorted(manifest.windows.items())
        ],
    })  # fmt: skip


def decode_manifest(tenant: str, day: int, metric: str, shard: int, generation: int, data: bytes) -> Manifest:
    """Raises CorruptBlockError."""
    document = _unpacked(data)
    versions = tuple(Version(v, bytes.fromhex(h), samples, crc) for v, h, samples, crc in document["versions"])
    windows = {w: MergedWindow(v, tuple(Absorbed(*a) for a in absorbed)) for w, v, absorbed in document["windows"]}
    return Manifest(tenant, day, metric, shard, generation, versions, windows)


def _cut(metrics: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(metrics), 1000):
        yield metrics[at : at + 1000]


def _addressed(document: object) -> tuple[bytes, bytes]:
    data = _packed(document)
    return hashlib.blake2b(data, digest_size=16).digest(), data


def _packed(document: object) -> bytes:
    return zlib.compress(orjson.dumps(document), 1)


def _unpacked(data: bytes) -> Any:
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data, _RAW_BYTES_MAX)
        if not inflate.eof:
            raise CorruptBlockError(f"a document that is cut off, or of more than {_RAW_BYTES_MAX} bytes")
        return orjson.loads(text)
    except (zlib.error, ValueError) as error:
        raise CorruptBlockError(f"a document cannot be read: {error}") from error
