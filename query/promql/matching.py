"""Binary operators between vectors: series find each other once per query, samples per step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.ast import Cardinality, Matching
from query.promql.errors import ExecutionError
from query.promql.grouping import group_by, grouped_labels
from query.promql.matrix import NAME, Bools, Matrix, merged
from query.promql.operators import compared, computed
from query.promql.signatures import COMPARISONS
from tsdb.samples import Labels

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MANY_TO_ONE = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of the many side and of the one side that match, and each pair's match group."""

    many: npt.NDArray[np.intp]
    one: npt.NDArray[np.intp]
    groups: list[Labels]


def signature_of(matching: Matching) -> Callable[[Labels], Labels]:
    """What series must have in common to match."""
    names = frozenset(matching.labels)
    return lambda labels: grouped_labels(labels, names, without=not matching.on)


def show_labels(labels: Labels) -> str:
    """A label set as Prometheus prints it."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    shown = ((name if _PLAIN_NAME.fullmatch(name) else quoted(name), quoted(value)) for name, value in labels)
    return "{" + ", ".join(f"{name}={value}" for name, value in shown) + "}"


def match(
    op: str, left: Matrix, right: Matrix, matching: Matching, return_bool: bool, check_cells: Callable[[int], None]
) -> Matrix:
    """An arithmetic or comparison operator. `check_cells` is told how many series there would be. Raises ExecutionError."""
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    pairs = _paired(many, one, matching, "left" if swapped else "right")
    check_cells(len(pairs.many))
    present = many.present[pairs.many] & one.present[pairs.one]
    labels = [
        _result_labels(op, many.labels[m], one.labels[o], matching)
        for m, o in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True)
    ]
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        _refuse_overlap(pairs.groups, present, _MANY_TO_ONE)
    else:
        keys = [(*group, ("", ""), *result) for group, result in zip(pairs.groups, labels, strict=True)]
        _refuse_overlap(keys, present, _NOT_UNIQUE)
    left_values = (one if swapped else many).values[pairs.one if swapped else pairs.many]
    right_values = (many if swapped else one).values[pairs.many if swapped else pairs.one]
    nameless = many.nameless[pairs.many]
    if op in COMPARISONS and not return_bool:
        present = present & compared(op, left_values, right_values)
        values = left_values
    else:
        values = computed(op, left_values, right_values)
        nameless = nameless | return_bool
    return merged(Matrix(labels, values, present, nameless).compact())


def _paired(many: Matrix, one: Matrix, matching: Matching, side: str) -> _Pairs:
    signature = signature_of(matching)
    ones: dict[Labels, list[int]] = {}
    for row, labels in enumerate(one.labels):
        ones.setdefault(signature(labels), []).append(row)
    _refuse_duplicates(ones, one, np.asarray(many.present.any(axis=0), bool), side)
    many_rows: list[int] = []
    one_rows: list[int] = []
    groups: list[Labels] = []
    for row, labels in enumerate(many.labels):
        key = signature(labels)
        for partner in ones.get(key, ()):
            many_rows.append(row)
            one_rows.append(partner)
            groups.append(key)
    return _Pairs(np.array(many_rows, np.intp), np.array(one_rows, np.intp), groups)


def _refuse_duplicates(ones: dict[Labels, list[int]], one: Matrix, relevant: Bools, side: str) -> None:
    for key, rows in ones.items():
        if len(rows) < 2:
            continue
        crowded = (one.present[rows].sum(axis=0) > 1) & relevant
        if crowded.any():
            step = int(crowded.argmax())
            both = sorted(one.labels[row] for row in rows if one.present[row, step])[:2]
            raise ExecutionError(
                f"found duplicate series for the match group {show_labels(key)} on the {side} hand-side of the operation: "
                f"[{show_labels(both[0])}, {show_labels(both[1])}];many-to-many matching not allowed: "
                "matching labels must be unique on one side"
            )


def _refuse_overlap(keys: list[Labels], present: Bools, message: str) -> None:
    """Pairs of equal key must not be present at the same step."""
    if len(set(keys)) == len(keys):
        return
    groups = group_by(keys)
    counts = np.add.reduceat(present[groups.order], groups.bounds[:-1], axis=0, dtype=np.int64)
    if (counts > 1).any():
        raise ExecutionError(message)


def _result_labels(op: str, many: Labels, one: Labels, matching: Matching) -> Labels:
    labels = dict(many)
    if op not in COMPARISONS:
        labels.pop(NAME, None)
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        if matching.on:
            labels = {name: value for name, value in labels.items() if name in matching.labels}
        else:
            for name in matching.labels:
                labels.pop(name, None)
    if not matching.include:
        return tuple(labels.items())
    other = dict(one)
    for name in matching.include:
        labels.pop(name, None)
        if other.get(name):
            labels[name] = other[name]
    return tuple(sorted(labels.items()))


def set_operation(op: str, left: Matrix, right: Matrix, matching: Matching) -> Matrix:
    """and, or, unless: which samples pass depends on what the other side has at the same step."""
    signature = signature_of(matching)
    codes: dict[Labels, int] = {}
    left_codes = np.array([codes.setdefault(signature(labels), len(codes)) for labels in left.labels], np.intp)
    right_codes = np.array([codes.setdefault(signature(labels), len(codes)) for labels in right.labels], np.intp)
    if op == "or":
        beside = _any_present(left, left_codes, len(codes))[right_codes]
        kept = right.where(right.present & ~beside)
        return merged(
            Matrix(
                [*left.labels, *kept.labels],
                np.concatenate((left.values, kept.values)),
                np.concatenate((left.present, kept.present)),
                np.concatenate((left.nameless, kept.nameless)),
            )
        )
    beside = _any_present(right, right_codes, len(codes))[left_codes]
    return left.where(left.present & (beside if op == "and" else ~beside))


def _any_present(matrix: Matrix, codes: npt.NDArray[np.intp], count: int) -> Bools:
    """bool[count, T]: whether any series of a match group is present."""
    result = np.zeros((count, matrix.present.shape[1]), bool)
    if len(codes):
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        result[ordered[starts]] = np.logical_or.reduceat(matrix.present[order], starts, axis=0)
    return result
