"""Sums that keep what rounding would lose, as Prometheus' do."""

from __future__ import annotations

import numpy as np

from tsdb.samples import Floats, Longs

_BLOCK_CELLS = 1 << 15
"""Pairs of rows are added in blocks of this size, so that the intermediate arrays stay in the cache."""


def _lost(left: Floats, right: Floats, added: Floats) -> Floats:
    """What rounding took from left + right: exact, but NaN once anything is infinite."""
    share = added - left
    return (left - (added - share)) + (right - share)


def _completed(total: Floats, carry: Floats) -> Floats:
    return np.where(np.isinf(total), total, total + carry)


def column_sums(values: Floats) -> Floats:
    """Sum over the first axis, from first to last."""
    total = np.zeros(values.shape[1:])
    carry = np.zeros_like(total)
    with np.errstate(all="ignore"):
        for row in values:
            added = total + row
            carry += _lost(total, row, added)
            total = added
        return _completed(total, carry)


def group_sums(values: Floats, bounds: Longs) -> Floats:
    """Sums of consecutive row groups: rows [bounds[g], bounds[g + 1]) of float64[S, T], none empty.

    Neighbours are added pairwise, level by level, so that a group of n rows takes log n passes.
    """
    sizes = np.diff(bounds)
    total, carry = values, np.zeros_like(values)
    with np.errstate(all="ignore"):
        while len(total) > len(sizes):
            starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
            rank = np.arange(len(total)) - np.repeat(starts, sizes)
            left = np.flatnonzero(rank % 2 == 0)
            paired = np.flatnonzero(rank[left] + 1 < np.repeat(sizes, sizes)[left])
            total, carry = _pairs_added(total, carry, left, paired)
            sizes = (sizes + 1) // 2
        return _completed(total, carry)


def _pairs_added(total: Floats, carry: Floats, left: Longs, paired: Longs) -> tuple[Floats, Floats]:
    """The rows `left`, of which those at `paired` got the row after them added."""
    fresh, fresh_carry = total[left], carry[left]
    rows_per_block = max(1, _BLOCK_CELLS // max(1, total.shape[1]))
    for start in range(0, len(paired), rows_per_block):
        rows = paired[start : start + rows_per_block]
        partners = left[rows] + 1
        before, other = fresh[rows], total[partners]
        added = before + other
        fresh[rows] = added
        fresh_carry[rows] += carry[partners] + _lost(before, other, added)
    return fresh, fresh_carry
