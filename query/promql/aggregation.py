"""Aggregations: the series of a group to one series, or to a choice of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from query.promql.errors import ExecutionError
from query.promql.grouping import Groups, group_by, grouped_labels
from query.promql.matrix import Bools, Matrix
from query.promql.numbers import go_float
from query.promql.quantile import quantiles
from query.promql.summation import group_sums
from tsdb.samples import Floats, Labels, Longs

_Combine = Callable[[Floats, Bools, Longs], Floats]


def aggregate(op: str, matrix: Matrix, grouping: tuple[str, ...], without: bool) -> Matrix:
    """An aggregation without a parameter."""
    if not matrix.labels:
        return matrix
    groups = _groups(matrix, grouping, without)
    values, present = matrix.values[groups.order], matrix.present[groups.order]
    counts = _counts(present, groups.bounds)
    with np.errstate(all="ignore"):
        combined = counts.astype(np.float64) if op == "count" else _COMBINE[op](values, present, groups.bounds)
    return Matrix(groups.labels, combined, counts > 0, np.zeros(len(groups.labels), bool))


def _groups(matrix: Matrix, grouping: tuple[str, ...], without: bool) -> Groups:
    names = frozenset(grouping)
    return group_by([grouped_labels(labels, names, without) for labels in matrix.labels])


def _sum(values: Floats, present: Bools, bounds: Longs) -> Floats:
    return group_sums(values if present.all() else np.where(present, values, 0.0), bounds)


def _counts(present: Bools, bounds: Longs) -> Longs:
    """How many rows of each group are present at each step."""
    if present.all():
        return np.broadcast_to(np.diff(bounds)[:, None], (len(bounds) - 1, present.shape[1]))
    counts: Longs = np.add.reduceat(present.view(np.int8), bounds[:-1], axis=0, dtype=np.int64)
    return counts


def _avg(values: Floats, present: Bools, bounds: Longs) -> Floats:
    counts = _counts(present, bounds)
    filled = np.where(present, values, 0.0)
    mean = group_sums(filled, bounds) / counts
    if np.isfinite(mean).all():
        return mean
    scaled = group_sums(filled / np.repeat(counts, np.diff(bounds), axis=0), bounds)
    return np.where(np.isfinite(mean), mean, scaled)


def _min(values: Floats, present: Bools, bounds: Longs) -> Floats:
    return np.asarray(np.fmin.reduceat(np.where(present, values, np.nan), bounds[:-1], axis=0))


def _max(values: Floats, present: Bools, bounds: Longs) -> Floats:
    return np.asarray(np.fmax.reduceat(np.where(present, values, np.nan), bounds[:-1], axis=0))


def _group(values: Floats, present: Bools, bounds: Longs) -> Floats:
    return np.ones((len(bounds) - 1, values.shape[1]))


def _stdvar(values: Floats, present: Bools, bounds: Longs) -> Floats:
    """In two passes around the group's greatest value, so that equal values give exactly zero."""
    sizes = np.diff(bounds)
    counts = _counts(present, bounds)
    around = np.repeat(_max(values, present, bounds), sizes, axis=0)
    shifted = np.where(present, values - around, 0.0)
    mean = np.repeat(group_sums(shifted, bounds) / counts, sizes, axis=0)
    return group_sums(np.where(present, (shifted - mean) ** 2, 0.0), bounds) / counts


def _stddev(values: Floats, present: Bools, bounds: Longs) -> Floats:
    return np.sqrt(_stdvar(values, present, bounds))


_COMBINE: dict[str, _Combine] = {
    "avg": _avg,
    "group": _group,
    "max": _max,
    "min": _min,
    "stddev": _stddev,
    "stdvar": _stdvar,
    "sum": _sum,
}


def quantile(matrix: Matrix, q: Floats, grouping: tuple[str, ...], without: bool) -> Matrix:
    """The q-quantile of each group; q has an entry per step."""
    if not matrix.labels:
        return matrix
    groups = _groups(matrix, grouping, without)
    values = np.empty((len(groups.labels), matrix.values.shape[1]))
    present = np.empty(values.shape, bool)
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        inside = matrix.present[rows]
        values[group] = quantiles(matrix.values[rows], inside, q)
        present[group] = inside.any(axis=0)
    return Matrix(groups.labels, values, present, np.zeros(len(groups.labels), bool))


def choose(op: str, matrix: Matrix, k: Floats, grouping: tuple[str, ...], without: bool) -> Matrix:
    """topk, bottomk or limitk: at each step up to k series of each group keep their sample; k has an entry per step.

    Of equal values the one whose labels come first is better. Within a group, rows come best first when there is one step.
    """
    if np.isnan(k).any():
        raise ExecutionError("Parameter value is NaN")
    if (np.abs(k) >= 2**63).any():
        raise ExecutionError(f"Scalar value {k[np.abs(k) >= 2**63][0]:g} overflows int64")
    if not matrix.labels:
        return matrix
    matrix = matrix.sorted_by_labels()
    groups = _groups(matrix, grouping, without)
    kept: Bools = np.zeros_like(matrix.present)
    order: list[npt.NDArray[np.intp]] = []
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        rank = _ranks(op, matrix.values[rows], matrix.present[rows])
        kept[rows] = matrix.present[rows] & (rank < np.trunc(k))
        order.append(rows[np.argsort(rank.ravel(), kind="stable")] if rank.shape[1] == 1 else rows)
    return matrix.where(kept) if kept.shape[1] > 1 else _reordered(matrix, kept, np.concatenate(order))


def _reordered(matrix: Matrix, kept: Bools, order: npt.NDArray[np.intp]) -> Matrix:
    return Matrix(matrix.labels, matrix.values, kept, matrix.nameless).take(order).compact()


def _ranks(op: str, values: Floats, present: Bools) -> Longs:
    """Each value's place in its column: the best first, then NaN, then absent; equals in their order."""
    if op == "limitk":
        key = np.zeros(values.shape)
    else:
        key = -values if op == "topk" else values
    order = np.lexsort((key, ~present), axis=0)
    ranks = np.empty(order.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(len(values), dtype=np.int64)[:, None], axis=0)
    return ranks


def count_values(matrix: Matrix, label: str, grouping: tuple[str, ...], without: bool) -> Matrix:
    """How many series of each group have each value; the value's text becomes a label."""
    check_label_name(label)
    steps = matrix.values.shape[1]
    names = frozenset(grouping)
    bases = [grouped_labels(labels, names, without) for labels in matrix.labels]
    labels: list[Labels] = []
    rows: list[Bools] = []
    for base, values, present in zip(bases, np.ascontiguousarray(matrix.values), matrix.present, strict=True):
        # by their bits, since -0 is written differently from 0
        bits = values.view(np.int64)
        for value in np.unique(bits[present]):
            labels.append(with_label(base, label, go_float(float(value.view(np.float64)))))
            rows.append((bits == value) & present)
    if not rows:
        return Matrix([], np.empty((0, steps)), np.empty((0, steps), bool), np.empty(0, bool))
    groups = group_by(labels)
    counts = np.add.reduceat(np.array(rows)[groups.order], groups.bounds[:-1], axis=0, dtype=np.int64)
    named = np.zeros(len(groups.labels), bool)
    return Matrix(groups.labels, counts.astype(np.float64), counts > 0, named)


def check_label_name(name: str) -> None:
    """Raises ExecutionError unless the name is a valid UTF-8 label name."""
    try:
        valid = bool(name.encode())
    except UnicodeEncodeError:
        valid = False
    if not valid:
        shown = "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
        raise ExecutionError(f'invalid label name "{shown}"')


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The labels with one set, or removed when the value is empty."""
    kept = [pair for pair in labels if pair[0] != name]
    return tuple(sorted([*kept, (name, value)])) if value else tuple(kept)
