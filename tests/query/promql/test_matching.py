"""Binary operators: scalars, vectors, and how series find each other."""

from __future__ import annotations

import math

import pytest

from query.promql.engine import Engine
from query.promql.errors import ExecutionError
from tests.query.promql.build import at, engine_with, every, labels, over


@pytest.fixture
def shop() -> Engine:
    return engine_with(
        {
            labels("requests", job="a", code="200"): every(10, [90.0, 80.0]),
            labels("requests", job="a", code="500"): every(10, [10.0, 20.0]),
            labels("requests", job="b", code="200"): every(10, [5.0, None]),
            labels("limit", job="a"): every(10, [50.0, 50.0]),
            labels("info", job="a", version="1"): every(10, [1.0, 1.0]),
        }
    )


def test_arithmetic_drops_the_name_and_comparison_keeps_it(shop: Engine) -> None:
    assert at(shop, 'requests{job="b"} * 2', 0) == {labels(job="b", code="200"): 10.0}
    assert at(shop, 'requests{job="b"} < 6', 0) == {labels("requests", job="b", code="200"): 5.0}
    assert at(shop, '6 > requests{job="b"}', 0) == {labels("requests", job="b", code="200"): 5.0}
    assert at(shop, 'requests{job="b"} > bool 6', 0) == {labels(job="b", code="200"): 0.0}


def test_scalars_compute_as_go_does() -> None:
    engine = engine_with({})
    for query, value in (
        ("7 % -4", 3.0),
        ("-7 % 4", -3.0),
        ("1 / 0", math.inf),
        ("2 ^ 0.5", 2**0.5),
        ("1 < bool 2", 1.0),
    ):
        assert engine.instant("", query, 0).values.tolist() == [[value]]
    assert math.isnan(engine.instant("", "1 % 0", 0).values[0, 0])


def test_one_to_one_matches_on_all_labels_but_the_name(shop: Engine) -> None:
    assert at(shop, "requests + requests", 0) == {
        labels(job="a", code="200"): 180.0,
        labels(job="a", code="500"): 20.0,
        labels(job="b", code="200"): 10.0,
    }
    assert at(shop, 'requests{code="500"} / on (job) limit', 0) == {labels(job="a"): 0.2}
    assert at(shop, 'requests{code="500"} / ignoring (code) limit', 0) == {labels(job="a"): 0.2}


def test_many_to_one_keeps_the_many_side_and_takes_the_asked_labels(shop: Engine) -> None:
    assert at(shop, "requests / on (job) group_left limit", 0) == {
        labels(job="a", code="200"): 1.8,
        labels(job="a", code="500"): 0.2,
    }
    assert at(shop, 'info * on (job) group_right (version) requests{code="500"}', 0) == {
        labels(job="a", code="500", version="1"): 10.0
    }
    assert at(shop, 'limit - on (job) group_right requests{code="500"}', 0) == {labels(job="a", code="500"): 40.0}


def test_ambiguous_matches_are_refused(shop: Engine) -> None:
    with pytest.raises(ExecutionError) as many:
        at(shop, "limit / on (job) requests", 0)
    assert str(many.value) == (
        'found duplicate series for the match group {job="a"} on the right hand-side of the operation: '
        '[{__name__="requests", code="200", job="a"}, {__name__="requests", code="500", job="a"}];'
        "many-to-many matching not allowed: matching labels must be unique on one side"
    )
    with pytest.raises(ExecutionError, match="many-to-one matching must be explicit"):
        at(shop, "requests / on (job) limit", 0)
    with pytest.raises(ExecutionError, match="grouping labels must ensure unique matches"):
        at(shop, 'requests * on (job) group_left (code) label_replace(limit, "code", "x", "", "")', 0)


def test_series_that_take_turns_may_match_the_same_partner() -> None:
    engine = engine_with(
        {
            labels("x", i="1"): [(0, 1.0)],
            labels("x", i="2"): [(400_000, 2.0)],
            labels("y"): [(0, 10.0), (400_000, 20.0)],
        }
    )
    assert over(engine, "x + on () y", 0, 400, 400) == {(): [11.0, 22.0]}
    assert over(engine, "y + on () x", 0, 400, 400) == {(): [11.0, 22.0]}


def test_set_operators_decide_step_by_step(shop: Engine) -> None:
    assert over(shop, 'requests and requests{job="b"}', 0, 10, 10) == {
        labels("requests", job="b", code="200"): [5.0, 5.0]
    }
    assert over(shop, "requests unless on (job) limit", 0, 10, 10) == {
        labels("requests", job="b", code="200"): [5.0, 5.0]
    }
    assert over(shop, "limit or on (job) requests", 0, 10, 10) == {
        labels("limit", job="a"): [50.0, 50.0],
        labels("requests", job="b", code="200"): [5.0, 5.0],
    }
    engine = engine_with({labels("x"): [(0, 1.0)], labels("y"): [(0, 2.0), (400_000, 3.0)]})
    assert over(engine, "x or y", 0, 400, 400) == {labels("x"): [1.0, None], labels("y"): [None, 3.0]}
    assert over(engine, "y unless x", 0, 400, 400) == {labels("y"): [None, 3.0]}


def test_or_keeps_everything_of_both_sides_when_labels_differ(shop: Engine) -> None:
    assert len(at(shop, "requests or limit or info", 0)) == 5


def test_names_that_differ_clash_only_where_both_are_present() -> None:
    engine = engine_with({labels("x"): [(0, 1.0)], labels("y"): [(400_000, 2.0)], labels("z"): [(0, 3.0)]})
    assert over(engine, '-{__name__=~"x|y"}', 0, 400, 400) == {(): [-1.0, -2.0]}
    with pytest.raises(ExecutionError, match="same labelset"):
        at(engine, '-{__name__=~"x|z"}', 0)


def test_negation_and_comparison_of_nan() -> None:
    engine = engine_with({labels("x"): [(0, math.nan)]})
    assert at(engine, "x == x", 0) == {}
    assert at(engine, "x != bool x", 0) == {(): 1.0}


def test_an_error_quotes_names_that_need_it() -> None:
    engine = engine_with({(("__name__", "x"), ("service.name", v)): [(0, 1.0)] for v in ('a"', "b")})
    with pytest.raises(ExecutionError) as caught:
        at(engine, "x + on () x", 0)
    assert '[{__name__="x", "service.name"="a\\""}, {__name__="x", "service.name"="b"}]' in str(caught.value)
