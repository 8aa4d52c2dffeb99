"""L0 blocks: the samples of one bucket and window out of one flush, as columns. docs/formats/l0.md describes the bytes.

Within a block samples are ordered by series (in the order of the series set), then by time as gathered; the series of a group share
counts and stamps. What has stamps of its own stands in the ragged section. NaN of any kind stands outside the value column.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, standalone

from .errors import CorruptBlockError
from .samples import Floats, Longs

_HEADER: Final = struct.Struct("<4sBBHIIIIqq16s6II")
_MAGIC: Final = b"HGB1"
_VERSION: Final = 1
_KIND_L0: Final = 0
_SHORT_STAMPS: Final = 1
_UNIFORM_COUNTS: Final = 2
_HASH_AT: Final = 40

_CONFIG: Final = ChunkConfig(compression_level=4, delta_spec=DeltaSpec.no_op())
_STREAMS: Final = 3
_STREAM_VALUES_MIN: Final = 500
_EXACT_INTEGERS_BELOW: Final = 2.0**53
_SAMPLES_MAX: Final = 1 << 28

Kinds = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Ragged:
    """Samples with stamps of their own, in any order."""

    ordinals: Longs
    """Which series of the set."""
    stamps: Longs
    values: Floats


@dataclass(frozen=True, slots=True)
class L0Block:
    """Decoded columns of a block over a series set with G groups."""

    set_hash: bytes
    counts: Longs
    """G: samples per series of the group."""
    stamps: Longs
    """Milliseconds; those of group 0, then of group 1, …; `counts[g]` each."""
    values: Floats
    """By series, then as gathered."""
    ragged: Ragged | None = None


def encode_l0(block: L0Block, groups: Longs) -> bytes:
    """`groups` are the G + 1 bounds of the series set."""
    ragged = block.ragged
    stamps = block.stamps if ragged is None else np.concatenate((block.stamps, ragged.stamps))
    t_min, t_max = (int(stamps.min()), int(stamps.max())) if len(stamps) else (0, 0)
    flags = 0
    counts = b""
    if len(block.counts) and (block.counts == block.counts[0]).all():
        flags |= _UNIFORM_COUNTS
    else:
        counts = _pack(block.counts.astype(np.uint32))
    if t_max - t_min < 1 << 16:
        flags |= _SHORT_STAMPS
        packed_stamps = (block.stamps - t_min).astype("<u2").tobytes()
    else:
        packed_stamps = _pack(block.stamps)
    column, marks = _without_nan(block.values)
    directory, values = _encode_values(column, np.repeat(block.counts, np.diff(groups)))
    sections = (counts, packed_stamps, directory, values, marks, b"" if ragged is None else _encode_ragged(ragged))
    body = b"".join(sections)
    fields = (
        _MAGIC, _VERSION, _KIND_L0, flags, int(groups[-1]), len(block.values), len(groups) - 1, len(block.stamps),
        t_min, t_max, block.set_hash, *map(len, sections),
    )  # fmt: skip
    head = _HEADER.pack(*fields, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def set_hash_of(blob: bytes) -> bytes:
    """Which series set a block refers to; raises CorruptBlockError when it is too short to say."""
    if len(blob) < _HEADER.size:
        raise CorruptBlockError(f"a block of {len(blob)} bytes")
    return blob[_HASH_AT : _HASH_AT + 16]


def decode_l0(blob: bytes, groups: Longs) -> L0Block:
    """`groups` are the G + 1 bounds of the block's series set. Raises CorruptBlockError; never returns what was not written."""
    if len(blob) < _HEADER.size:
        raise CorruptBlockError(f"a block of {len(blob)} bytes")
    head = _HEADER.size - 4
    (crc,) = struct.unpack_from("<I", blob, head)
    if zlib.crc32(memoryview(blob)[_HEADER.size :], zlib.crc32(memoryview(blob)[:head])) != crc:
        raise CorruptBlockError("a block does not match its checksum")
    try:
        return _decode(blob, groups)
    except (ValueError, IndexError, TypeError, RuntimeError, struct.error, zlib.error) as error:
        raise CorruptBlockError(f"a block cannot be decoded: {error}") from error


def _decode(blob: bytes, groups: Longs) -> L0Block:
    fields = _HEADER.unpack_from(blob)
    magic, version, kind, flags, series, samples, group_count, stamp_count, t_min, _, set_hash = fields[:11]
    if (magic, version, kind) != (_MAGIC, _VERSION, _KIND_L0):
        raise ValueError(f"magic {magic!r}, version {version}, kind {kind}")
    if group_count != len(groups) - 1 or series != groups[-1] or samples > _SAMPLES_MAX:
        raise ValueError("it is not of this series set")
    sections = _sections(blob, fields[11:17])
    if flags & _UNIFORM_COUNTS:
        counts = np.full(group_count, stamp_count // max(group_count, 1))
    else:
        counts = _unpack(sections[0], np.uint32).astype(np.int64) if group_count else np.zeros(0, np.int64)
    if flags & _SHORT_STAMPS:
        stamps = np.frombuffer(sections[1], "<u2").astype(np.int64) + t_min
    else:
        stamps = _unpack(sections[1], np.int64)
    if len(counts) != group_count or counts.sum() != stamp_count or len(stamps) != stamp_count:
        raise ValueError("its counts and stamps do not add up")
    sizes = groups[1:] - groups[:-1]
    if int(counts @ sizes) != samples:
        raise ValueError("its values do not add up")
    values = _decode_values(sections[2], sections[3], counts, sizes, samples)
    _restore_nan(values, sections[4])
    ragged = _decode_ragged(sections[5], series) if sections[5] else None
    return L0Block(set_hash, counts, stamps, values, ragged)


def _sections(blob: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    sections: list[bytes] = []
    at = _HEADER.size
    for size in sizes:
        sections.append(blob[at : at + size])
        at += size
    if at != len(blob):
        raise ValueError("its sections do not fill it")
    return sections


def _pack(column: npt.NDArray[Any], config: ChunkConfig | None = None) -> bytes:
    if not len(column):
        return b""
    return bytes(standalone.simple_compress(np.ascontiguousarray(column), config or ChunkConfig(compression_level=4)))


def _unpack(data: bytes, dtype: Any) -> npt.NDArray[Any]:
    if not data:
        return np.zeros(0, dtype)
    column = standalone.simple_decompress(data)
    if not isinstance(column, np.ndarray) or column.dtype != dtype:
        raise ValueError("a stream of another type")
    return column


def _without_nan(values: Floats) -> tuple[Floats, bytes]:
    """The column with each NaN replaced by the value before it, and the marks that restore them."""
    odd = np.isnan(values)
    if not odd.any():
        return values, b""
    at = np.flatnonzero(odd)
    bits = values[at].view(np.uint64)
    source = np.where(odd, 0, np.arange(len(values)))
    np.maximum.accumulate(source, out=source)
    filled = np.nan_to_num(values[source], copy=True, nan=0.0, posinf=np.inf, neginf=-np.inf)
    positions = _pack(at.astype(np.uint32))
    return filled, struct.pack("<I", len(positions)) + positions + _pack(bits)


def _restore_nan(values: Floats, marks: bytes) -> None:
    if not marks:
        return
    (size,) = struct.unpack_from("<I", marks)
    at = _unpack(marks[4 : 4 + size], np.uint32)
    bits = _unpack(marks[4 + size :], np.uint64)
    if len(at) != len(bits):
        raise ValueError("its marks do not add up")
    values.view(np.uint64)[at] = bits


def _kinds(values: Floats, per_series: Longs) -> Kinds | None:
    """Per series with samples: 0 integers, 1 at most three decimals, 2 the rest; None when one stream serves better.

    Mixed kinds in one pcodec stream cost half as much again as three streams do.
    """
    if len(values) < 2 * _STREAM_VALUES_MIN:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        whole = (np.rint(values) == values) & (np.abs(values) < _EXACT_INTEGERS_BELOW)
        if whole.all():
            return None
        decimal = np.rint(values * 1000) / 1000 == values
    kind = np.where(whole, 0, np.where(decimal & np.isfinite(values), 1, 2)).astype(np.uint8)
    present = per_series[per_series > 0]
    starts = np.cumsum(present) - present
    kinds: Kinds = np.maximum.reduceat(kind, starts)
    sizes = np.bincount(kinds, weights=present, minlength=_STREAMS)
    for k in range(_STREAMS - 1):
        if 0 < sizes[k] < _STREAM_VALUES_MIN:
            kinds[kinds == k] = _STREAMS - 1
    return None if (kinds == kinds[0]).all() else kinds


def _encode_values(values: Floats, per_series: Longs) -> tuple[bytes, bytes]:
    kinds = _kinds(values, per_series)
    if kinds is None:
        return b"", _pack(values, _CONFIG)
    per_value = np.repeat(kinds, per_series[per_series > 0])
    streams = [_pack(values[per_value == k], _CONFIG) for k in range(_STREAMS)]
    return struct.pack("<3I", *map(len, streams)) + zlib.compress(kinds.tobytes(), 1), b"".join(streams)


def _decode_values(directory: bytes, data: bytes, counts: Longs, group_sizes: Longs, samples: int) -> Floats:
    if not directory:
        values: Floats = _unpack(data, np.float64)
        if len(values) != samples:
            raise ValueError("its values do not add up")
        return values
    per_series = np.repeat(counts, group_sizes)
    sizes = struct.unpack_from("<3I", directory)
    kinds = np.frombuffer(zlib.decompress(directory[12:]), np.uint8)
    per_value = np.repeat(kinds, per_series[per_series > 0])
    values = np.empty(samples)
    at = 0
    for k, size in enumerate(sizes):
        values[per_value == k] = _unpack(data[at : at + size], np.float64)
        at += size
    return values


def _encode_ragged(ragged: Ragged) -> bytes:
    column, marks = _without_nan(ragged.values)
    parts = (_pack(ragged.ordinals.astype(np.uint32)), _pack(ragged.stamps), _pack(column, _CONFIG), marks)
    return struct.pack("<4I", *map(len, parts)) + b"".join(parts)


def _decode_ragged(data: bytes, series: int) -> Ragged:
    sizes = struct.unpack_from("<4I", data)
    parts: list[bytes] = []
    at = 16
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    ordinals = _unpack(parts[0], np.uint32).astype(np.int64)
    stamps = _unpack(parts[1], np.int64)
    values = _unpack(parts[2], np.float64)
    _restore_nan(values, parts[3])
    if not len(ordinals) == len(stamps) == len(values) or (len(ordinals) and ordinals.max() >= series):
        raise ValueError("its ragged samples do not add up")
    return Ragged(ordinals, stamps, values)
