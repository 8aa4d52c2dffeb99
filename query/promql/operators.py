"""Binary operators on numbers, and between a vector and a scalar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from query.promql.matrix import Bools, Matrix
from query.promql.signatures import COMPARISONS
from tsdb.samples import Floats

_ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARE: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def computed(op: str, left: Floats, right: Floats) -> Floats:
    """Arithmetic, or a comparison as 0 and 1."""
    with np.errstate(all="ignore"):
        if op in COMPARISONS:
            return _COMPARE[op](left, right).astype(np.float64)
        return _ARITHMETIC[op](left, right)


def compared(op: str, left: Floats, right: Floats) -> Bools:
    """Where the comparison holds."""
    with np.errstate(invalid="ignore"):
        return _COMPARE[op](left, right)


def with_scalar(op: str, matrix: Matrix, scalar: Floats, *, scalar_left: bool, return_bool: bool) -> Matrix:
    """A vector and a scalar with an entry per step. A comparison without bool keeps the samples for which it holds."""
    left, right = (scalar, matrix.values) if scalar_left else (matrix.values, scalar)
    if op in COMPARISONS and not return_bool:
        return matrix.where(matrix.present & compared(op, left, right))
    return Matrix(matrix.labels, computed(op, left, right), matrix.present, np.ones(len(matrix.labels), bool))
