"""Quantiles of columns of values."""

from __future__ import annotations

import numpy as np

from query.promql.matrix import Bools
from tsdb.samples import Floats


def quantiles(values: Floats, inside: Bools, q: Floats) -> Floats:
    """The q-quantile of each column of float64[n, W] over the values that are inside; q has W entries.

    Values are interpolated linearly; NaN counts as the smallest value. q < 0 gives -Inf, q > 1 +Inf, NaN NaN. NaN for an empty column.
    """
    counts = inside.sum(axis=0)
    unknown = np.isnan(values) & inside
    ordered = np.sort(np.where(inside, np.where(unknown, -np.inf, values), np.inf), axis=0)
    column = np.arange(values.shape[1])
    with np.errstate(all="ignore"):
        rank = np.clip(q, 0, 1) * (counts - 1)
        rank = np.where(np.isnan(rank), 0.0, np.maximum(rank, 0.0))
        lower = np.floor(rank).astype(np.int64)
        upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
        weight = rank - lower
        unknown_counts = unknown.sum(axis=0)
        below = np.where(lower < unknown_counts, np.nan, ordered[lower, column])
        above = np.where(upper < unknown_counts, np.nan, ordered[upper, column])
        result = below * (1 - weight) + above * weight
    result[q < 0] = -np.inf
    result[q > 1] = np.inf
    result[np.isnan(q) | (counts == 0)] = np.nan
    return result
