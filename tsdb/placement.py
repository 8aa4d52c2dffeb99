"""Which bucket each series of a layout belongs to, by the catalog of a (tenant, day)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from .layout import KnownLayout, Metric
from .port import SHARD_SERIES, SHARDS_PER_BUCKET, CatalogEntry
from .samples import Longs

_BUCKET_SERIES: Final = 4000
_SHARED_BUCKETS_MAX: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A layout cut into buckets."""

    layout: KnownLayout
    buckets: tuple[str, ...]
    positions: tuple[Longs, ...]
    """Per bucket, ascending: which series of the layout it holds."""
    bucket_of: Longs
    """S: index into `buckets`."""
    place_in: Longs
    """S: index into its bucket's positions."""

    @property
    def size_bytes(self) -> int:
        """About what this takes in memory, the layout included."""
        return self.layout.size_bytes + 32 * len(self.bucket_of) + 200 * len(self.buckets)


def propose(layouts: Iterable[KnownLayout], known: Mapping[str, CatalogEntry]) -> list[CatalogEntry]:
    """Entries for metrics that have none yet: large metrics get buckets of their own, small ones share."""
    sizes: dict[str, int] = {}
    metrics: dict[str, Metric] = {}
    for layout in layouts:
        for metric in layout.metrics:
            if metric.name not in known:
                sizes[metric.name] = sizes.get(metric.name, 0) + metric.next - metric.first
                metrics.setdefault(metric.name, metric)
    small = sum(size for size in sizes.values() if size < SHARD_SERIES)
    shared = 1
    while shared < _SHARED_BUCKETS_MAX and small > shared * 2 * _BUCKET_SERIES:
        shared *= 2
    return [_entry(metric, sizes[name], shared) for name, metric in metrics.items()]


def place(layout: KnownLayout, catalog: Mapping[str, CatalogEntry]) -> Placement:
    """Every metric of the layout must be in the catalog."""
    names: dict[str, int] = {}
    bucket_of = np.zeros(layout.count, np.int64)
    for metric in layout.metrics:
        entry = catalog[metric.name]
        if entry.shards <= SHARDS_PER_BUCKET:
            bucket_of[metric.first : metric.next] = names.setdefault(entry.bucket, len(names))
            continue
        shards = layout.shard_hashes[metric.first : metric.next] % np.uint32(entry.shards)
        lookup = [names.setdefault(entry.bucket_of(shard), len(names)) for shard in range(entry.shards)]
        bucket_of[metric.first : metric.next] = np.array(lookup)[shards]
    present = np.unique(bucket_of)
    ordered = list(names)
    buckets = tuple(ordered[index] for index in present.tolist())
    dense = np.searchsorted(present, bucket_of)
    positions = tuple(np.flatnonzero(dense == b) for b in range(len(buckets)))
    place_in = np.empty(layout.count, np.int64)
    for at in positions:
        place_in[at] = np.arange(len(at))
    return Placement(layout, buckets, positions, dense, place_in)


def _entry(metric: Metric, size: int, shared: int) -> CatalogEntry:
    if size >= SHARD_SERIES:
        bucket, shards = f"m/{metric.name}", -(-size // SHARD_SERIES)
    else:
        bucket, shards = f"s/{zlib.crc32(metric.name.encode()) % shared}", 1
    return CatalogEntry(metric.name, bucket, shards, metric.kind, metric.unit, metric.help, metric.family)
