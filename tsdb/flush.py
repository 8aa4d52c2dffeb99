"""The plan of a flush: from decoded metric messages to rows. No I/O, and no Python statement per sample.

A row holds exactly the samples of the flush's offsets that fall into its (tenant, bucket, window). Order of writing: catalog, series
sets, label directory, rows (of all days), flush record, commit of the offsets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .bucket_set import BucketSet, build, serials_to_hold, serves
from .flush_shape import FlushShape, ShapeRow, shape_of
from .l0 import L0Block, Ragged, encode_l0
from .layout import KnownLayout
from .metric_message import MetricMessage
from .placement import Placement, place, propose
from .port import (
    DAY_MS,
    WINDOW_MS,
    WINDOWS_PER_DAY,
    CatalogEntry,
    DayFlush,
    DirectoryEntry,
    FlushRecord,
    L0Row,
    NewSet,
    RowRecord,
    Source,
)
from .sample_hash import hash_sum, sample_hashes
from .samples import Longs

PLAN_CACHE_BYTES_MAX: Final = 192 * 1024 * 1024

TenantDay: TypeAlias = tuple[str, int]
_ShapeKey: TypeAlias = tuple[tuple[int, ...], frozenset[int]]


@dataclass(frozen=True, slots=True)
class FlushMessage:
    """A decoded message with its tenant; `keep` marks the samples to store when not all are."""

    tenant: str
    message: MetricMessage
    keep: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class _RaggedPart:
    placement: Placement
    stamps: Longs
    values: npt.NDArray[np.float64]
    within: npt.NDArray[np.bool_]
    """S: the samples that fall into the window."""


@dataclass(slots=True)
class _Gathered:
    """What falls into one (tenant, window)."""

    shared: list[tuple[Placement, MetricMessage]] = field(default_factory=list)
    ragged: list[_RaggedPart] = field(default_factory=list)


@dataclass(slots=True)
class _Day:
    """What is known of one (tenant, day)."""

    catalog: dict[str, CatalogEntry] = field(default_factory=dict)
    placements: dict[int, Placement] = field(default_factory=dict)
    sets: dict[str, BucketSet] = field(default_factory=dict)
    shapes: OrderedDict[_ShapeKey, FlushShape] = field(default_factory=OrderedDict)
    last_used: dict[int, int] = field(default_factory=dict)
    unwritten_sets: dict[bytes, NewSet] = field(default_factory=dict)
    unwritten_directory: dict[int, Placement] = field(default_factory=dict)
    tick: int = 0
    size_bytes: int = 0


class FlushPlanner:
    """Plans flushes and remembers what makes the next one cheap, at most `cache_bytes_max`; used by one thread.

    What the store is believed to hold is believed only after `acknowledge`; `forget` drops all belief.
    """

    def __init__(self, cache_bytes_max: int = PLAN_CACHE_BYTES_MAX) -> None:
        self._cache_bytes_max = cache_bytes_max
        self._days: OrderedDict[TenantDay, _Day] = OrderedDict()

    def proposals(self, messages: Sequence[FlushMessage]) -> dict[TenantDay, list[CatalogEntry]]:
        """Catalog entries to claim before plan(), where metrics are new to a day."""
        layouts: dict[TenantDay, dict[int, KnownLayout]] = {}
        for m in messages:
            for day in _days_of(m):
                layouts.setdefault((m.tenant, day), {})[m.message.layout.serial] = m.message.layout
        wanted: dict[TenantDay, list[CatalogEntry]] = {}
        for key, found in layouts.items():
            state = self._day(key)
            new = [layout for serial, layout in found.items() if serial not in state.placements]
            entries = propose(new, state.catalog)
            if entries:
                wanted[key] = entries
        return wanted

    def claimed(self, key: TenantDay, entries: Mapping[str, CatalogEntry]) -> None:
        """The entries that hold from now on."""
        self._day(key).catalog.update(entries)

    def plan(self, messages: Sequence[FlushMessage], source: Source) -> list[DayFlush]:
        """What to write, by day. Every metric must have been claimed."""
        gathered: dict[tuple[str, int], _Gathered] = {}
        for m in messages:
            self._gather(m, gathered)
        rows: dict[int, list[L0Row]] = {}
        tenants: dict[int, set[str]] = {}
        for (tenant, window), found in sorted(gathered.items()):
            day = window // WINDOWS_PER_DAY
            tenants.setdefault(day, set()).add(tenant)
            rows.setdefault(day, []).extend(self._rows(tenant, window, found))
        return [self._day_flush(day, source, rows[day], sorted(tenants[day])) for day in sorted(rows)]

    def acknowledge(self, flushes: Iterable[DayFlush]) -> None:
        """These are durable: their sets and directory entries need not be given again."""
        for flush in flushes:
            for tenant in {row.tenant for row in flush.rows}:
                state = self._day((tenant, flush.day))
                for new in flush.sets:
                    state.unwritten_sets.pop(new.hash, None)
                state.unwritten_directory.clear()
        self._shrink()

    def forget(self) -> None:
        """Believe nothing about the store any more."""
        self._days.clear()

    def _day(self, key: TenantDay) -> _Day:
        state = self._days.get(key)
        if state is None:
            state = self._days[key] = _Day()
        self._days.move_to_end(key)
        return state

    def _shrink(self) -> None:
        while self._days and sum(state.size_bytes for state in self._days.values()) > self._cache_bytes_max:
            self._days.popitem(last=False)

    def _gather(self, m: FlushMessage, into: dict[tuple[str, int], _Gathered]) -> None:
        message = m.message
        if not message.layout.count:
            return
        if message.time_offsets_ms is None:
            window = message.timestamp_ms // WINDOW_MS
            placement = self._place(m.tenant, window, message.layout)
            _at(into, m.tenant, window).shared.append((placement, message))
            return
        stamps = message.timestamp_ms + message.time_offsets_ms
        windows = stamps // WINDOW_MS
        keep = np.ones(len(stamps), np.bool_) if m.keep is None else m.keep
        for window in np.unique(windows[keep]).tolist():
            placement = self._place(m.tenant, window, message.layout)
            part = _RaggedPart(placement, stamps, message.values, keep & (windows == window))
            _at(into, m.tenant, window).ragged.append(part)

    def _place(self, tenant: str, window: int, layout: KnownLayout) -> Placement:
        state = self._day((tenant, window // WINDOWS_PER_DAY))
        placement = state.placements.get(layout.serial)
        if placement is None:
            placement = state.placements[layout.serial] = place(layout, state.catalog)
            state.unwritten_directory[layout.serial] = placement
            state.size_bytes += placement.size_bytes
        return placement

    def _rows(self, tenant: str, window: int, found: _Gathered) -> list[L0Row]:
        state = self._day((tenant, window // WINDOWS_PER_DAY))
        shared = sorted(found.shared, key=_canonical)
        shape = self._shape(state, tenant, shared, found.ragged)
        if shared:
            flat = np.concatenate([message.values for _, message in shared])[shape.permutation]
        else:
            flat = np.zeros(0)
        stamps = np.array([message.timestamp_ms for _, message in shared], np.int64)
        hashes = sample_hashes(shape.seeds, stamps[shape.message_of], flat)
        rows: list[L0Row] = []
        for row in shape.rows:
            ragged = _ragged(row, found.ragged) if found.ragged else None
            values = flat[row.first : row.next]
            block = L0Block(row.set.hash, row.counts, stamps[row.stamp_messages], values, ragged)
            total = hash_sum(hashes[row.first : row.next])
            samples = len(values)
            if ragged is not None:
                samples += len(ragged.values)
                total += hash_sum(sample_hashes(row.set.seeds[ragged.ordinals], ragged.stamps, ragged.values))
            data = encode_l0(block, row.set.bounds)
            rows.append(L0Row(tenant, row.bucket, window, row.set.hash, data, samples, total & (1 << 64) - 1))
        return rows

    def _shape(
        self,
        state: _Day,
        tenant: str,
        shared: Sequence[tuple[Placement, MetricMessage]],
        ragged: Sequence[_RaggedPart],
    ) -> FlushShape:
        serials = tuple([placement.layout.serial for placement, _ in shared])
        alone = {part.placement.layout.serial: part.placement for part in ragged}
        state.tick += 1
        state.last_used.update(dict.fromkeys((*serials, *alone), state.tick))
        key = (serials, frozenset(alone))
        shape = state.shapes.get(key)
        if shape is not None:
            state.shapes.move_to_end(key)
            return shape
        repeats: dict[int, int] = {}
        placements = {placement.layout.serial: placement for placement, _ in shared}
        for serial in serials:
            repeats[serial] = repeats.get(serial, 0) + 1
        extra = frozenset(bucket for placement in alone.values() for bucket in placement.buckets)

        def set_of(bucket: str, needed: list[int], wanted: int) -> BucketSet:
            if bucket in extra:
                needed = list({*needed, *(s for s, placement in alone.items() if bucket in placement.buckets)})
                wanted = sum(_size_in(state.placements[serial], bucket) for serial in needed)
            return _set_of(state, tenant, bucket, needed, wanted)

        shape = shape_of(list(placements.values()), list(repeats.values()), set_of, extra)
        state.shapes[key] = shape
        state.size_bytes += shape.size_bytes
        while len(state.shapes) > 1 and sum(s.size_bytes for s in state.shapes.values()) > self._cache_bytes_max // 4:
            _, oldest = state.shapes.popitem(last=False)
            state.size_bytes -= oldest.size_bytes
        return shape

    def _day_flush(self, day: int, source: Source, rows: Sequence[L0Row], tenants: Sequence[str]) -> DayFlush:
        hashes = frozenset(row.set_hash for row in rows)
        sets: list[NewSet] = []
        directory: list[DirectoryEntry] = []
        for tenant in tenants:
            state = self._day((tenant, day))
            sets += [new for key, new in state.unwritten_sets.items() if key in hashes]
            for placement in state.unwritten_directory.values():
                directory += _directory(tenant, placement.layout)
        return DayFlush(day, source, tuple(sets), tuple(directory), tuple(rows), hashes)


def flush_record(source: Source, flushes: Sequence[DayFlush]) -> FlushRecord:
    """What to record once all of these are durable."""
    rows = [RowRecord(r.tenant, r.bucket, r.window, r.samples, r.hash_sum) for f in flushes for r in f.rows]
    return FlushRecord(source, tuple(rows))


def _days_of(m: FlushMessage) -> Iterable[int]:
    offsets = m.message.time_offsets_ms
    if offsets is None:
        return (m.message.timestamp_ms // DAY_MS,)
    stamps = m.message.timestamp_ms + (offsets if m.keep is None else offsets[m.keep])
    return [int(day) for day in np.unique(stamps // DAY_MS)]


def _at(into: dict[tuple[str, int], _Gathered], tenant: str, window: int) -> _Gathered:
    found = into.get((tenant, window))
    if found is None:
        found = into[(tenant, window)] = _Gathered()
    return found


def _canonical(item: tuple[Placement, MetricMessage]) -> tuple[tuple[bytes, int], int, bytes, int]:
    message = item[1]
    return message.layout.order, message.timestamp_ms, message.producer_id, message.sequence


def _set_of(state: _Day, tenant: str, bucket: str, needed: Sequence[int], wanted: int) -> BucketSet:
    current = state.sets.get(bucket)
    if current is not None and serves(current, needed, wanted):
        return current
    serials = serials_to_hold(current, needed, state.last_used, state.tick)
    placements = sorted((state.placements[serial] for serial in serials), key=lambda p: p.layout.order)
    parts = [_series_in(placement, bucket) for placement in placements]
    held, new = build(tenant, parts)
    state.sets[bucket] = held
    state.unwritten_sets[held.hash] = new
    state.size_bytes += held.size_bytes
    return held


def _series_in(placement: Placement, bucket: str) -> tuple[Placement, Longs]:
    return placement, placement.positions[placement.buckets.index(bucket)]


def _size_in(placement: Placement, bucket: str) -> int:
    return len(_series_in(placement, bucket)[1])


def _ragged(row: ShapeRow, parts: Sequence[_RaggedPart]) -> Ragged | None:
    ordinals: list[Longs] = []
    stamps: list[Longs] = []
    values: list[npt.NDArray[np.float64]] = []
    for part in parts:
        placement = part.placement
        if row.bucket not in placement.buckets:
            continue
        positions = placement.positions[placement.buckets.index(row.bucket)]
        within = part.within[positions]
        base = row.set.bounds[row.set.group_of[placement.layout.serial]]
        ordinals.append(base + np.flatnonzero(within))
        stamps.append(part.stamps[positions[within]])
        values.append(part.values[positions[within]])
    if not any(map(len, ordinals)):
        return None
    return Ragged(np.concatenate(ordinals), np.concatenate(stamps), np.concatenate(values))


def _directory(tenant: str, layout: KnownLayout) -> list[DirectoryEntry]:
    names = layout.labels.columns["__name__"]
    entries: list[DirectoryEntry] = []
    for name, column in layout.labels.columns.items():
        if name == "__name__":
            continue
        width = len(column.values)
        pairs = np.unique(names.codes.astype(np.int64) * width + column.codes)
        entries += [
            DirectoryEntry(tenant, name, column.values[pair % width], names.values[pair // width])
            for pair in pairs.tolist()
            if pair % width
        ]
    return entries
