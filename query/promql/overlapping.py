"""Sums and extremes of windows that overlap much: each sample is looked at a few times, not once per window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from query.promql.matrix import Matrix
from query.promql.windows import RangeVector, windows_of
from tsdb.samples import Floats, Longs

_BLOCK_CELLS = 1 << 16
_TABLE_CELLS_MAX = 1 << 25
_INTEGERS_MAX = 2.0**53


def overlapping_extremes(vector: RangeVector, best: Callable[[Floats, Floats], Floats]) -> Matrix | None:
    """The windows' least or greatest values, `best` being np.fmin or np.fmax; None when going window by window is cheaper.

    Level k of a table holds the best of 2^k samples from each on; two of them cover any window.
    """
    found = windows_of(vector)
    counts = found.high - found.low
    levels = np.frexp(np.maximum(counts, 1).astype(np.float64))[1].astype(np.int64) - 1
    values = vector.samples.values
    top = int(levels.max(initial=0))
    if (top + 1) * len(values) > _TABLE_CELLS_MAX or not _overlaps(vector, counts, top + 1):
        return None
    table = np.empty((top + 1, len(values)))
    table[0] = values
    for level in range(top):
        half = 1 << level
        table[level + 1] = table[level]
        table[level + 1, : len(values) - half] = best(table[level, : len(values) - half], table[level, half:])
    flat = table.ravel()
    low = np.where(counts > 0, found.low, 0) + levels * len(values)
    high = np.where(counts > 0, found.high - (1 << levels), 0) + levels * len(values)
    result = np.empty((len(vector.samples.labels), len(vector.ends)))
    for rows, start, lines in _row_blocks(vector):
        left = flat.take(start + low[lines], mode="clip")
        result[rows] = best(left, flat.take(start + high[lines], mode="clip"))
    return _matrix(vector, result, counts)


def overlapping_sums(vector: RangeVector) -> tuple[Matrix, Longs] | None:
    """The windows' sums and their counts per timeline, from running sums. None unless all values are whole numbers
    so small that this is exact, or when going window by window is cheaper."""
    found = windows_of(vector)
    counts = found.high - found.low
    values = vector.samples.values
    if not _overlaps(vector, counts, 4) or not _sum_exactly(values, counts):
        return None
    running = np.concatenate(([0], np.cumsum(values.astype(np.int64))))
    result = np.empty((len(vector.samples.labels), len(vector.ends)))
    for rows, start, lines in _row_blocks(vector):
        result[rows] = running.take(start + found.high[lines], mode="clip") - running.take(
            start + found.low[lines], mode="clip"
        )
    return _matrix(vector, result, counts), counts


def _overlaps(vector: RangeVector, counts: Longs, passes: int) -> bool:
    """Whether passes over all samples are cheaper than looking at each window's; a sample in a window costs about four passes."""
    series_per_line = np.bincount(vector.samples.timeline, minlength=len(counts))
    return bool(4 * (counts.sum(axis=1) * series_per_line).sum() > passes * len(vector.samples.values))


def _sum_exactly(values: Floats, counts: Longs) -> bool:
    greatest = float(np.abs(values).max(initial=0.0))
    deepest = max(int(counts.max(initial=0)), 1)
    return greatest * deepest < _INTEGERS_MAX and bool((np.rint(values) == values).all())


def _row_blocks(vector: RangeVector) -> Iterator[tuple[slice, Longs, Longs]]:
    """Series in blocks: which, where their values start as a column, and their timelines."""
    samples = vector.samples
    rows_per_block = max(1, _BLOCK_CELLS // max(1, len(vector.ends)))
    for row in range(0, len(samples.timeline), rows_per_block):
        rows = slice(row, row + rows_per_block)
        yield rows, samples.offsets[:-1][rows, None], samples.timeline[rows]


def _matrix(vector: RangeVector, values: Floats, counts: Longs) -> Matrix:
    present = (counts > 0)[vector.samples.timeline]
    return Matrix(vector.samples.labels, values, present, np.ones(len(vector.samples.labels), bool))
