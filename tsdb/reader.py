"""Reading samples: from matchers to series sets, from rows to columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from .assemble import Selection, assemble
from .byte_cache import ByteCache
from .errors import CorruptBlockError, StoreUnavailableError
from .l0 import L0Block, decode_l0
from .matching import predicate, select
from .port import DAY_MS, WINDOW_MS, WINDOWS_PER_DAY, BlockReader, CatalogEntry, Manifest, Stored
from .samples import Labels, Longs, Match, Matcher, MetricMetadata, SampleColumns
from .series_set import SeriesSet, decode_set

SET_CACHE_BYTES_MAX: Final = 96 * 1024 * 1024
MATCH_CACHE_BYTES_MAX: Final = 32 * 1024 * 1024
METADATA_DAYS: Final = 7
"""Metadata are those of a metric's newest day among this many."""
_THREADS: Final = 2
_ROWS_PER_THREAD: Final = 32

_Shard: TypeAlias = tuple[str, int, int]
"""Metric, shard, and how many shards the metric has that day."""


@dataclass(frozen=True, slots=True)
class _Matched:
    ordinals: Longs
    labels: Sequence[Labels]


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows of one set, and the (metric, shard)s that a merged version answers for in their place."""

    day: int
    blocks: list[bytes]
    absorbed: frozenset[_Shard]


class TsdbReader:
    """tsdb.samples' SampleStore over a block store. Safe from several threads."""

    def __init__(self, blocks: BlockReader) -> None:
        self._blocks = blocks
        self._sets: ByteCache[bytes, SeriesSet] = ByteCache(SET_CACHE_BYTES_MAX)
        self._matches: ByteCache[tuple[bytes, tuple[Matcher, ...]], _Matched] = ByteCache(MATCH_CACHE_BYTES_MAX)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tsdb-decode")

    def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SampleColumns:
        """See SampleStore. Raises ValueError when a matcher's regular expression is none."""
        with _store_faults():
            selections: list[Selection] = []
            found: dict[tuple[bytes, frozenset[_Shard]], _Found] = {}
            for day, entries in self._days(tenant, matchers, start_ms, end_ms):
                self._find(tenant, day, entries, start_ms, end_ms, found)
                selections += self._merged(tenant, day, entries, matchers, start_ms, end_ms)
            for (set_hash, absorbed), rows in found.items():
                selection = self._selection(rows.day, set_hash, matchers, rows.blocks, absorbed)
                if selection is not None:
                    selections.append(selection)
            return assemble(selections, start_ms, end_ms)

    def series(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """See SampleStore."""
        with _store_faults():
            found: set[Labels] = set()
            for set_hash, held in self._sets_of(tenant, matchers, start_ms, end_ms):
                found.update(self._match(set_hash, held, matchers).labels)
            return sorted(found)

    def label_names(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See SampleStore."""
        with _store_faults():
            names: set[str] = set()
            for _, held in self._sets_of(tenant, matchers, start_ms, end_ms):
                ordinals = select(held.labels, matchers)
                columns = held.labels.columns.items()
                names.update(name for name, column in columns if column.codes[ordinals].any())
            return sorted(names)

    def label_values(
        self, tenant: str, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> list[str]:
        """See SampleStore."""
        with _store_faults():
            values: set[str] = set()
            for _, held in self._sets_of(tenant, matchers, start_ms, end_ms):
                column = held.labels.columns.get(name)
                if column is not None:
                    codes = np.unique(column.codes[select(held.labels, matchers)])
                    values.update(column.values[code] for code in codes.tolist() if code)
            return sorted(values)

    def metadata(self, tenant: str, metric: str | None = None) -> list[MetricMetadata]:
        """See SampleStore; the series of a family (histogram, summary) give one entry under the family's name."""
        with _store_faults():
            found: dict[str, MetricMetadata] = {}
            for day in list(self._blocks.days())[: -METADATA_DAYS - 1 : -1]:
                for entry in self._blocks.catalog(tenant, day, None):
                    name = entry.family or entry.metric
                    if metric in (None, name, entry.metric):
                        found.setdefault(name, MetricMetadata(name, entry.kind, entry.unit, entry.help))
            return [found[name] for name in sorted(found)]

    def _days(
        self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[tuple[int, Sequence[CatalogEntry]]]:
        """Days of the range with the catalog entries of the metrics that may match."""
        for day in self._blocks.days():
            if start_ms // DAY_MS <= day <= end_ms // DAY_MS:
                entries = self._entries(tenant, day, matchers)
                if entries:
                    yield day, entries

    def _entries(self, tenant: str, day: int, matchers: Sequence[Matcher]) -> Sequence[CatalogEntry]:
        by_name = [m for m in matchers if m.name == "__name__"]
        exact = {m.value for m in by_name if m.op is Match.EQUAL}
        if len(exact) > 1:
            return []
        metrics: set[str] | None = exact or None
        if metrics is None:
            for m in matchers:
                if m.op is Match.EQUAL and m.value and m.name != "__name__":
                    having = set(self._blocks.metrics_with(tenant, day, m.name, m.value))
                    metrics = having if metrics is None else metrics & having
        if metrics is not None and not metrics:
            return []
        tests = [predicate(m) for m in by_name]
        entries = self._blocks.catalog(tenant, day, metrics)
        return [entry for entry in entries if all(test(entry.metric) for test in tests)]

    def _sets_of(
        self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[tuple[bytes, SeriesSet]]:
        seen: set[bytes] = set()
        for day, entries in self._days(tenant, matchers, start_ms, end_ms):
            for set_hash in self._blocks.set_hashes(tenant, day, [entry.metric for entry in entries]):
                if set_hash not in seen:
                    seen.add(set_hash)
                    yield set_hash, self._set(day, set_hash)

    def _find(
        self,
        tenant: str,
        day: int,
        entries: Sequence[CatalogEntry],
        start_ms: int,
        end_ms: int,
        into: dict[tuple[bytes, frozenset[_Shard]], _Found],
    ) -> None:
        """L0 rows by set; a row that is wholly absorbed for some (metric, shard) does not answer for it."""
        manifests = self._blocks.manifests(tenant, day, [entry.metric for entry in entries])
        shards = {entry.metric: entry.shards for entry in entries}
        first, last = _windows(day, start_ms, end_ms)
        buckets = {bucket for entry in entries for bucket in entry.buckets}
        for row in self._blocks.rows(tenant, day, buckets, first, last):
            absorbed = _absorbed(row, manifests, shards) if manifests else frozenset()
            found = into.setdefault((row.set_hash, absorbed), _Found(day, [], absorbed))
            found.blocks.append(row.block)

    def _merged(
        self,
        tenant: str,
        day: int,
        entries: Sequence[CatalogEntry],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
    ) -> list[Selection]:
        """Merged rows that the manifests name for the windows of the range."""
        first, last = _windows(day, start_ms, end_ms)
        selections: list[Selection] = []
        for manifest in self._blocks.manifests(tenant, day, [entry.metric for entry in entries]):
            named = {held.version for window, held in manifest.windows.items() if first <= window <= last}
            versions = [version for version in manifest.versions if version.id in named]
            blocks = self._blocks.merged(tenant, day, [version.id for version in versions])
            for version in versions:
                selection = self._selection(day, version.set_hash, matchers, [blocks[version.id]], frozenset())
                if selection is not None:
                    selections.append(selection)
        return selections

    def _selection(
        self,
        day: int,
        set_hash: bytes,
        matchers: Sequence[Matcher],
        blobs: Sequence[bytes],
        absorbed: frozenset[_Shard],
    ) -> Selection | None:
        held = self._set(day, set_hash)
        matched = self._match(set_hash, held, matchers)
        ordinals, labels = matched.ordinals, matched.labels
        if absorbed:
            ordinals, labels = _without(held, matched, absorbed)
        if not len(ordinals):
            return None
        return Selection(held, ordinals, labels, self._decode(blobs, held))

    def _decode(self, blobs: Sequence[bytes], held: SeriesSet) -> list[L0Block]:
        if len(blobs) < 2 * _ROWS_PER_THREAD:
            return [decode_l0(blob, held.groups) for blob in blobs]
        half = len(blobs) // 2
        other = self._threads.submit(lambda: [decode_l0(blob, held.groups) for blob in blobs[half:]])
        return [decode_l0(blob, held.groups) for blob in blobs[:half]] + other.result()

    def _set(self, day: int, set_hash: bytes) -> SeriesSet:
        held = self._sets.get(set_hash)
        if held is None:
            held = decode_set(set_hash, self._blocks.series_set(day, set_hash))
            self._sets.put(set_hash, held, held.size_bytes)
        return held

    def _match(self, set_hash: bytes, held: SeriesSet, matchers: Sequence[Matcher]) -> _Matched:
        key = (set_hash, tuple(matchers))
        matched = self._matches.get(key)
        if matched is None:
            ordinals = select(held.labels, matchers)
            labels = held.labels.labels(ordinals)
            matched = _Matched(ordinals, labels)
            size = 8 * len(ordinals) + sum(56 + 120 * len(pairs) for pairs in labels) + 500
            self._matches.put(key, matched, size)
        return matched


@contextlib.contextmanager
def _store_faults() -> Iterator[None]:
    try:
        yield
    except CorruptBlockError as error:
        raise StoreUnavailableError(f"the time-series store is damaged: {error}") from error


def _windows(day: int, start_ms: int, end_ms: int) -> tuple[int, int]:
    first = day * WINDOWS_PER_DAY
    return max(start_ms // WINDOW_MS, first), min(end_ms // WINDOW_MS, first + WINDOWS_PER_DAY - 1)


def _absorbed(row: Stored, manifests: Iterable[Manifest], shards: Mapping[str, int]) -> frozenset[_Shard]:
    holding: set[_Shard] = set()
    for manifest in manifests:
        held = manifest.windows.get(row.window)
        if held is not None and held.holds(row.source):
            holding.add((manifest.metric, manifest.shard, shards[manifest.metric]))
    return frozenset(holding)


def _without(held: SeriesSet, matched: _Matched, absorbed: frozenset[_Shard]) -> tuple[Longs, Sequence[Labels]]:
    """The matched series but those of absorbed (metric, shard)s."""
    names = held.labels.columns["__name__"]
    keep = np.ones(len(matched.ordinals), np.bool_)
    codes = names.codes[matched.ordinals]
    hashes = held.shard_hashes[matched.ordinals]
    for metric, shard, shards in absorbed:
        if metric in names.values:
            keep &= ~((codes == names.values.index(metric)) & (hashes % np.uint32(shards) == shard))
    return matched.ordinals[keep], [matched.labels[i] for i in np.flatnonzero(keep).tolist()]
