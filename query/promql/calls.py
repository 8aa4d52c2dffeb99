"""Function calls: which arguments go to which function."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from query.promql import ast, elementwise, over_time, rates, relabel, trends
from query.promql.annotations import Annotations
from query.promql.buckets import fraction_estimate, of_buckets, quantile_estimate
from query.promql.errors import ExecutionError, UnsupportedError
from query.promql.matrix import NAME, Grid, Matrix
from query.promql.numbers import open_metrics_float
from query.promql.signatures import FUNCTIONS
from query.promql.windows import RangeVector
from tsdb.samples import Floats, Labels


class Evaluator(Protocol):
    """What calls need of the evaluation around them."""

    query: Grid
    notes: Annotations

    def vector(self, expr: ast.Expr, grid: Grid) -> Matrix: ...
    def scalar(self, expr: ast.Expr, grid: Grid) -> Floats: ...
    def string(self, expr: ast.Expr) -> str: ...
    def ranges(self, expr: ast.Expr, grid: Grid) -> RangeVector: ...
    def selected(self, selector: ast.VectorSelector, grid: Grid) -> tuple[Matrix, Floats]: ...
    def check_quantile(self, q: Floats, expr: ast.Expr) -> None: ...


class Calls:
    """Evaluates calls with the help of an evaluation."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def scalar(self, call: ast.Call, grid: Grid) -> Floats:
        """A call that yields a number per step."""
        query = self._evaluator.query
        match call.function:
            case "time":
                return grid.times / 1000
            case "pi":
                return np.full(grid.size, np.pi)
            case "start":
                return np.full(grid.size, query.start_ms / 1000)
            case "end":
                return np.full(grid.size, query.end_ms / 1000)
            case "step":
                return np.full(grid.size, query.step_ms / 1000)
            case "range":
                return np.full(grid.size, (query.end_ms - query.start_ms) / 1000)
            case "min_of" | "max_of":
                first, second = (self._evaluator.scalar(arg, grid) for arg in call.args)
                return np.minimum(first, second) if call.function == "min_of" else np.maximum(first, second)
            case "scalar":
                return self._single(self._evaluator.vector(call.args[0], grid))
            case name:
                raise UnsupportedError(f"the function {name}()")

    def _single(self, matrix: Matrix) -> Floats:
        """The value where exactly one series is present, else NaN."""
        alone = matrix.present.sum(axis=0) == 1
        values = np.where(matrix.present, matrix.values, 0.0).sum(axis=0)
        return np.where(alone, values, np.nan)

    def vector(self, call: ast.Call, grid: Grid) -> Matrix:
        """A call that yields an instant vector."""
        name, args = call.function, call.args
        if not FUNCTIONS[name].evaluated:
            raise UnsupportedError(f"the function {name}()")
        if name in elementwise.FUNCTIONS:
            return self._evaluator.vector(args[0], grid).mapped(elementwise.FUNCTIONS[name])
        if name in elementwise.DATES:
            argument = self._evaluator.vector(args[0], grid) if args else _constant(grid.times / 1000)
            return argument.mapped(elementwise.DATES[name])
        if name in _OF_RANGES:
            return self._of_ranges(call, grid)
        if name.startswith(("histogram_", "label_", "sort")):
            return self._of_labels(call, grid)
        match name:
            case "vector":
                return _constant(self._evaluator.scalar(args[0], grid))
            case "timestamp":
                return self._timestamp(args[0], grid)
            case "absent":
                present = self._evaluator.vector(args[0], grid).present.any(axis=0)
                return _absent(relabel.absent_labels(args[0]), np.asarray(present))
            case "round":
                nearest = self._evaluator.scalar(args[1], grid) if len(args) > 1 else np.ones(grid.size)
                return elementwise.rounded(self._evaluator.vector(args[0], grid), nearest)
            case "clamp" | "clamp_min" | "clamp_max":
                return self._clamp(call, grid)
            case _:
                raise UnsupportedError(f"the function {name}()")

    def _clamp(self, call: ast.Call, grid: Grid) -> Matrix:
        matrix = self._evaluator.vector(call.args[0], grid)
        bounds = [self._evaluator.scalar(arg, grid) for arg in call.args[1:]]
        infinite = np.full(grid.size, np.inf)
        low = -infinite if call.function == "clamp_max" else bounds[0]
        high = infinite if call.function == "clamp_min" else bounds[-1]
        return elementwise.clamped(matrix, low, high)

    def _timestamp(self, arg: ast.Expr, grid: Grid) -> Matrix:
        inner = ast.unwrap(arg)
        if isinstance(inner, ast.VectorSelector):
            matrix, seconds = self._evaluator.selected(inner, grid)
            return matrix.mapped(lambda _: seconds)
        matrix = self._evaluator.vector(arg, grid)
        seconds = np.broadcast_to(grid.times / 1000, matrix.values.shape)
        return matrix.mapped(lambda _: seconds)

    def _of_ranges(self, call: ast.Call, grid: Grid) -> Matrix:
        """Functions of range vectors: evaluated on the window ends, which are one when @ fixes the time."""
        name = call.function
        position = 1 if name == "quantile_over_time" else 0
        vector = self._evaluator.ranges(call.args[position], grid)
        parameters = [self._evaluator.scalar(arg, grid) for index, arg in enumerate(call.args) if index != position]
        if parameters and len(vector.ends) != grid.size:
            vector = vector.repeated(grid.size)
        if name in ("rate", "increase"):
            self._note_counter(vector, call.args[0])
        if name == "quantile_over_time":
            self._evaluator.check_quantile(parameters[0], call.args[0])
        matrix = _ranged(name, vector, parameters, grid)
        if name == "absent_over_time":
            present = np.broadcast_to(matrix.present.any(axis=0), (grid.size,))
            return _absent(relabel.absent_labels(call.args[0]), np.asarray(present))
        return _spread(matrix, grid.size).compact()

    def _note_counter(self, vector: RangeVector, arg: ast.Expr) -> None:
        names = {value for labels in vector.samples.labels for name, value in labels if name == NAME}
        for metric in sorted(names):
            self._evaluator.notes.maybe_not_a_counter(metric, arg.span)

    def _of_labels(self, call: ast.Call, grid: Grid) -> Matrix:
        name, args = call.function, call.args
        if name.startswith("histogram_"):
            return self._of_buckets(call, grid)
        matrix = self._evaluator.vector(args[0], grid).compact()
        if name in ("sort", "sort_desc"):
            return relabel.sorted_by_value(matrix, descending=name == "sort_desc") if grid.size == 1 else matrix
        texts = [self._evaluator.string(arg) for arg in args[1:]]
        if name == "label_replace":
            target, template, source, pattern = texts
            return relabel.label_replace(matrix, target, template, source, pattern)
        if name == "label_join":
            return relabel.label_join(matrix, texts[0], texts[1], texts[2:])
        descending = name == "sort_by_label_desc"
        return relabel.sorted_by_labels(matrix, texts, descending=descending) if grid.size == 1 else matrix

    def _of_buckets(self, call: ast.Call, grid: Grid) -> Matrix:
        args, notes = call.args, self._evaluator.notes
        if call.function == "histogram_quantiles":
            return self._quantiles(call, grid)
        parameters = [self._evaluator.scalar(arg, grid) for arg in args[:-1]]
        if call.function == "histogram_quantile":
            self._evaluator.check_quantile(parameters[0], args[0])
            estimate = quantile_estimate(parameters[0])
        else:
            estimate = fraction_estimate(parameters[0], parameters[1])
        return of_buckets(self._evaluator.vector(args[-1], grid), estimate, notes, args[-1].span)

    def _quantiles(self, call: ast.Call, grid: Grid) -> Matrix:
        matrix = self._evaluator.vector(call.args[0], grid)
        label = self._evaluator.string(call.args[1])
        parts: list[Matrix] = []
        for arg in call.args[2:]:
            q = self._evaluator.scalar(arg, grid)
            self._evaluator.check_quantile(q, arg)
            part = of_buckets(matrix, quantile_estimate(q), self._evaluator.notes, call.args[0].span)
            if any(name == label for labels in part.labels for name, _ in labels):
                raise ExecutionError(f'label "{label}" already exists in the series given to histogram_quantiles()')
            for value in np.unique(q).tolist():
                same = np.isnan(q) if np.isnan(value) else q == value
                labels = [tuple(sorted([*own, (label, open_metrics_float(value))])) for own in part.labels]
                parts.append(part.relabelled(labels, part.nameless).where(part.present & same))
        return Matrix(
            [labels for part in parts for labels in part.labels],
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.present for part in parts]),
            np.concatenate([part.nameless for part in parts]),
        )


_OF_RANGES = frozenset(
    name for name, s in FUNCTIONS.items() if s.evaluated and any(t.value == "range vector" for t in s.args)
)


def _ranged(name: str, vector: RangeVector, parameters: list[Floats], grid: Grid) -> Matrix:
    if name in over_time.REDUCERS:
        return over_time.aggregated(name, vector)
    match name:
        case "rate" | "increase" | "delta":
            return rates.extrapolated(vector, counter=name != "delta", per_second=name == "rate")
        case "irate" | "idelta":
            return rates.instant_change(vector, rate=name == "irate")
        case "changes":
            return rates.changes(vector)
        case "resets":
            return rates.resets(vector)
        case "deriv":
            return trends.deriv(vector)
        case "predict_linear":
            return trends.predict_linear(vector, grid.times, parameters[0])
        case "double_exponential_smoothing":
            return trends.smoothed(vector, parameters[0], parameters[1])
        case "quantile_over_time":
            return over_time.quantile_over_time(vector, parameters[0])
        case "first_over_time" | "last_over_time":
            return over_time.edge(vector, last=name == "last_over_time", stamp=False)
        case "ts_of_first_over_time" | "ts_of_last_over_time":
            return over_time.edge(vector, last=name == "ts_of_last_over_time", stamp=True)
        case "present_over_time":
            return over_time.counted(vector).mapped(np.ones_like)
        case _:
            return over_time.counted(vector)


def _spread(matrix: Matrix, steps: int) -> Matrix:
    """One value for all steps becomes a value per step."""
    if matrix.values.shape[1] == steps:
        return matrix
    shape = (len(matrix.labels), steps)
    values, present = np.broadcast_to(matrix.values, shape), np.broadcast_to(matrix.present, shape)
    return Matrix(matrix.labels, values, present, matrix.nameless)


def _constant(values: Floats) -> Matrix:
    return Matrix([()], values[None, :], np.ones((1, len(values)), bool), np.zeros(1, bool))


def _absent(labels: Labels, present: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Matrix:
    missing = ~present[None, :]
    return Matrix([labels], np.ones(missing.shape), missing, np.zeros(1, bool)).compact()
