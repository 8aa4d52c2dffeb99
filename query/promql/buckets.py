"""Quantiles and fractions of classic histograms: cumulative buckets under the label `le`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.annotations import Annotations
from query.promql.ast import Span
from query.promql.matrix import NAME, Bools, Matrix
from tsdb.samples import Floats, Labels, Longs

_SMALL_DELTA = 1e-12
_Estimate = Callable[[Floats, Floats, Longs], tuple[Floats, bool]]
"""(bounds[B], counts[B, N], step of each column[N]) to N values, and whether counts fell."""


@dataclass(frozen=True, slots=True)
class _Histograms:
    """Histograms with the same bounds: G of them, with B buckets each."""

    bounds: Floats
    labels: list[Labels]
    rows: npt.NDArray[np.intp]
    """[G, B], ordered by bound."""


def of_buckets(matrix: Matrix, estimate: _Estimate, notes: Annotations, span: Span) -> Matrix:
    """One value per histogram and step from the buckets that are present there."""
    labels: list[Labels] = []
    values: list[Floats] = []
    present: list[Bools] = []
    steps = matrix.values.shape[1]
    for same in _histograms(matrix, notes, span):
        count = len(same.labels)
        # buckets first, then histograms × steps as columns
        counts = matrix.values[same.rows].transpose(1, 0, 2).reshape(len(same.bounds), -1)
        there = matrix.present[same.rows].transpose(1, 0, 2).reshape(len(same.bounds), -1)
        step = np.tile(np.arange(steps), count)
        result = np.full(counts.shape[1], np.nan)
        for columns, buckets in _by_presence(there):
            result[columns], fell = estimate(same.bounds[buckets], counts[buckets][:, columns], step[columns])
            if fell:
                notes.forced_monotonicity(dict(same.labels[0]).get(NAME, ""), span)
        labels.extend(same.labels)
        values.append(result.reshape(count, steps))
        present.append(there.any(axis=0).reshape(count, steps))
    if not labels:
        return Matrix([], np.empty((0, steps)), np.empty((0, steps), bool), np.empty(0, bool))
    return Matrix(labels, np.concatenate(values), np.concatenate(present), np.ones(len(labels), bool))


def _histograms(matrix: Matrix, notes: Annotations, span: Span) -> Iterator[_Histograms]:
    found: dict[Labels, list[tuple[float, int]]] = {}
    for row, labels in enumerate(matrix.labels):
        if not matrix.present[row].any():
            continue
        text = dict(labels).get("le", "")
        bound = _bound(text)
        if bound is None:
            notes.bad_bucket_label(dict(labels).get(NAME, ""), text, span)
            continue
        found.setdefault(tuple(pair for pair in labels if pair[0] != "le"), []).append((bound, row))
    by_bounds: dict[tuple[float, ...], list[tuple[Labels, list[int]]]] = {}
    for labels, buckets in found.items():
        buckets.sort()
        key = tuple(bound for bound, _ in buckets)
        by_bounds.setdefault(key, []).append((labels, [row for _, row in buckets]))
    for bounds, members in by_bounds.items():
        yield _Histograms(np.array(bounds), [m[0] for m in members], np.array([m[1] for m in members], np.intp))


def _bound(text: str) -> float | None:
    try:
        bound = float(text) if text.strip() == text and "_" not in text else np.nan
    except ValueError:
        return None
    return None if np.isnan(bound) else bound


def _by_presence(there: Bools) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Columns in which the same buckets are present, with those buckets; columns without any are left out."""
    if there.all():
        yield np.arange(there.shape[1]), np.arange(len(there))
        return
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    for index in range(patterns.shape[1]):
        buckets = np.flatnonzero(patterns[:, index])
        if len(buckets):
            yield np.flatnonzero(which.ravel() == index), buckets


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Buckets of equal bound added up; bounds are sorted."""
    starts = np.flatnonzero(np.concatenate(([True], bounds[1:] != bounds[:-1])))
    if len(starts) == len(bounds):
        return bounds, counts
    return bounds[starts], np.add.reduceat(counts, starts, axis=0)


def _monotonic(counts: Floats) -> tuple[Floats, bool]:
    """Counts that never fall; falls larger than rounding make the flag true."""
    fixed = counts.copy()
    fell = False
    for upper in range(1, len(fixed)):
        before, now = fixed[upper - 1], fixed[upper]
        near = np.abs(before - now) <= _SMALL_DELTA * (np.abs(before) + np.abs(now))
        falls = now < before
        fell = fell or bool((falls & ~near).any())
        fixed[upper] = np.where(near | falls, before, now)
    return fixed, fell


def quantile_estimate(q: Floats) -> _Estimate:
    """The q-quantile by linear interpolation within a bucket; q has an entry per step."""

    def estimate(bounds: Floats, counts: Floats, step: Longs) -> tuple[Floats, bool]:
        each = q[step]
        result = np.full(counts.shape[1], np.nan)
        fell = False
        if np.isinf(bounds[-1]) and bounds[-1] > 0:
            unique, summed = _coalesced(bounds, counts)
            fixed, fell = _monotonic(summed)
            if len(unique) >= 2:
                result = _interpolated(unique, fixed, each)
        result = np.where(each < 0, -np.inf, np.where(each > 1, np.inf, result))
        return np.where(np.isnan(each), np.nan, result), fell

    return estimate


def _interpolated(bounds: Floats, counts: Floats, q: Floats) -> Floats:
    total = counts[-1]
    column = np.arange(counts.shape[1])
    with np.errstate(all="ignore"):
        rank = q * total
        bucket = (counts[:-1] < rank).sum(axis=0)
        below = np.maximum(bucket - 1, 0)
        first = bucket == 0
        start = np.where(first, 0.0, bounds[below])
        before = np.where(first, 0.0, counts[below, column])
        end = bounds[bucket]
        value = start + (end - start) * ((rank - before) / (counts[bucket, column] - before))
    value = np.where(first & (bounds[0] <= 0), bounds[0], value)
    value = np.where(bucket == len(bounds) - 1, bounds[-2], value)
    return np.where((total == 0) | np.isnan(total), np.nan, value)


def fraction_estimate(lower: Floats, upper: Floats) -> _Estimate:
    """The share of observations between two values by linear interpolation; both have an entry per step."""

    def estimate(bounds: Floats, counts: Floats, step: Longs) -> tuple[Floats, bool]:
        low, high = lower[step], upper[step]
        if not (np.isinf(bounds[-1]) and bounds[-1] > 0):
            return np.full(counts.shape[1], np.nan), False
        unique, summed = _coalesced(bounds, counts)
        total = summed[-1]
        with np.errstate(all="ignore"):
            share = (_rank_of(unique, summed, high) - _rank_of(unique, summed, low)) / total
        share = np.where(low >= high, 0.0, share)
        return np.where((total == 0) | np.isnan(low) | np.isnan(high), np.nan, share), False

    return estimate


def _rank_of(bounds: Floats, counts: Floats, value: Floats) -> Floats:
    """How many observations are below a value. Buckets of infinite width are not interpolated."""
    starts = np.concatenate(([0.0 if bounds[0] > 0 else -np.inf], bounds[:-1]))
    rank = counts[-1].copy()
    found = np.zeros(len(value), bool)
    before = np.zeros(len(value))
    for start, end, count in zip(starts.tolist(), bounds.tolist(), counts, strict=True):
        at_start = ~found & (start >= value)
        rank = np.where(at_start, before, rank)
        found |= at_start
        within = ~found & (start < value) & (end > value)
        if start == -np.inf:
            inner = count
        else:
            inner = before + (count - before) * (value - start) / (end - start)
        rank = np.where(within, inner, rank)
        found |= within
        before = count
    return np.asarray(np.minimum(rank, counts[-1]))
