"""Evaluates a syntax tree on a grid of steps: every node to one matrix."""

from __future__ import annotations

import numpy as np

from query.promql import aggregation, ast, matching
from query.promql.ast import ValueType
from query.promql.calls import Calls
from query.promql.durations import duration_ms
from query.promql.errors import ExecutionError, UnsupportedError
from query.promql.matrix import Grid, Matrix
from query.promql.operators import computed, with_scalar
from query.promql.selection import Selection
from query.promql.signatures import PARAMETER_TYPES, SET_OPERATORS
from query.promql.typecheck import type_of
from query.promql.windows import RangeVector, columns_of
from tsdb.samples import Floats, Longs

_SUBQUERY_STEP_MS = 60_000
"""Of subqueries that name none."""


class Evaluation(Selection):
    """One query's evaluation. `vector`, `scalar` and `ranges` evaluate an expression of that type on a grid."""

    def vector(self, expr: ast.Expr, grid: Grid) -> Matrix:
        """An instant vector per step."""
        match expr:
            case ast.Paren(expr=inner):
                return self.vector(inner, grid)
            case ast.VectorSelector():
                return self.selected(expr, grid)[0]
            case ast.Unary(op=op, expr=inner):
                operand = self.vector(inner, grid)
                return operand.mapped(np.negative) if op == "-" else operand
            case ast.Binary():
                return self._binary(expr, grid)
            case ast.Aggregation():
                return self._aggregation(expr, grid)
            case ast.Call():
                return Calls(self).vector(expr, grid)
            case _:
                raise AssertionError(expr)

    def scalar(self, expr: ast.Expr, grid: Grid) -> Floats:
        """A number per step."""
        match expr:
            case ast.NumberLiteral(value=value):
                return np.full(grid.size, value)
            case ast.Paren(expr=inner):
                return self.scalar(inner, grid)
            case ast.Unary(op=op, expr=inner):
                return -self.scalar(inner, grid) if op == "-" else self.scalar(inner, grid)
            case ast.Binary(op=op, left=left, right=right):
                return computed(op, self.scalar(left, grid), self.scalar(right, grid))
            case ast.Call():
                return Calls(self).scalar(expr, grid)
            case _:
                raise AssertionError(expr)

    def string(self, expr: ast.Expr) -> str:
        """A string literal, perhaps in parentheses."""
        inner = ast.unwrap(expr)
        assert isinstance(inner, ast.StringLiteral)
        return inner.value

    def ranges(self, expr: ast.Expr, grid: Grid) -> RangeVector:
        """A range vector with a window per step, or one for all steps when its time is fixed."""
        inner = ast.unwrap(expr)
        if isinstance(inner, ast.MatrixSelector):
            return self.selected_range(inner, grid)
        assert isinstance(inner, ast.Subquery)
        ends = self.ends(inner, grid)
        range_ms = self.positive_ms(inner.range)
        step_ms = _SUBQUERY_STEP_MS if inner.step is None else self.positive_ms(inner.step)
        first = (int(ends.min()) - range_ms) // step_ms * step_ms + step_ms
        last = max(int(ends.max()) // step_ms * step_ms, first - step_ms)
        inside = Grid(first, last, step_ms)
        self.check_cells(1, inside.size)
        if inside.size == 0:
            inside = Grid(first, first, step_ms)
        matrix = self.vector_of(inner.expr, inside).compact()
        return RangeVector(columns_of(matrix, inside.times), matrix.nameless, ends, range_ms)

    def vector_of(self, expr: ast.Expr, grid: Grid) -> Matrix:
        """A vector, or a scalar as a vector of one series without labels."""
        if type_of(expr) is ValueType.VECTOR:
            return self.vector(expr, grid)
        values = self.scalar(expr, grid)[None, :]
        return Matrix([()], values, np.ones(values.shape, bool), np.zeros(1, bool))

    def raw(self, expr: ast.Expr, grid: Grid) -> tuple[Matrix, Longs]:
        """The samples of a range vector at an instant, on the union of their stamps."""
        vector = self.ranges(expr, grid)
        samples = vector.samples
        counts = np.diff(samples.offsets)
        within = np.arange(len(samples.values)) - np.repeat(samples.offsets[:-1], counts)
        stamps = samples.stamps[np.repeat(samples.stamp_offsets[:-1][samples.timeline], counts) + within]
        end = int(vector.ends[0])
        inside = (stamps > end - vector.range_ms) & (stamps <= end)
        times, column = np.unique(stamps[inside], return_inverse=True)
        self.check_cells(len(counts), len(times))
        values = np.zeros((len(counts), len(times)))
        present = np.zeros(values.shape, bool)
        row = np.repeat(np.arange(len(counts)), counts)[inside]
        values[row, column] = samples.values[inside]
        present[row, column] = True
        return Matrix(samples.labels, values, present, vector.nameless), times

    def positive_ms(self, expr: ast.Expr) -> int:
        """A range or step in milliseconds. Raises ExecutionError unless it is positive."""
        value = duration_ms(expr, self.query.step_ms, self.query.end_ms - self.query.start_ms)
        if value <= 0:
            raise ExecutionError("duration must be greater than 0")
        return value

    def _binary(self, expr: ast.Binary, grid: Grid) -> Matrix:
        left_scalar = type_of(expr.left) is ValueType.SCALAR
        if left_scalar or type_of(expr.right) is ValueType.SCALAR:
            scalar = self.scalar(expr.left if left_scalar else expr.right, grid)
            operand = self.vector(expr.right if left_scalar else expr.left, grid)
            return with_scalar(expr.op, operand, scalar, scalar_left=left_scalar, return_bool=expr.return_bool)
        assert expr.matching is not None
        left, right = self.vector(expr.left, grid), self.vector(expr.right, grid)
        if expr.op in SET_OPERATORS:
            return matching.set_operation(expr.op, left, right, expr.matching)

        def check(series: int) -> None:
            self.check_cells(series, grid.size)

        return matching.match(expr.op, left, right, expr.matching, expr.return_bool, check)

    def _aggregation(self, expr: ast.Aggregation, grid: Grid) -> Matrix:
        parameter = np.empty(0)
        if expr.param is not None and PARAMETER_TYPES[expr.op] is ValueType.SCALAR:
            parameter = self.scalar(expr.param, grid)
        matrix = self.vector(expr.expr, grid).compact()
        match expr.op:
            case "topk" | "bottomk" | "limitk":
                return aggregation.choose(expr.op, matrix, parameter, expr.grouping, expr.without)
            case "quantile":
                assert expr.param is not None
                self.check_quantile(parameter, expr.param)
                return aggregation.quantile(matrix, parameter, expr.grouping, expr.without)
            case "count_values":
                assert expr.param is not None
                return aggregation.count_values(matrix, self.string(expr.param), expr.grouping, expr.without)
            case "limit_ratio":
                if np.isnan(parameter).any():
                    raise ExecutionError("Ratio value is NaN")
                raise UnsupportedError("the aggregation limit_ratio")
            case _:
                return aggregation.aggregate(expr.op, matrix, expr.grouping, expr.without)

    def check_quantile(self, q: Floats, expr: ast.Expr) -> None:
        """A warning for quantiles outside [0, 1]."""
        for value in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
            self.notes.quantile_out_of_range(value, expr.span)
