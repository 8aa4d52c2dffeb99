"""The engine's value: series × steps, and the grid of steps it lies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.errors import ExecutionError
from tsdb.samples import Floats, Labels, Longs

Bools = npt.NDArray[np.bool_]

NAME = "__name__"
SAME_LABELSET = "vector cannot contain metrics with the same labelset"


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps of an evaluation in milliseconds; an instant is a grid of one step with step_ms 0."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def size(self) -> int:
        """How many steps."""
        return 1 if self.step_ms == 0 else (self.end_ms - self.start_ms) // self.step_ms + 1

    @property
    def times(self) -> Longs:
        """T times in milliseconds."""
        return self.start_ms + np.arange(self.size, dtype=np.int64) * self.step_ms


@dataclass(frozen=True, slots=True)
class Matrix:
    """S series over T steps. A value counts only where `present`: NaN is a value like any other.

    Metric names are dropped late: `nameless` marks series whose `__name__` no longer belongs to the result.
    Two series may have equal labels while they are nowhere present at once.
    """

    labels: Sequence[Labels]
    values: Floats
    """float64[S, T]; arbitrary where absent, never written to."""
    present: Bools
    """bool[S, T]."""
    nameless: Bools
    """bool[S]."""

    def mapped(self, function: Callable[[Floats], Floats]) -> Matrix:
        """An elementwise function, which drops the metric names."""
        with np.errstate(all="ignore"):
            values = function(self.values)
        return Matrix(self.labels, values, self.present, np.ones(len(self.labels), bool))

    def where(self, present: Bools) -> Matrix:
        """The same values with another presence, without the series that are present nowhere."""
        return Matrix(self.labels, self.values, present, self.nameless).compact()

    def compact(self) -> Matrix:
        """Without the series that are present nowhere."""
        kept = self.present.any(axis=1)
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def take(self, rows: npt.NDArray[np.intp]) -> Matrix:
        """The given series, in that order."""
        labels = [self.labels[row] for row in rows.tolist()]
        return Matrix(labels, self.values[rows], self.present[rows], self.nameless[rows])

    def sorted_by_labels(self) -> Matrix:
        """The series in the order of their labels."""
        order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
        return self if order == list(range(len(order))) else self.take(np.array(order, np.intp))

    def relabelled(self, labels: Sequence[Labels], nameless: Bools) -> Matrix:
        """The same values under other labels."""
        return Matrix(labels, self.values, self.present, nameless)


def empty_matrix(steps: int) -> Matrix:
    """No series."""
    return Matrix([], np.empty((0, steps)), np.empty((0, steps), bool), np.empty(0, bool))


def without_name(labels: Labels) -> Labels:
    """The labels but for the metric name."""
    return tuple(pair for pair in labels if pair[0] != NAME)


def visible_labels(matrix: Matrix) -> list[Labels]:
    """Each series' labels as the user sees them: names dropped where they no longer belong."""
    return [
        without_name(labels) if nameless else labels
        for labels, nameless in zip(matrix.labels, matrix.nameless.tolist(), strict=True)
    ]


def merged(matrix: Matrix) -> Matrix:
    """One row per label set. Raises ExecutionError when two series of equal labels are present at once."""
    first: dict[tuple[Labels, bool], int] = {}
    nameless = matrix.nameless.tolist()
    keys = list(zip(matrix.labels, nameless, strict=True))
    rows = [first.setdefault(key, len(first)) for key in keys]
    if len(first) == len(rows):
        return matrix
    counts = np.zeros((len(first), matrix.present.shape[1]), np.int64)
    values = np.zeros(counts.shape)
    for source, target in enumerate(rows):
        counts[target] += matrix.present[source]
        np.copyto(values[target], matrix.values[source], where=matrix.present[source])
    if (counts > 1).any():
        raise ExecutionError(SAME_LABELSET)
    return Matrix([key[0] for key in first], values, counts > 0, np.array([key[1] for key in first], bool))


def finished(matrix: Matrix) -> Matrix:
    """The end of late name dropping: visible labels, merged. Raises ExecutionError as `merged`."""
    named = np.zeros(len(matrix.labels), bool)
    return merged(matrix.relabelled(visible_labels(matrix), named))
