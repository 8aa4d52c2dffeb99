"""deriv, predict_linear and double_exponential_smoothing: a line through a window's samples."""

from __future__ import annotations

import numpy as np

from query.promql.errors import ExecutionError
from query.promql.matrix import Matrix
from query.promql.over_time import reduced
from query.promql.summation import column_sums
from query.promql.windows import RangeVector, WindowBlock, windows_of
from tsdb.samples import Floats, Longs


def _line(block: WindowBlock, origin_ms: Longs) -> tuple[Floats, Floats]:
    """Slope per second and value at the origin of the least-squares line; constant windows are exactly flat."""
    values = block.values
    x = np.where(block.inside, (block.stamps - origin_ms) / 1000, 0.0)
    n = block.counts
    sum_x, sum_y = column_sums(x), column_sums(values)
    covariance = column_sums(x * values) - sum_x * sum_y / n
    variance = column_sums(x * x) - sum_x * sum_x / n
    slope = covariance / variance
    intercept = sum_y / n - slope * sum_x / n
    constant = np.where(block.inside, values == values[0], True).all(axis=0)
    first = values[0]
    slope = np.where(constant, np.where(np.isinf(first), np.nan, 0.0), slope)
    intercept = np.where(constant, np.where(np.isinf(first), np.nan, first), intercept)
    return slope, intercept


def _of_two(vector: RangeVector, matrix: Matrix) -> Matrix:
    """Presence only where a window has two samples."""
    found = windows_of(vector)
    enough = ((found.high - found.low) >= 2)[vector.samples.timeline]
    return Matrix(matrix.labels, matrix.values, enough, matrix.nameless)


def deriv(vector: RangeVector) -> Matrix:
    """The slope per second by least squares."""
    return _of_two(vector, reduced(vector, lambda block: _line(block, block.stamps[0])[0]))


def predict_linear(vector: RangeVector, times: Longs, ahead_s: Floats) -> Matrix:
    """The line's value `ahead_s` after each step's time; both have an entry per step, as the vector's ends."""

    def reduce(block: WindowBlock) -> Floats:
        slope, intercept = _line(block, block.each(times))
        return slope * block.each(ahead_s) + intercept

    return _of_two(vector, reduced(vector, reduce))


def smoothed(vector: RangeVector, smoothing: Floats, trend: Floats) -> Matrix:
    """Double exponential smoothing; both factors have an entry per step and lie within [0, 1]."""
    for factor, name in ((smoothing, "smoothing"), (trend, "trend")):
        bad = factor[~((factor >= 0) & (factor <= 1))]
        if len(bad):
            raise ExecutionError(f"invalid {name} factor. Expected: 0 <= {name[0]}f <= 1, got: {bad[0]:g}")
    matrix = reduced(vector, lambda block: _smooth(block, block.each(smoothing), block.each(trend)))
    return _of_two(vector, matrix)


def _smooth(block: WindowBlock, smoothing: Floats, trend: Floats) -> Floats:
    level: Floats = block.values[0]
    before = level
    slope: Floats = block.values[min(1, len(block.values) - 1)] - level
    for depth in range(1, len(block.values)):
        if depth > 1:
            slope = trend * (level - before) + (1 - trend) * slope
        fresh = smoothing * block.values[depth] + (1 - smoothing) * (level + slope)
        level, before = np.where(block.inside[depth], fresh, level), level
    return level
