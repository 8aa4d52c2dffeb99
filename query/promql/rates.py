"""rate, increase, delta, irate, idelta, changes, resets: what happened between a window's samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from query.promql.matrix import Bools, Matrix
from query.promql.summation import column_sums
from query.promql.windows import RangeVector, blocks, windows_of
from tsdb.samples import Floats, Longs, SampleColumns

_EXTRAPOLATION_THRESHOLD = 1.1
_BLOCK_CELLS = 1 << 16


@dataclass(frozen=True, slots=True)
class _Edges:
    """First and last sample of each window, per timeline and step."""

    enough: Bools
    """Where a window holds two samples; elsewhere the rest is arbitrary."""
    first: Longs
    last: Longs
    first_ms: Longs
    last_ms: Longs
    counts: Longs

    def positions(self, samples: SampleColumns, rows: slice) -> tuple[Longs, Longs]:
        """Where the first and last samples of some series are among all values."""
        start = samples.offsets[:-1][rows, None]
        lines = samples.timeline[rows]
        return start + self.first[lines], start + self.last[lines]


def _edges(vector: RangeVector) -> _Edges:
    found = windows_of(vector)
    samples = vector.samples
    counts = found.high - found.low
    enough = counts >= 2
    first = np.where(enough, found.low, 0)
    last = np.where(enough, found.high - 1, 0)
    line_start = samples.stamp_offsets[:-1, None]
    first_ms = samples.stamps.take(line_start + first, mode="clip")
    last_ms = samples.stamps.take(line_start + last, mode="clip")
    return _Edges(enough, first, last, first_ms, last_ms, counts)


def _result(vector: RangeVector, values: Floats, present: Bools) -> Matrix:
    return Matrix(vector.samples.labels, values, present, np.ones(len(vector.samples.labels), bool))


@dataclass(frozen=True, slots=True)
class _Extrapolation:
    """What extrapolation needs of time, per timeline and step, in seconds."""

    sampled: Floats
    to_start: Floats
    to_end: Floats
    per: float
    """1, or the range to divide by."""

    @property
    def factor(self) -> Floats:
        """By what a window's change is multiplied."""
        return (self.sampled + self.to_start + self.to_end) / self.sampled / self.per


def _extrapolation(vector: RangeVector, edges: _Edges, per_second: bool) -> _Extrapolation:
    sampled = (edges.last_ms - edges.first_ms) / 1000
    average = sampled / (edges.counts - 1)
    to_start = (edges.first_ms - (vector.ends - vector.range_ms)) / 1000
    to_end = (vector.ends - edges.last_ms) / 1000
    threshold = average * _EXTRAPOLATION_THRESHOLD
    to_start = np.where(to_start >= threshold, average / 2, to_start)
    to_end = np.where(to_end >= threshold, average / 2, to_end)
    return _Extrapolation(sampled, to_start, to_end, vector.range_ms / 1000 if per_second else 1.0)


def extrapolated(vector: RangeVector, *, counter: bool, per_second: bool) -> Matrix:
    """The change over each window, extrapolated to its bounds as Prometheus 3 does.

    A counter's resets are added back, and it is never extrapolated below zero.
    """
    samples = vector.samples
    with np.errstate(all="ignore"):
        edges = _edges(vector)
        times = _extrapolation(vector, edges, per_second)
        factor = times.factor
        reach = np.nanmax(np.where(edges.enough, times.to_start / times.sampled, 0.0), initial=0.0)
        lost = _lost_in_resets(samples) if counter else None
        result = np.empty((len(samples.labels), len(vector.ends)))
        for rows in _row_blocks(result.shape):
            lines = samples.timeline[rows]
            first_at, last_at = edges.positions(samples, rows)
            first = samples.values.take(first_at, mode="clip")
            change = samples.values.take(last_at, mode="clip") - first
            if lost is not None:
                change += lost.take(last_at, mode="clip") - lost.take(first_at, mode="clip")
            result[rows] = change * factor[lines]
            if counter:
                near_zero = np.flatnonzero(~(first.min(axis=1) >= reach * change.max(axis=1)))
                capped = _kept_above_zero(times, lines[near_zero], first[near_zero], change[near_zero])
                result[rows][near_zero] = capped
        if lost is not None and not np.isfinite(lost[-1:]).all():
            _recount_exactly(vector, edges, times, result)
    return _result(vector, result, edges.enough[samples.timeline])


def _row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    rows_per_block = max(1, _BLOCK_CELLS // max(1, shape[1]))
    for start in range(0, shape[0], rows_per_block):
        yield slice(start, min(start + rows_per_block, shape[0]))


def _kept_above_zero(times: _Extrapolation, lines: Longs, first: Floats, change: Floats) -> Floats:
    """The extrapolated change of series that could meet zero within the reach of a window's extrapolation."""
    sampled, to_start = times.sampled[lines], times.to_start[lines]
    to_zero = sampled * (first / change)
    capped = (change > 0) & (first >= 0) & (to_zero < to_start)
    begin = np.where(capped, to_zero, to_start)
    return change * ((sampled + begin + times.to_end[lines]) / sampled / times.per)


def _lost_in_resets(samples: SampleColumns) -> Floats | None:
    """At each sample, what resets took away up to it, but for a constant per series; None when nothing ever fell."""
    drop = samples.values[1:] < samples.values[:-1]
    drop[samples.offsets[1:-1] - 1] = False
    if not drop.any():
        return None
    lost = np.zeros(len(samples.values))
    lost[1:][drop] = samples.values[:-1][drop]
    # each series starts by taking back what the one before lost, so that the running sum stays small and exact
    totals = np.add.reduceat(lost, samples.offsets[:-1])
    lost[samples.offsets[1:-1]] -= totals[:-1]
    return np.cumsum(lost)


def _recount_exactly(vector: RangeVector, edges: _Edges, times: _Extrapolation, result: Floats) -> None:
    """Overwrites what was computed from running sums, for when something infinite is among them."""
    samples = vector.samples
    for block in blocks(vector):
        before, after = block.values[:-1], block.values[1:]
        added = column_sums(np.where(block.inside[1:] & (after < before), before, 0.0)).reshape(block.shape)
        first_at, last_at = (at[:, block.steps] for at in edges.positions(samples, block.rows))
        first = samples.values.take(first_at, mode="clip")
        change = samples.values.take(last_at, mode="clip") - first + added
        part = _Extrapolation(
            times.sampled[:, block.steps], times.to_start[:, block.steps], times.to_end[:, block.steps], times.per
        )
        result[block.rows, block.steps] = _kept_above_zero(part, samples.timeline[block.rows], first, change)


def instant_change(vector: RangeVector, *, rate: bool) -> Matrix:
    """irate or idelta: from the window's last two samples."""
    edges = _edges(vector)
    samples = vector.samples
    _, last_at = edges.positions(samples, slice(None))
    last = samples.values.take(last_at, mode="clip")
    before = samples.values.take(np.maximum(last_at - 1, 0), mode="clip")
    with np.errstate(all="ignore"):
        change = last - before
        if rate:
            last_stamp = samples.stamp_offsets[:-1, None] + edges.last
            before_ms = samples.stamps.take(np.maximum(last_stamp - 1, 0), mode="clip")
            interval_s = (edges.last_ms - before_ms) / 1000
            change = np.where(last < before, last, change) / interval_s[samples.timeline]
    return _result(vector, change, edges.enough[samples.timeline])


def changes(vector: RangeVector) -> Matrix:
    """How often the value changed within the window; NaN to NaN is no change."""
    before, after = vector.samples.values[:-1], vector.samples.values[1:]
    return _counted(vector, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def resets(vector: RangeVector) -> Matrix:
    """How often the value fell within the window."""
    return _counted(vector, vector.samples.values[1:] < vector.samples.values[:-1])


def _counted(vector: RangeVector, event: Bools) -> Matrix:
    """How many events lie between neighbouring samples of one window."""
    samples = vector.samples
    found = windows_of(vector)
    some = found.high > found.low
    sums = np.concatenate(([0], np.cumsum(event)))
    start = samples.offsets[:-1, None]
    line = samples.timeline
    low = start + np.where(some, found.low, 0)[line]
    last = start + np.where(some, found.high - 1, 0)[line]
    counts = sums.take(last, mode="clip") - sums.take(low, mode="clip")
    return _result(vector, counts.astype(np.float64), some[line])
