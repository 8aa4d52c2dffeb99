"""The *_over_time functions and trends, against plain Python over one window."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.promql.errors import ExecutionError
from tests.query.promql.build import UNTIMED, Value, at, engine_with, every, labels, over

X = labels("x")

MODELS: dict[str, Callable[[list[float]], float]] = {
    "sum_over_time": math.fsum,
    "avg_over_time": statistics.fmean,
    "min_over_time": min,
    "max_over_time": max,
    "count_over_time": len,
    "stddev_over_time": statistics.pstdev,
    "stdvar_over_time": statistics.pvariance,
    "first_over_time": lambda window: window[0],
    "last_over_time": lambda window: window[-1],
    "present_over_time": lambda window: 1.0,
}

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@UNTIMED
@given(series=st.lists(values, min_size=1, max_size=3), range_s=st.integers(1, 150))
def test_each_function_is_what_its_model_says(series: list[list[float]], range_s: int) -> None:
    engine = engine_with({labels("x", i=str(i)): every(10, own) for i, own in enumerate(series)})
    for function, model in MODELS.items():
        found = over(engine, f"{function}(x[{range_s}s])", 0, 200, 40)
        for i, own in enumerate(series):
            for step, end in enumerate(range(0, 201, 40)):
                window = [v for t, v in enumerate(own) if end - range_s < t * 10 <= end]
                named = function in ("first_over_time", "last_over_time")
                key = labels("x" if named else None, i=str(i))
                got = found.get(key, [None] * 6)[step]
                assert got == (pytest.approx(model(window), rel=1e-9, abs=1e-6) if window else None)


def test_sums_keep_what_rounding_would_lose() -> None:
    engine = engine_with({X: every(10, [1.0, 1e100, 1.0, -1e100])})
    assert at(engine, "sum_over_time(x[1m])", 30) == {(): 2.0}
    assert at(engine, "avg_over_time(x[1m])", 30) == {(): 0.5}


def test_an_average_does_not_overflow() -> None:
    engine = engine_with({X: every(10, [1.7e308, 1.7e308, 1.7e308])})
    assert at(engine, "avg_over_time(x[1m])", 20) == {(): 1.7e308}
    assert at(engine, "sum_over_time(x[1m])", 20) == {(): math.inf}


def test_equal_values_have_no_spread_at_all() -> None:
    engine = engine_with({X: every(10, [0.1] * 11)})
    assert at(engine, "stddev_over_time(x[2m])", 100) == {(): 0.0}


def test_minimum_and_maximum_pass_over_nan() -> None:
    engine = engine_with({X: every(10, [math.nan, 2.0, 1.0, math.nan])})
    assert at(engine, "min_over_time(x[1m])", 30) == {(): 1.0}
    assert at(engine, "max_over_time(x[1m])", 30) == {(): 2.0}
    assert math.isnan(at(engine, "max_over_time(x[1m])", 0)[()])


def test_quantiles_interpolate_and_warn_outside_their_range() -> None:
    engine = engine_with({X: every(10, [4.0, 0.0, 1.0])})
    assert at(engine, "quantile_over_time(0.75, x[1m])", 20) == {(): 2.5}
    result = engine.instant("", "quantile_over_time(2, x[1m])", 20_000)
    assert result.values.tolist() == [[math.inf]]
    assert result.warnings == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]


def test_long_windows_are_worked_in_parts() -> None:
    count = 3000
    engine = engine_with({X: every(1, [float(i % 7) for i in range(count)])})
    found = over(engine, "max_over_time(x[2000s])", 1000, 2999, 3)[()]
    assert found == [6.0] * len(found)
    sums = over(engine, "sum_over_time(x[2000s])", 1000, 2999, 3)[()]
    assert sums == [float(sum(i % 7 for i in range(max(0, t - 1999), t + 1))) for t in range(1000, 3000, 3)]


mostly_whole = st.lists(st.integers(-50, 50).map(float) | st.just(math.nan) | st.none(), min_size=1, max_size=40)


@UNTIMED
@given(series=st.lists(mostly_whole, min_size=1, max_size=4), range_s=st.integers(1, 400), step=st.integers(1, 20))
def test_windows_that_overlap_much_give_the_same_as_each_by_itself(
    series: list[list[Value]], range_s: int, step: int
) -> None:
    stored = {labels("x", i=str(i)): every(10, own) for i, own in enumerate(series)}
    engine = engine_with({own: points for own, points in stored.items() if points})
    for function in ("sum_over_time", "avg_over_time", "min_over_time", "max_over_time"):
        query = f"{function}(x[{range_s}s])"
        found = over(engine, query, 0, 40 * step, step)
        for index in range(0, 41, 8):
            alone = at(engine, query, index * step)
            there = {own: row[index] for own, row in found.items() if row[index] is not None}
            assert there == pytest.approx(alone, nan_ok=True)


def test_a_line_is_found_and_prolonged() -> None:
    engine = engine_with({X: every(10, [5.0 + 2.0 * i for i in range(10)])})
    assert at(engine, "deriv(x[2m])", 90) == pytest.approx({(): 0.2})
    assert at(engine, "predict_linear(x[2m], 100)", 90) == pytest.approx({(): 43.0})
    assert at(engine, "deriv(x[10s])", 90) == {}


def test_smoothing_of_a_line_is_the_line() -> None:
    engine = engine_with({X: every(10, [5.0 + 2.0 * i for i in range(10)])})
    assert at(engine, "double_exponential_smoothing(x[2m], 0.3, 0.6)", 90) == pytest.approx({(): 23.0})
    with pytest.raises(ExecutionError, match="smoothing factor"):
        at(engine, "double_exponential_smoothing(x[2m], 2, 0.6)", 90)


def test_absence_takes_its_labels_from_the_selector() -> None:
    engine = engine_with({labels("x", a="1"): [(0, 1.0)]})
    query = 'absent_over_time(x{a="1",b!="2"}[30s])'
    assert over(engine, query, 0, 60, 30) == {labels(a="1"): [None, 1.0, 1.0]}
    assert at(engine, 'absent(x{a="1", a="2", b="3"})', 0) == {labels(b="3"): 1.0}
    assert at(engine, "absent(sum(x{a='2'}))", 0) == {(): 1.0}


def test_times_of_extremes() -> None:
    engine = engine_with({X: every(10, [1.0, 9.0, 0.0, 9.0, 0.0, 3.0])})
    assert at(engine, "ts_of_max_over_time(x[1m])", 50) == {(): 30.0}
    assert at(engine, "ts_of_min_over_time(x[1m])", 50) == {(): 40.0}
    assert at(engine, "ts_of_first_over_time(x[30s])", 50) == {(): 30.0}
    assert at(engine, "ts_of_last_over_time(x[1m])", 55) == {(): 50.0}
