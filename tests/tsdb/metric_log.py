"""A log of metric messages in memory, what a store must say of it, and what a store says."""

from __future__ import annotations

import itertools
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from bus.port import Record, TopicPartition
from bus.registry import UnknownSchemaError
from heliograph import contracts
from heliograph.identity import BatchId
from heliograph.metrics import Layout, Series, seal_metrics
from heliograph.records import Source
from sinks.decode import WriterSchemas
from sinks.port import Cut, Range
from tsdb.samples import Labels, Match, Matcher, SampleColumns, SampleStore

DAY_MS = 86_400_000
NOW_MS = 20_800 * DAY_MS + 3_600_000
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
EVERYTHING = (Matcher("__name__", Match.REGEX, ".+"),)

Samples: TypeAlias = dict[tuple[Labels, int], int]
"""Bits of the value by (labels, timestamp)."""


class NoRegistry:
    """A registry that knows no schema: ours needs none."""

    def register(self, subject: str, schema: contracts.Schema) -> int:
        raise NotImplementedError

    def schema(self, schema_id: int) -> contracts.Schema:
        raise UnknownSchemaError(schema_id)

    def versions(self, subject: str) -> dict[int, int]:
        return {}


def writer_schemas() -> WriterSchemas:
    return WriterSchemas(NoRegistry())


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def from_bits(pattern: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", pattern))[0])


def layout(target: str, metrics: int = 2, per_metric: int = 3) -> Layout:
    """`metrics` × `per_metric` series of one target."""
    series = [
        Series(f"metric_{m}", (("instance", target), ("job", "test"), ("path", f"/{k}")), "counter", "1", f"help {m}")
        for m in range(metrics)
        for k in range(per_metric)
    ]
    return Layout.of(sorted(series))


class MetricLog:
    """Records of one partition each, and the samples that a reader must find in them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.expected: Samples = {}
        self._sequence = 0

    def append(
        self,
        of: Layout,
        timestamp_ms: int,
        values: Sequence[float],
        offsets_ms: Sequence[int] = (),
        tenant: str = "default",
        append_time_ms: int | None = None,
        partition: int = 0,
        resource: dict[str, str] | None = None,
    ) -> Record:
        source = Source(resource if resource is not None else {"host.name": "h"}, tenant=tenant)
        batch_id = BatchId(b"producer-16bytes", self._sequence)
        self._sequence += 1
        column = array("d", np.array(values, np.float64).tobytes())
        message = seal_metrics(source, of, timestamp_ms, column, lambda: batch_id, time_offsets_ms=offsets_ms)
        appended = NOW_MS if append_time_ms is None else append_time_ms
        record = Record(message.topic, partition, len(self.records), appended, message.headers, message.body)
        self.records.append(record)
        for i, series in enumerate(of.series):
            stamp = timestamp_ms + (offsets_ms[i] if offsets_ms else 0)
            self._expect((labels_of(series), stamp), bits(values[i]))
        return record

    def cut(self, first: int, following: int, partition: int = 0) -> Cut:
        where = TopicPartition(contracts.METRICS_TOPIC, partition)
        return Cut((Range(where, "log-1", first, following),), self.records[first:following], {})

    def _expect(self, key: tuple[Labels, int], value: int) -> None:
        held = self.expected.get(key)
        if held is None or order(value) > order(held):
            self.expected[key] = value


def labels_of(series: Series) -> Labels:
    return tuple(sorted((("__name__", series.name), *series.labels)))


def order(pattern: int) -> tuple[int, float, int]:
    """PROTOCOLS' total order, spelt as it is written there: numbers > NaN by bits > stale marker."""
    if pattern == bits(STALE):
        return (0, 0.0, 0)
    value = from_bits(pattern)
    if value != value:
        return (1, 0.0, pattern)
    return (2, value, 0 if pattern >> 63 else 1)


def samples(columns: SampleColumns) -> Samples:
    """Every sample one by one, checking the shape on the way."""
    assert len(columns.offsets) == len(columns.labels) + 1 == len(columns.timeline) + 1
    assert len(set(columns.labels)) == len(columns.labels)
    assert columns.offsets[-1] == len(columns.values)
    found: Samples = {}
    patterns = columns.values.view(np.uint64).tolist()
    for i, labels in enumerate(columns.labels):
        first, following = int(columns.offsets[i]), int(columns.offsets[i + 1])
        line = int(columns.timeline[i])
        stamps = columns.stamps[columns.stamp_offsets[line] : columns.stamp_offsets[line + 1]].tolist()
        assert len(stamps) == following - first > 0
        assert all(a < b for a, b in itertools.pairwise(stamps))
        found.update({(labels, stamp): patterns[first + k] for k, stamp in enumerate(stamps)})
    return found


def read_all(store: SampleStore, tenant: str = "default", matchers: Iterable[Matcher] = EVERYTHING) -> Samples:
    return samples(store.select(tenant, list(matchers), 0, 1 << 50))
