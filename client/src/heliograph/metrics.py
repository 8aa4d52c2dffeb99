"""Metric batches: a layout (which series, in which order) is encoded once, and each batch appends the cached bytes.

The format is metric_batch.avsc; DESIGN 4.1 and PROTOCOLS §4 say why `series` stands last.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import google_crc32c

from . import contracts
from .errors import EncodeError, OversizeError
from .framing import frame, zigzag
from .identity import BatchId, Mint
from .message import BookEntry, Headers, Message, partition_of
from .records import Source, event_minute, string, string_map

LabelPairs: TypeAlias = tuple[tuple[str, str], ...]
_MS = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One series of a layout; name and labels are its identity, the rest is metadata."""

    name: str
    """Metric name as Prometheus spells it."""
    labels: LabelPairs
    """Complete labels but the name, sorted by key, no empty value."""
    kind: str = "unknown"
    unit: str = ""
    help: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Series in their order on the wire, encoded once."""

    series: tuple[Series, ...]
    tail: bytes
    """The encoded `series` field."""
    hash: bytes
    """First 16 bytes of the SHA-256 of `tail`."""

    @classmethod
    def of(cls, series: Sequence[Series]) -> Layout:
        """Encode series that are sorted by name and labels and distinct; raises EncodeError otherwise."""
        keys = [(s.name, s.labels) for s in series]
        if any(a >= b for a, b in itertools.pairwise(keys)):
            raise EncodeError("bad_layout", "series must be distinct and sorted by name, then labels")
        if not all(s.name and all(k and v for k, v in s.labels) for s in series):
            raise EncodeError("bad_layout", "a name, a label's key and its value are never empty")
        tail = b"".join([zigzag(len(series)), *map(_series, series), b"\0"]) if series else b"\0"
        return cls(tuple(series), tail, hashlib.sha256(tail).digest()[:16])


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement that carries a trace."""

    series_index: int
    timestamp_ms: int
    value: float
    attributes: Mapping[str, str]


def seal_metrics(
    source: Source,
    layout: Layout,
    timestamp_ms: int,
    values: Sequence[float],
    mint: Mint,
    *,
    time_offsets_ms: Sequence[int] = (),
    exemplars: Sequence[Exemplar] = (),
    schema_id: int | None = None,
) -> Message:
    """One batch: a value for each series of the layout, in its order.

    `time_offsets_ms` is empty when all samples share the timestamp, else one per series.
    Raises EncodeError when lengths differ, OversizeError when the batch would pass 900 KiB: split the series first.
    """
    if len(values) != len(layout.series):
        raise EncodeError("bad_record", f"{len(values)} values for {len(layout.series)} series")
    if time_offsets_ms and len(time_offsets_ms) != len(values):
        raise EncodeError("bad_record", f"{len(time_offsets_ms)} time offsets for {len(values)} values")
    schema = contracts.schema("metric_batch")
    batch_id = mint()
    body = b"".join((
        frame(schema.wire_id if schema_id is None else schema_id), batch_id.producer_id,
        zigzag(batch_id.sequence), layout.hash, zigzag(timestamp_ms), _doubles(values), _ints(time_offsets_ms),
        string_map(source.resource), _exemplars(exemplars), layout.tail,
    ))  # fmt: skip
    if len(body) > contracts.BATCH_BYTES_MAX:
        raise OversizeError(f"metric_batch of {len(body)} bytes")
    headers = _headers(source, schema.fingerprint, batch_id, timestamp_ms, time_offsets_ms, body, len(values))
    partition = partition_of(source.key, contracts.topics()[contracts.METRICS_TOPIC].partitions)
    return Message(contracts.METRICS_TOPIC, partition, headers.encode(), body)


def batch_hash(batch_id: BatchId, crc32c: int) -> int:
    """What a metric batch adds to its ledger minute: 32 bits over identity and content."""
    return zlib.crc32(struct.pack(">16sqI", batch_id.producer_id, batch_id.sequence, crc32c))


def _headers(
    source: Source,
    fingerprint: bytes,
    batch_id: BatchId,
    timestamp_ms: int,
    offsets_ms: Sequence[int],
    body: bytes,
    count: int,
) -> Headers:
    crc = google_crc32c.value(body)
    first, last = (min(offsets_ms), max(offsets_ms)) if offsets_ms else (0, 0)
    book = BookEntry(event_minute(timestamp_ms * _MS), count, batch_hash(batch_id, crc))
    return Headers(
        source.tenant, source.service, batch_id, 0, count, (timestamp_ms + first) * _MS, (timestamp_ms + last) * _MS,
        fingerprint, crc, (book,),
    )  # fmt: skip


def _doubles(values: Sequence[float]) -> bytes:
    if not values:
        return b"\0"
    column = values if isinstance(values, array) and values.typecode == "d" else array("d", values)
    if sys.byteorder == "big":
        column = array("d", column)
        column.byteswap()
    return zigzag(len(column)) + column.tobytes() + b"\0"


def _ints(values: Sequence[int]) -> bytes:
    return zigzag(len(values)) + b"".join(map(zigzag, values)) + b"\0" if values else b"\0"


def _exemplars(exemplars: Sequence[Exemplar]) -> bytes:
    if not exemplars:
        return b"\0"
    items = (
        zigzag(e.series_index) + zigzag(e.timestamp_ms) + struct.pack("<d", e.value) + string_map(e.attributes)
        for e in exemplars
    )
    return zigzag(len(exemplars)) + b"".join(items) + b"\0"


def _series(series: Series) -> bytes:
    labels = b"\0"
    if series.labels:
        pairs = b"".join(string(k) + string(v) for k, v in series.labels)
        labels = zigzag(len(series.labels)) + pairs + b"\0"
    rest = (series.kind, series.unit, series.help, series.family)
    return string(series.name) + labels + b"".join(map(string, rest))
