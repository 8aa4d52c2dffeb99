"""The *_over_time functions: a window's samples to one value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from query.promql.matrix import Bools, Matrix
from query.promql.overlapping import overlapping_extremes, overlapping_sums
from query.promql.quantile import quantiles
from query.promql.summation import column_sums
from query.promql.windows import RangeVector, WindowBlock, blocks, windows_of
from tsdb.samples import Floats

Reducer = Callable[[WindowBlock], Floats]


def reduced(vector: RangeVector, reduce: Reducer, *, keep_names: bool = False) -> Matrix:
    """One value per window, which `reduce` computes for a block of windows; empty windows are absent."""
    steps = len(vector.ends)
    series = len(vector.samples.labels)
    values = np.zeros((series, steps))
    present = np.zeros((series, steps), bool)
    with np.errstate(all="ignore"):
        for block in blocks(vector):
            values[block.rows, block.steps] = reduce(block).reshape(block.shape)
            present[block.rows, block.steps] = (block.counts > 0).reshape(block.shape)
    nameless = vector.nameless if keep_names else np.ones(series, bool)
    return Matrix(vector.samples.labels, values, present, nameless)


def _sum(block: WindowBlock) -> Floats:
    return column_sums(block.values)


def _avg(block: WindowBlock) -> Floats:
    mean = column_sums(block.values) / block.counts
    overflowed = ~np.isfinite(mean)
    if overflowed.any():
        mean[overflowed] = column_sums(block.values[:, overflowed] / block.counts[overflowed])
    return mean


def _min(block: WindowBlock) -> Floats:
    return np.asarray(np.fmin.reduce(np.where(block.inside, block.values, np.nan), axis=0))


def _max(block: WindowBlock) -> Floats:
    return np.asarray(np.fmax.reduce(np.where(block.inside, block.values, np.nan), axis=0))


def _stdvar(block: WindowBlock) -> Floats:
    """In two passes around the first value, so that a constant window gives exactly zero."""
    shifted = np.where(block.inside, block.values - block.values[0], 0.0)
    mean = column_sums(shifted) / block.counts
    square = np.where(block.inside, (shifted - mean) ** 2, 0.0)
    return column_sums(square) / block.counts


def _stddev(block: WindowBlock) -> Floats:
    return np.sqrt(_stdvar(block))


def _mad(block: WindowBlock) -> Floats:
    half = np.full(len(block.counts), 0.5)
    median = quantiles(block.values, block.inside, half)
    spread = quantiles(np.abs(block.values - median), block.inside, half)
    unknown = (np.isnan(block.values) & block.inside).any(axis=0)
    return np.where(unknown, np.nan, spread)


def _stamp_of(best: Callable[[Floats, Bools], Floats], block: WindowBlock) -> Floats:
    """The stamp in seconds of the last sample that has the best value; the first one's when all are NaN."""
    wanted = best(block.values, block.inside)
    hit = block.inside & (block.values == wanted)
    deepest = len(hit) - 1 - np.argmax(hit[::-1], axis=0)
    row = np.where(hit.any(axis=0), deepest, 0)
    return block.stamps[row, np.arange(len(row))] / 1000


def _stamp_of_max(block: WindowBlock) -> Floats:
    return _stamp_of(lambda values, inside: np.fmax.reduce(np.where(inside, values, np.nan), axis=0), block)


def _stamp_of_min(block: WindowBlock) -> Floats:
    return _stamp_of(lambda values, inside: np.fmin.reduce(np.where(inside, values, np.nan), axis=0), block)


REDUCERS: dict[str, Reducer] = {
    "avg_over_time": _avg,
    "mad_over_time": _mad,
    "max_over_time": _max,
    "min_over_time": _min,
    "stddev_over_time": _stddev,
    "stdvar_over_time": _stdvar,
    "sum_over_time": _sum,
    "ts_of_max_over_time": _stamp_of_max,
    "ts_of_min_over_time": _stamp_of_min,
}


def aggregated(name: str, vector: RangeVector) -> Matrix:
    """One of REDUCERS, by the cheapest way."""
    matrix: Matrix | None = None
    if name == "min_over_time":
        matrix = overlapping_extremes(vector, np.fmin)
    elif name == "max_over_time":
        matrix = overlapping_extremes(vector, np.fmax)
    elif name in ("sum_over_time", "avg_over_time") and (sums := overlapping_sums(vector)) is not None:
        matrix, counts = sums
        if name == "avg_over_time":
            per_series = np.maximum(counts, 1)[vector.samples.timeline]
            matrix = matrix.mapped(lambda values: values / per_series)
    return matrix if matrix is not None else reduced(vector, REDUCERS[name])


def quantile_over_time(vector: RangeVector, q: Floats) -> Matrix:
    """The q-quantile of each window; q has an entry per step."""
    return reduced(vector, lambda block: quantiles(block.values, block.inside, block.each(q)))


def counted(vector: RangeVector) -> Matrix:
    """count_over_time."""
    found = windows_of(vector)
    line = vector.samples.timeline
    counts = (found.high - found.low)[line]
    return Matrix(vector.samples.labels, counts.astype(np.float64), counts > 0, np.ones(len(line), bool))


def edge(vector: RangeVector, *, last: bool, stamp: bool) -> Matrix:
    """The first or last sample of each window: its value under its name, or its stamp in seconds."""
    found = windows_of(vector)
    samples = vector.samples
    line = samples.timeline
    some = found.high > found.low
    at = np.where(some, found.high - 1 if last else found.low, 0)
    if stamp:
        seconds = samples.stamps.take(samples.stamp_offsets[:-1, None] + at, mode="clip") / 1000
        return Matrix(samples.labels, seconds[line], some[line], np.ones(len(line), bool))
    values = samples.values.take(samples.offsets[:-1, None] + at[line], mode="clip")
    return Matrix(samples.labels, values, some[line], vector.nameless)
