"""Selectors: samples from the store, on the query's steps."""

from __future__ import annotations

import numpy as np

from query.promql import ast
from query.promql.annotations import Annotations
from query.promql.durations import duration_ms
from query.promql.errors import LimitError
from query.promql.limits import Limits
from query.promql.matrix import Grid, Matrix
from query.promql.windows import RangeVector, instant, without_stale
from tsdb.samples import Floats, Longs, Matcher, SampleColumns, SampleStore


class Selection:
    """The lower half of an evaluation: what reads the store, and the account of what it cost."""

    def __init__(
        self,
        store: SampleStore,
        tenant: str,
        query: Grid,
        lookback_ms: int,
        limits: Limits,
        notes: Annotations,
    ) -> None:
        self.query = query
        self.notes = notes
        self._store = store
        self._tenant = tenant
        self._lookback_ms = lookback_ms
        self._limits = limits
        self._samples = 0

    def selected(self, selector: ast.VectorSelector, grid: Grid) -> tuple[Matrix, Floats]:
        """The newest sample of each series at each step, and those samples' times in seconds."""
        ends = self.ends(selector, grid)
        samples = self._select(selector.matchers, int(ends.min()) - self._lookback_ms + 1, int(ends.max()))
        self.check_cells(len(samples.labels), grid.size)
        matrix, stamps = instant(samples, ends, self._lookback_ms)
        if len(ends) == grid.size:
            return matrix, stamps / 1000
        shape = (len(samples.labels), grid.size)
        values, present = np.broadcast_to(matrix.values, shape), np.broadcast_to(matrix.present, shape)
        return Matrix(matrix.labels, values, present, matrix.nameless), np.broadcast_to(stamps / 1000, shape)

    def selected_range(self, matrix: ast.MatrixSelector, grid: Grid) -> RangeVector:
        """The samples of a range selector, stale markers removed."""
        selector = matrix.selector
        ends = self.ends(selector, grid)
        range_ms = duration_ms(matrix.range, self.query.step_ms, self.query.end_ms - self.query.start_ms)
        samples = self._select(selector.matchers, int(ends.min()) - range_ms + 1, int(ends.max()))
        self.check_cells(len(samples.labels), grid.size)
        fresh = without_stale(samples)
        return RangeVector(fresh, np.zeros(len(fresh.labels), bool), ends, range_ms)

    def ends(self, node: ast.VectorSelector | ast.Subquery, grid: Grid) -> Longs:
        """The times a selector looks at: one per step, or a single one when @ fixes it."""
        match node.at:
            case None:
                times = grid.times
            case ast.AtBound.START:
                times = np.array([self.query.start_ms], np.int64)
            case ast.AtBound.END:
                times = np.array([self.query.end_ms], np.int64)
            case fixed:
                times = np.array([fixed], np.int64)
        if node.offset is None:
            return times
        return times - duration_ms(node.offset, self.query.step_ms, self.query.end_ms - self.query.start_ms)

    def check_cells(self, series: int, steps: int) -> None:
        """Raises LimitError when an intermediate result would be too large."""
        if series * steps > self._limits.cells_max:
            raise LimitError(
                f"the query needs {series:,} series × {steps:,} steps at once, more than {self._limits.cells_max:,} "
                "values: select fewer series or use a larger step",
                self._limits.cells_max,
            )

    def _select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> SampleColumns:
        samples = self._store.select(self._tenant, matchers, start_ms, end_ms)
        self._samples += len(samples.values)
        if self._samples > self._limits.samples_max:
            raise LimitError(
                "query processing would load too many samples into memory in query execution",
                self._limits.samples_max,
            )
        return samples
