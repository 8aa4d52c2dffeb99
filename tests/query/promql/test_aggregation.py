"""Aggregations over groups of series."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.promql.errors import ExecutionError
from tests.query.promql.build import UNTIMED, Value, at, engine_with, every, labels, over

CLUSTER = engine_with(
    {
        labels("x", env="p", host="a"): every(10, [1.0, 10.0]),
        labels("x", env="p", host="b"): every(10, [3.0, None]),
        labels("x", env="q", host="a"): every(10, [5.0, 50.0]),
        labels("x", host="a"): every(10, [math.nan, 7.0]),
    }
)

MODELS: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "avg": statistics.fmean,
    "min": min,
    "max": max,
    "count": len,
    "group": lambda members: 1.0,
    "stddev": statistics.pstdev,
    "stdvar": statistics.pvariance,
}

grids = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.none() | st.floats(-1e6, 1e6), min_size=4, max_size=4)),
    min_size=1,
    max_size=12,
)


@UNTIMED
@given(series=grids)
def test_each_aggregation_is_what_its_model_says(series: list[tuple[str, list[Value]]]) -> None:
    stored = {labels("x", g=g, i=f"{i:02}"): every(400, own) for i, (g, own) in enumerate(series)}
    engine = engine_with({own: points for own, points in stored.items() if points})
    for op, model in MODELS.items():
        found = over(engine, f"{op} by (g) (x)", 0, 1200, 400)
        for group in "abc":
            for step in range(4):
                members = [v for g, own in series if g == group and (v := own[step]) is not None]
                got = found.get(labels(g=group), [None] * 4)[step]
                assert got == (pytest.approx(model(members), rel=1e-9, abs=1e-6) if members else None)


def test_by_keeps_and_without_removes_labels() -> None:
    assert at(CLUSTER, "count by (env) (x)", 0) == {labels(env="p"): 2, labels(env="q"): 1, (): 1}
    assert at(CLUSTER, "count without (host) (x)", 0) == {labels(env="p"): 2, labels(env="q"): 1, (): 1}
    assert at(CLUSTER, "count(x)", 0) == {(): 4}
    assert at(CLUSTER, "count by (env, nothing) (x)", 0) == at(CLUSTER, "count(x) by (env)", 0)


def test_a_group_that_has_only_nan_is_nan_else_it_is_passed_over() -> None:
    assert at(CLUSTER, "max by (host) (x)", 0) == {labels(host="a"): 5, labels(host="b"): 3}
    assert math.isnan(at(CLUSTER, "max(x{env=''})", 0)[()])
    assert math.isnan(at(CLUSTER, "sum(x)", 0)[()])


def test_topk_keeps_names_and_orders_an_instant() -> None:
    found = at(CLUSTER, "topk(2, x)", 0)
    assert list(found.items()) == [(labels("x", env="q", host="a"), 5), (labels("x", env="p", host="b"), 3)]
    assert list(at(CLUSTER, "bottomk(1, x)", 0)) == [labels("x", env="p", host="a")]
    assert list(at(CLUSTER, "topk(9, x)", 0))[-1] == labels("x", host="a")
    assert at(CLUSTER, "topk(0, x)", 0) == {}


def test_topk_chooses_anew_at_each_step() -> None:
    engine = engine_with({labels("x", i="a"): every(10, [1.0, 2.0]), labels("x", i="b"): every(10, [2.0, 1.0])})
    assert over(engine, "topk(1, x)", 0, 10, 10) == {labels("x", i="a"): [None, 2.0], labels("x", i="b"): [2.0, None]}


def test_of_equal_values_topk_takes_the_first_by_labels() -> None:
    engine = engine_with({labels("x", i=i): every(10, [1.0, 1.0]) for i in "bca"})
    assert list(at(engine, "topk(2, sum by (i) (-x or x))", 10)) == [labels(i="a"), labels(i="b")]
    assert list(over(engine, "bottomk(1, x)", 0, 10, 10)) == [labels("x", i="a")]


def test_topk_refuses_nan() -> None:
    with pytest.raises(ExecutionError, match="Parameter value is NaN"):
        at(CLUSTER, "topk(NaN, x)", 0)


def test_quantile_interpolates_within_a_group() -> None:
    assert at(CLUSTER, "quantile by (env) (0.5, x)", 0)[labels(env="p")] == 2.0
    assert at(CLUSTER, "quantile(-1, x)", 0) == {(): -math.inf}


def test_count_values_makes_labels_of_values() -> None:
    engine = engine_with({labels("x", i=str(i)): [(0, v)] for i, v in enumerate([1.5, 1.5, 1e21, math.nan])})
    assert at(engine, 'count_values("v", x)', 0) == {
        labels(v="1.5"): 2,
        labels(v="1000000000000000000000"): 1,
        labels(v="NaN"): 1,
    }


def test_sums_do_not_depend_on_the_size_of_their_neighbours() -> None:
    engine = engine_with({labels("x", i=str(i)): [(0, v)] for i, v in enumerate([1.0, 1e100, 1.0, -1e100, 0.5])})
    assert at(engine, "sum(x)", 0) == {(): 2.5}


def test_the_metric_name_can_be_grouped_by_after_a_rate() -> None:
    engine = engine_with({labels("a_total"): every(10, [0.0, 10.0]), labels("b_total"): every(10, [0.0, 20.0])})
    found = at(engine, 'sum by (__name__) (increase({__name__=~".*_total"}[10001ms]))', 10)
    assert found == pytest.approx({labels("a_total"): 10.001, labels("b_total"): 20.002}, rel=1e-3)
