"""A series set: the series that a block's columns stand for, in their order, as one content-addressed blob.

docs/formats/series_sets.md describes the bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cramjam
import numpy as np
import numpy.typing as npt

from .errors import CorruptBlockError
from .label_columns import Column, LabelColumns
from .layout import Ids
from .samples import Longs

_HEADER: Final = struct.Struct("<4sBxxxIIII")
_MAGIC: Final = b"HGS1"
_VERSION: Final = 1
_RAW_BYTES_MAX: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class SeriesSet:
    """Series in order: groups (the series of one layout that share a bucket) are runs."""

    hash: bytes
    """16 bytes: the hash of the stored blob."""
    ids: Ids
    """S × 16."""
    shard_hashes: npt.NDArray[np.uint32]
    """S."""
    groups: Longs
    """G + 1: group g is the series [groups[g], groups[g + 1])."""
    labels: LabelColumns

    @property
    def count(self) -> int:
        """Number of series."""
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory."""
        return self.ids.nbytes + self.shard_hashes.nbytes + self.groups.nbytes + self.labels.size_bytes

    @property
    def metrics(self) -> tuple[str, ...]:
        """Distinct metric names."""
        column = self.labels.columns.get("__name__")
        return column.values[1:] if column is not None else ()


def encode_set(
    ids: Ids, shard_hashes: npt.NDArray[np.uint32], group_sizes: Sequence[int], labels: LabelColumns
) -> tuple[bytes, bytes]:
    """Hash and blob; equal series in equal order give equal bytes."""
    parts = [np.asarray(group_sizes, "<u4").tobytes(), _strings(tuple(labels.columns))]
    for column in labels.columns.values():
        width = "<u2" if len(column.values) <= 65536 else "<u4"
        parts += (_strings(column.values[1:]), column.codes.astype(width).tobytes())
    raw = b"".join(parts)
    packed = bytes(cramjam.zstd.compress(raw, level=3))
    header = _HEADER.pack(_MAGIC, _VERSION, len(ids), len(group_sizes), len(raw), len(packed))
    blob = b"".join((header, ids.tobytes(), shard_hashes.astype("<u4").tobytes(), packed))
    return set_hash(blob), blob


def set_hash(blob: bytes) -> bytes:
    """The key under which a blob is stored."""
    return hashlib.blake2b(blob, digest_size=16).digest()


def decode_set(expected_hash: bytes, blob: bytes) -> SeriesSet:
    """Raises CorruptBlockError when the blob is not the one that was stored under this hash."""
    if set_hash(blob) != expected_hash:
        raise CorruptBlockError(f"series set {expected_hash.hex()} does not match its hash")
    try:
        return _decode(expected_hash, blob)
    except (struct.error, ValueError, IndexError, cramjam.DecompressionError) as error:
        raise CorruptBlockError(f"series set {expected_hash.hex()}: {error}") from error


def _decode(key: bytes, blob: bytes) -> SeriesSet:
    magic, version, count, group_count, raw_bytes, packed_bytes = _HEADER.unpack_from(blob)
    if magic != _MAGIC or version != _VERSION or raw_bytes > _RAW_BYTES_MAX:
        raise ValueError(f"magic {magic!r}, version {version}, {raw_bytes} bytes")
    at = _HEADER.size
    ids = np.frombuffer(blob, np.uint8, 16 * count, at).reshape(-1, 16)
    shards = np.frombuffer(blob, "<u4", count, at + 16 * count)
    at += 20 * count
    if len(blob) - at != packed_bytes:
        raise ValueError("its length is wrong")
    raw = bytes(cramjam.zstd.decompress(blob[at:], output_len=raw_bytes))
    groups = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.frombuffer(raw, "<u4", group_count), dtype=np.int64)))
    if groups[-1] != count:
        raise ValueError("its groups do not add up")
    names, at = _read_strings(raw, 4 * group_count)
    columns: dict[str, Column] = {}
    for name in names:
        values, at = _read_strings(raw, at)
        width = np.dtype("<u2" if len(values) + 1 <= 65536 else "<u4")
        codes = np.frombuffer(raw, width, count, at).astype(np.uint32)
        at += width.itemsize * count
        if count and codes.max() > len(values):
            raise ValueError(f"a code of {name} has no value")
        columns[name] = Column(("", *values), codes)
    return SeriesSet(key, ids, shards, groups, LabelColumns(count, columns))


def _strings(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    sizes = np.array([len(data) for data in encoded], "<u4")
    return struct.pack("<I", len(encoded)) + sizes.tobytes() + b"".join(encoded)


def _read_strings(raw: bytes, at: int) -> tuple[list[str], int]:
    (count,) = struct.unpack_from("<I", raw, at)
    sizes = np.frombuffer(raw, "<u4", count, at + 4).tolist()
    at += 4 + 4 * count
    texts: list[str] = []
    for size in sizes:
        if at + size > len(raw):
            raise ValueError("a string runs over the end")
        texts.append(raw[at : at + size].decode())
        at += size
    return texts, at
