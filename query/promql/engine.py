"""The query engine: text and time in, a result out."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from query.promql import ast
from query.promql.annotations import Annotations
from query.promql.ast import ValueType
from query.promql.errors import ExecutionError, LimitError
from query.promql.evaluation import Evaluation
from query.promql.limits import DEFAULT_LIMITS, Limits
from query.promql.matrix import Bools, Grid, Matrix, finished
from query.promql.parser import parse
from query.promql.typecheck import type_of
from tsdb.samples import Floats, Labels, Longs, SampleStore

_TIME_MS_MAX = 2**53
_SORTS = frozenset({"sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "topk", "bottomk"})


class ResultKind(enum.Enum):
    """What a result is; the values are the HTTP API's words."""

    VECTOR = "vector"
    MATRIX = "matrix"
    SCALAR = "scalar"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query: S series over T times, a sample where `present`."""

    kind: ResultKind
    times: Longs
    """T milliseconds, ascending."""
    labels: Sequence[Labels]
    """S label sets: sorted, but for instant queries that sort. A scalar has one series without labels."""
    values: Floats
    """float64[S, T]."""
    present: Bools
    """bool[S, T]; no series is present nowhere."""
    text: str = ""
    """The value of a string."""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)


class Engine:
    """Evaluates PromQL over a store. Stateless, and as safe to share between threads as the store is.

    Metric names are dropped at the end of a query, not by each function: a name survives where a later
    operation asks for it, and series that differ only by name clash only if both have a sample at one step.
    """

    def __init__(self, store: SampleStore, *, lookback_ms: int = 300_000, limits: Limits = DEFAULT_LIMITS) -> None:
        self._store = store
        self._lookback_ms = lookback_ms
        self._limits = limits

    @np.errstate(all="ignore")
    def instant(self, tenant: str, query: str, time_ms: int) -> Result:
        """The value at one time. Raises PromqlError, and what the store raises."""
        _check_time(time_ms)
        expr = self._parse(query)
        grid = Grid(time_ms, time_ms, 0)
        notes = Annotations(query)
        evaluation = Evaluation(self._store, tenant, grid, self._lookback_ms, self._limits, notes)
        kind = type_of(expr)
        if kind is ValueType.STRING:
            return _string(expr, grid)
        if kind is ValueType.MATRIX:
            matrix, times = evaluation.raw(expr, grid)
            return _result(ResultKind.MATRIX, matrix, times, notes)
        if kind is ValueType.SCALAR:
            matrix = _as_series(evaluation.scalar(expr, grid))
            return _result(ResultKind.SCALAR, matrix, grid.times, notes)
        matrix = evaluation.vector(expr, grid)
        ordered = _sorts(expr)
        return _result(ResultKind.VECTOR, matrix, grid.times, notes, ordered=ordered)

    @np.errstate(all="ignore")
    def range(self, tenant: str, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """The values at start, start + step, … up to end. Raises PromqlError, and what the store raises."""
        if step_ms <= 0:
            raise ExecutionError(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
            )
        if end_ms < start_ms:
            raise ExecutionError("end timestamp must not be before start time")
        _check_time(start_ms)
        _check_time(end_ms)
        grid = Grid(start_ms, end_ms, step_ms)
        if grid.size > self._limits.points_max:
            raise LimitError(
                f"exceeded maximum resolution of {self._limits.points_max:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
                self._limits.points_max,
            )
        expr = self._parse(query)
        kind = type_of(expr)
        if kind in (ValueType.STRING, ValueType.MATRIX):
            raise ExecutionError(
                f'invalid expression type "{kind.value}" for range query, must be Scalar or instant Vector'
            )
        notes = Annotations(query)
        evaluation = Evaluation(self._store, tenant, grid, self._lookback_ms, self._limits, notes)
        if kind is ValueType.SCALAR:
            matrix = _as_series(evaluation.scalar(expr, grid))
        else:
            matrix = evaluation.vector(expr, grid)
        return _result(ResultKind.MATRIX, matrix, grid.times, notes)

    def _parse(self, query: str) -> ast.Expr:
        if len(query) > self._limits.query_chars_max:
            raise LimitError(
                f"the query is longer than {self._limits.query_chars_max} characters", self._limits.query_chars_max
            )
        return parse(query)


def _check_time(time_ms: int) -> None:
    if abs(time_ms) > _TIME_MS_MAX:
        raise ExecutionError(f"the time {time_ms} ms is out of range")


def _string(expr: ast.Expr, grid: Grid) -> Result:
    inner = ast.unwrap(expr)
    assert isinstance(inner, ast.StringLiteral)
    return Result(ResultKind.STRING, grid.times, [], np.empty((0, 1)), np.empty((0, 1), bool), inner.value)


def _as_series(values: Floats) -> Matrix:
    return Matrix([()], values[None, :], np.ones((1, len(values)), bool), np.zeros(1, bool))


def _sorts(expr: ast.Expr) -> bool:
    """Whether an instant query's order of series is what the user asked for, perhaps before a comparison."""
    match ast.unwrap(expr):
        case ast.Call(function=name):
            return name in _SORTS
        case ast.Aggregation(op=op):
            return op in _SORTS
        case ast.Binary(left=left, right=right):
            return _sorts(right) if type_of(left) is ValueType.SCALAR else _sorts(left)
        case _:
            return False


def _result(kind: ResultKind, matrix: Matrix, times: Longs, notes: Annotations, *, ordered: bool = False) -> Result:
    shown = finished(matrix.compact())
    if not ordered:
        shown = shown.sorted_by_labels()
    return Result(kind, times, shown.labels, shown.values, shown.present, "", notes.warnings, notes.infos)
