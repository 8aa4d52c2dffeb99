"""The fast reader of MetricBatch messages: what stands before `series` is read by hand, `series` only when the layout is new.

PROTOCOLS §4: a layout counts as known only if the message ends with the very bytes it was learnt from, and these start where the
fields before them ended. docs/formats/metric_messages.md describes the bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro
import numpy as np

from heliograph import contracts
from heliograph.framing import FRAME_BYTES, schema_id_of

from .errors import RecordError
from .layout import KnownLayout, learn
from .samples import Floats, Longs

LAYOUT_CACHE_BYTES_MAX: Final = 128 * 1024 * 1024
_VARINT_BYTES_MAX: Final = 10
_LAYOUT_AT: Final = FRAME_BYTES + 16


@dataclass(frozen=True, slots=True)
class MetricMessage:
    """One decoded message: a value for each series of the layout."""

    layout: KnownLayout
    producer_id: bytes
    sequence: int
    timestamp_ms: int
    values: Floats
    """S values; a view of the message where it could be."""
    time_offsets_ms: Longs | None
    """S offsets to the timestamp, or None when all samples share it."""
    resource: Mapping[str, str]


@dataclass(slots=True)
class _Cached:
    layout: KnownLayout
    tail: bytes
    suffix: bytes | None
    """The last seen bytes of resource, no exemplars, and tail: the usual message ends with exactly these; None: not seen yet."""
    resource: Mapping[str, str]
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_bytes = self.layout.size_bytes + len(self.tail) + len(self.suffix or b"") + 200 * len(self.resource)


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The fields before `resource`, and where they end."""

    layout_hash: bytes
    sequence: int
    timestamp_ms: int
    values: Floats
    time_offsets_ms: Longs | None
    end: int


class MetricMessages:
    """Reads messages and remembers layouts, at most `cache_bytes_max` of them; used by one thread."""

    def __init__(self, cache_bytes_max: int = LAYOUT_CACHE_BYTES_MAX) -> None:
        self._cache_bytes_max = cache_bytes_max
        self._cache_bytes = 0
        self._cached: OrderedDict[tuple[int, bytes], _Cached] = OrderedDict()
        self._next_serial = 1
        self._ours = contracts.schema("metric_batch")

    def read(self, message: bytes, writer: contracts.Schema) -> MetricMessage:
        """Decode a framed message that was written with `writer`.

        Raises RecordError(not_avro | layout_mismatch | bad_record) and heliograph's DecodeError("not_avro") for the frame.
        """
        schema_id = schema_id_of(message)
        if writer.fingerprint != self._ours.fingerprint:
            return self._read_foreign(message, schema_id, writer)
        prefix = _read_prefix(message)
        cached = self._cached.get((schema_id, prefix.layout_hash))
        if cached is not None:
            at = prefix.end
            suffix = cached.suffix
            if suffix is not None and len(message) - at == len(suffix) and message.endswith(suffix):
                return _message(message, prefix, cached.layout, cached.resource)
            resource, exemplars_at, tail_at = _read_middle(message, at)
            if len(message) - tail_at == len(cached.tail) and message.endswith(cached.tail):
                if tail_at - exemplars_at == 1:
                    self._remember((schema_id, prefix.layout_hash), cached.layout, cached.tail, message[at:], resource)
                return _message(message, prefix, cached.layout, resource)
        resource, exemplars_at, tail_at = _read_middle(message, prefix.end)
        tail = message[tail_at:]
        layout = self._learn(prefix.layout_hash, tail, writer)
        suffix = message[prefix.end :] if tail_at - exemplars_at == 1 else None
        decoded = _message(message, prefix, layout, resource)
        self._remember((schema_id, prefix.layout_hash), layout, tail, suffix, resource)
        return decoded

    def _read_foreign(self, message: bytes, schema_id: int, writer: contracts.Schema) -> MetricMessage:
        """Another version's message: fastavro decodes what stands before `series`, resolved to our schema by name."""
        before = _before_series(writer)
        stream = io.BytesIO(message)
        stream.seek(FRAME_BYTES)
        batch = _fastavro(stream, before, _before_series(self._ours))
        tail = message[stream.tell() :]
        key = (schema_id, batch["layout"])
        cached = self._cached.get(key)
        if cached is not None and cached.tail == tail:
            layout = cached.layout
        else:
            layout = self._learn(batch["layout"], tail, writer)
            self._remember(key, layout, tail, None, batch["resource"])
        offsets = np.array(batch["time_offsets"], np.int64) if batch["time_offsets"] else None
        values = np.array(batch["values"], np.float64)
        prefix = _Prefix(batch["layout"], batch["sequence"], batch["timestamp"], values, offsets, 0)
        return _message(batch["producer_id"], prefix, layout, batch["resource"], producer_at=0)

    def _learn(self, layout_hash: bytes, tail: bytes, writer: contracts.Schema) -> KnownLayout:
        stream = io.BytesIO(tail)
        series = _fastavro(stream, _series_type(writer), _series_type(self._ours))
        if stream.read(1):
            raise RecordError("not_avro", "bytes after the end of the record")
        if hashlib.sha256(tail).digest()[:16] != layout_hash:
            raise RecordError("layout_mismatch", f"the series are not those of layout {layout_hash.hex()}")
        layout = learn(self._next_serial, layout_hash, len(tail), series)
        self._next_serial += 1
        return layout

    def _remember(
        self,
        key: tuple[int, bytes],
        layout: KnownLayout,
        tail: bytes,
        suffix: bytes | None,
        resource: Mapping[str, str],
    ) -> None:
        former = self._cached.pop(key, None)
        if former is not None:
            self._cache_bytes -= former.size_bytes
        entry = _Cached(layout, tail, suffix, resource)
        self._cached[key] = entry
        self._cache_bytes += entry.size_bytes
        while self._cache_bytes > self._cache_bytes_max and len(self._cached) > 1:
            _, oldest = self._cached.popitem(last=False)
            self._cache_bytes -= oldest.size_bytes


def _message(
    message: bytes, prefix: _Prefix, layout: KnownLayout, resource: Mapping[str, str], producer_at: int = FRAME_BYTES
) -> MetricMessage:
    count = layout.count
    if len(prefix.values) != count:
        raise RecordError("bad_record", f"{len(prefix.values)} values for {count} series")
    offsets = prefix.time_offsets_ms
    if offsets is not None and len(offsets) != count:
        raise RecordError("bad_record", f"{len(offsets)} time offsets for {count} series")
    producer_id = message[producer_at : producer_at + 16]
    return MetricMessage(layout, producer_id, prefix.sequence, prefix.timestamp_ms, prefix.values, offsets, resource)


def _read_prefix(message: bytes) -> _Prefix:
    try:
        sequence, at = _long(message, _LAYOUT_AT)
        layout_hash = message[at : at + 16]
        timestamp_ms, at = _long(message, at + 16)
        values, at = _doubles(message, at)
        offsets, at = _ints(message, at)
    except IndexError as error:
        raise RecordError("not_avro", "the message ends inside a field") from error
    return _Prefix(layout_hash, sequence, timestamp_ms, values, offsets, at)


def _read_middle(message: bytes, at: int) -> tuple[dict[str, str], int, int]:
    """The resource, where the exemplars start, and where `series` starts."""
    try:
        resource: dict[str, str] = {}
        at = _map(message, at, resource)
        exemplars_at = at
        while True:
            count, at = _block(message, at)
            if not count:
                return resource, exemplars_at, at
            for _ in range(count):
                _, at = _long(message, at)
                _, at = _long(message, at)
                at = _map(message, _inside(message, at + 8), {})
    except IndexError as error:
        raise RecordError("not_avro", "the message ends inside a field") from error
    except UnicodeDecodeError as error:
        raise RecordError("not_avro", f"a string is not UTF-8: {error.reason}") from error


def _long(message: bytes, at: int) -> tuple[int, int]:
    byte = message[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    n = byte & 0x7F
    for shift in range(7, 7 * _VARINT_BYTES_MAX, 7):
        at += 1
        byte = message[at]
        n |= (byte & 0x7F) << shift
        if byte < 0x80:
            value = (n >> 1) ^ -(n & 1)
            if not -(1 << 63) <= value < 1 << 63:
                break
            return value, at + 1
    raise RecordError("not_avro", "a number of more than 64 bits")


def _inside(message: bytes, at: int) -> int:
    if not 0 <= at <= len(message):
        raise RecordError("not_avro", "a length beyond the end of the message")
    return at


def _block(message: bytes, at: int) -> tuple[int, int]:
    """Items of the array or map block that starts here; a negative count is followed by the block's size in bytes."""
    count, at = _long(message, at)
    if count < 0:
        _, at = _long(message, at)
        count = -count
    if count > len(message):
        raise RecordError("not_avro", "a block of more items than bytes")
    return count, at


def _doubles(message: bytes, at: int) -> tuple[Floats, int]:
    blocks: list[Floats] = []
    while True:
        count, at = _block(message, at)
        if not count:
            break
        end = _inside(message, at + 8 * count)
        blocks.append(np.frombuffer(message, "<f8", count, at))
        at = end
    if len(blocks) == 1:
        return blocks[0], at
    return np.concatenate(blocks) if blocks else np.zeros(0), at


def _ints(message: bytes, at: int) -> tuple[Longs | None, int]:
    blocks: list[Longs] = []
    while True:
        count, at = _block(message, at)
        if not count:
            break
        column, at = _int_column(message, at, count)
        blocks.append(column)
    return (np.concatenate(blocks) if blocks else None), at


def _int_column(message: bytes, at: int, count: int) -> tuple[Longs, int]:
    """`count` zigzag varints of at most 5 bytes, all at once."""
    raw = np.frombuffer(message, np.uint8, min(5 * count, len(message) - at), at)
    ends = np.flatnonzero(raw < 0x80)[:count]
    if len(ends) < count:
        raise RecordError("not_avro", "the message ends inside time_offsets, or one has more than 32 bits")
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    sizes = ends - starts + 1
    if sizes.max() > 5:
        raise RecordError("not_avro", "a time offset of more than 32 bits")
    n = np.zeros(count, np.int64)
    for k in range(int(sizes.max())):
        more = sizes > k
        n[more] |= (raw[starts[more] + k].astype(np.int64) & 0x7F) << (7 * k)
    values = (n >> 1) ^ -(n & 1)
    if n.max() >= 1 << 32:
        raise RecordError("not_avro", "a time offset of more than 32 bits")
    return values, at + int(ends[-1]) + 1


def _map(message: bytes, at: int, into: dict[str, str]) -> int:
    while True:
        count, at = _block(message, at)
        if not count:
            return at
        for _ in range(count):
            key, at = _string(message, at)
            into[key], at = _string(message, at)


def _string(message: bytes, at: int) -> tuple[str, int]:
    size, at = _long(message, at)
    if size < 0:
        raise RecordError("not_avro", "a string of negative length")
    end = _inside(message, at + size)
    return message[at:end].decode(), end


def _fastavro(stream: io.BytesIO, writer: Any, reader: Any) -> Any:
    try:
        return fastavro.schemaless_reader(stream, writer, reader)
    except Exception as error:  # fastavro raises whatever its reader stumbles over
        raise RecordError("not_avro", f"metric_batch: {type(error).__name__}: {error}") from error


def _series_type(schema: contracts.Schema) -> Any:
    fields = schema.parsed["fields"]
    if fields[-1]["name"] != "series":
        raise RecordError("incompatible_schema", "a field stands after `series`")
    return fields[-1]["type"]


def _before_series(schema: contracts.Schema) -> Any:
    _series_type(schema)
    return {**schema.parsed, "fields": schema.parsed["fields"][:-1]}
