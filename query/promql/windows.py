"""Which samples each step sees: found once per timeline, shared by all series on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from query.promql.matrix import Bools, Matrix
from tsdb.samples import Floats, Labels, Longs, SampleColumns

STALE_BITS = 0x7FF0000000000002
_BLOCK_CELLS = 1 << 19

Numbers = TypeVar("Numbers", Floats, Longs)


@dataclass(frozen=True, slots=True)
class RangeVector:
    """Samples with a left-open window per step: (ends - range, ends]. Stale markers are gone.

    `ends` has T entries, or one that counts for every step.
    """

    samples: SampleColumns
    nameless: Bools
    ends: Longs
    range_ms: int

    @property
    def labels(self) -> list[Labels]:
        """S label sets."""
        return list(self.samples.labels)

    def repeated(self, steps: int) -> RangeVector:
        """The same with an end per step."""
        ends = np.broadcast_to(self.ends, (steps,))
        return RangeVector(self.samples, self.nameless, ends, self.range_ms)


@dataclass(frozen=True, slots=True)
class Windows:
    """For each timeline and step, the window as [low, high) within the timeline."""

    low: Longs
    high: Longs


def before_or_at(samples: SampleColumns, times: Longs) -> Longs:
    """long[timelines, len(times)]: how many stamps of a timeline are at or before each time."""
    stamps, offsets = samples.stamps, samples.stamp_offsets
    lines = len(offsets) - 1
    if len(stamps) == 0:
        return np.zeros((lines, len(times)), np.int64)
    if lines == 1:
        return np.searchsorted(stamps, times, "right").astype(np.int64)[None, :]
    first = int(stamps.min())
    span = int(stamps.max()) - first + 3
    base = np.arange(lines, dtype=np.int64) * span
    keys = (stamps - first + 1) + np.repeat(base, np.diff(offsets))
    wanted = np.clip(times - first + 1, 0, span - 1)
    return np.searchsorted(keys, wanted[None, :] + base[:, None], "right") - offsets[:-1, None]


def windows_of(vector: RangeVector) -> Windows:
    """The windows of a range vector, per timeline."""
    high = before_or_at(vector.samples, vector.ends)
    low = before_or_at(vector.samples, vector.ends - vector.range_ms)
    return Windows(low, high)


def instant(samples: SampleColumns, times: Longs, lookback_ms: int) -> tuple[Matrix, Longs]:
    """The newest sample of each series in (time - lookback, time], unless it is a stale marker; and those samples' stamps."""
    count = before_or_at(samples, times)
    found = count > 0
    at = np.where(found, count - 1, 0)
    stamps = samples.stamps.take(samples.stamp_offsets[:-1, None] + at, mode="clip")
    found &= stamps > times - lookback_ms
    line = samples.timeline
    values = samples.values.take(samples.offsets[:-1, None] + at[line], mode="clip")
    present = found[line] & (values.view(np.int64) != STALE_BITS)
    matrix = Matrix(samples.labels, values, present, np.zeros(len(samples.labels), bool))
    return matrix, stamps[line]


def without_stale(samples: SampleColumns) -> SampleColumns:
    """The samples but for stale markers; if there are any, every series gets a timeline of its own."""
    fresh = samples.values.view(np.int64) != STALE_BITS
    if fresh.all():
        return samples
    counts = np.diff(samples.offsets)
    line_start = samples.stamp_offsets[:-1][samples.timeline]
    within = np.arange(len(samples.values), dtype=np.int64) - np.repeat(samples.offsets[:-1], counts)
    stamps = samples.stamps[np.repeat(line_start, counts) + within][fresh]
    kept = np.add.reduceat(fresh, samples.offsets[:-1], dtype=np.int64)
    alive = np.flatnonzero(kept)
    labels = [samples.labels[row] for row in alive.tolist()]
    offsets = np.concatenate(([0], np.cumsum(kept[alive])))
    return SampleColumns(labels, samples.values[fresh], offsets, np.arange(len(alive)), stamps, offsets)


def columns_of(matrix: Matrix, times: Longs) -> SampleColumns:
    """A subquery's matrix as samples; series with equal presence share a timeline."""
    present = matrix.present
    counts = present.sum(axis=1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    if present.all():
        timeline = np.zeros(len(present), np.int64)
        stamp_offsets = np.array([0, len(times)], np.int64)
        return SampleColumns(
            matrix.labels, np.ascontiguousarray(matrix.values).ravel(), offsets, timeline, times, stamp_offsets
        )
    patterns, timeline = np.unique(present, axis=0, return_inverse=True)
    stamps = np.broadcast_to(times, patterns.shape)[patterns]
    stamp_offsets = np.concatenate(([0], np.cumsum(patterns.sum(axis=1)))).astype(np.int64)
    return SampleColumns(
        matrix.labels, matrix.values[present], offsets, timeline.ravel().astype(np.int64), stamps, stamp_offsets
    )


@dataclass(frozen=True, slots=True)
class WindowBlock:
    """Some windows side by side: n samples deep, W windows wide."""

    rows: slice
    """Which series these windows belong to: W = rows × steps, by series."""
    steps: slice
    """Which steps."""
    shape: tuple[int, int]
    """How many rows and steps."""
    values: Floats
    """float64[n, W]; 0 where a window is shorter than n. n is at least 1."""
    stamps: Longs
    """long[n, W], milliseconds; arbitrary beyond a window's end."""
    inside: Bools
    """bool[n, W]."""
    counts: Longs
    """W: samples per window."""

    def each(self, parameter: Numbers) -> Numbers:
        """A parameter with an entry per step of the query, with an entry per window."""
        return np.broadcast_to(parameter[self.steps], self.shape).ravel()


def blocks(vector: RangeVector) -> Iterator[WindowBlock]:
    """All windows of all series, in blocks of a size that stays in the cache; none when every window is empty."""
    found = windows_of(vector)
    samples = vector.samples
    counts = found.high - found.low
    deepest = int(counts.max(initial=0))
    if deepest == 0:
        return
    steps = len(vector.ends)
    steps_per_block = max(1, min(steps, _BLOCK_CELLS // deepest))
    rows_per_block = max(1, _BLOCK_CELLS // (deepest * steps_per_block))
    series = len(samples.timeline)
    for row in range(0, series, rows_per_block):
        for step in range(0, steps, steps_per_block):
            rows = slice(row, min(row + rows_per_block, series))
            yield _block(samples, found, counts, rows, slice(step, min(step + steps_per_block, steps)))


def _block(samples: SampleColumns, found: Windows, counts: Longs, rows: slice, steps: slice) -> WindowBlock:
    lines = samples.timeline[rows]
    low = found.low[lines, steps]
    wide = counts[lines, steps].ravel()
    depth = np.arange(int(wide.max(initial=1)), dtype=np.int64)[:, None]
    inside = depth < wide
    value_at = (samples.offsets[:-1][rows][:, None] + low).ravel()
    stamp_at = (samples.stamp_offsets[:-1][lines][:, None] + low).ravel()
    values = samples.values.take(value_at + depth, mode="clip")
    values[~inside] = 0.0
    stamps = samples.stamps.take(stamp_at + depth, mode="clip")
    return WindowBlock(rows, steps, (low.shape[0], low.shape[1]), values, stamps, inside, wide)
