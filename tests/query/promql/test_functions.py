"""Functions of single samples and of labels."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.promql.errors import ExecutionError, UnsupportedError
from tests.query.promql.build import UNTIMED, at, engine_with, every, labels, over

EMPTY = engine_with({})


def scalar(query: str, time_s: float = 0) -> float:
    return float(EMPTY.instant("", query, round(time_s * 1000)).values[0, 0])


@UNTIMED
@given(st.integers(-60_000_000_000, 60_000_000_000))
def test_the_calendar_is_the_gregorian_one_in_utc(seconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    wanted = {
        "year": moment.year,
        "month": moment.month,
        "day_of_month": moment.day,
        "day_of_week": moment.isoweekday() % 7,
        "day_of_year": moment.timetuple().tm_yday,
        "hour": moment.hour,
        "minute": moment.minute,
    }
    for function, value in wanted.items():
        assert scalar(f"scalar({function}(vector({seconds})))") == value


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("days_in_month(vector(951782400))", 29.0),
        ("round(vector(2.5))", 3.0),
        ("round(vector(-2.5))", -2.0),
        ("round(vector(7), 5)", 5.0),
        ("clamp(vector(9), 1, 5)", 5.0),
        ("clamp_min(vector(9), 10)", 10.0),
        ("sgn(vector(-3))", -1.0),
        ("ln(vector(0))", -math.inf),
        ("deg(vector(pi()))", 180.0),
        ("vector(max_of(1, min_of(5, 3)))", 3.0),
        ("vector(time())", 60.0),
        ("minute()", 1.0),
    ],
)
def test_values(query: str, value: float) -> None:
    assert at(EMPTY, query, 60) == {(): value}


def test_the_sign_of_a_zero_stays() -> None:
    engine = engine_with({labels("x"): [(0, -0.0)]})
    assert at(engine, 'count_values("v", sgn(x))', 0) == {labels(v="-0"): 1.0}


def test_a_clamp_with_crossed_bounds_is_empty() -> None:
    assert at(EMPTY, "clamp(vector(1), 5, -5)", 0) == {}


def test_scalar_needs_exactly_one_series() -> None:
    engine = engine_with({labels("x", i="1"): every(10, [1.0, 2.0]), labels("x", i="2"): [(10_000, 3.0)]})
    found = over(engine, "vector(scalar(x))", 0, 10, 10)[()]
    assert found[0] == 1.0
    assert isinstance(found[1], float)
    assert math.isnan(found[1])


def test_timestamp_is_the_sample_s_but_the_step_s_after_a_computation() -> None:
    engine = engine_with({labels("x"): every(10, [1.0])})
    assert at(engine, "timestamp(x)", 7) == {(): 0.0}
    assert at(engine, "timestamp(x + 0)", 7) == {(): 7.0}


def test_the_query_s_own_times_are_numbers() -> None:
    result = EMPTY.range("", "start() + 10 * end() + 100 * step() + 1000 * range()", 1000, 3000, 1000)
    assert result.values.tolist() == [[1 + 30 + 100 + 2000] * 3]


def test_label_replace_expands_groups() -> None:
    engine = engine_with({labels("x", path="/api/v1/users"): [(0, 1.0)]})
    for template, value in (("$1-${2}", "v1-users"), ("$1x", ""), ("$$1", "$1"), ("${rest}", "users")):
        found = at(engine, f'label_replace(x, "new", "{template}", "path", "/api/([^/]+)/(?P<rest>.*)")', 0)
        assert found == {labels("x", path="/api/v1/users", **({"new": value} if value else {})): 1.0}
    assert at(engine, 'label_replace(x, "path", "y", "path", "api")', 0) == {labels("x", path="/api/v1/users"): 1.0}


def test_label_replace_refuses_what_would_collide_or_is_no_regex() -> None:
    engine = engine_with({labels("x", a="1"): [(0, 1.0)], labels("x", a="2"): [(0, 2.0)]})
    with pytest.raises(ExecutionError, match="same labelset"):
        at(engine, 'label_replace(x, "a", "", "", "")', 0)
    with pytest.raises(ExecutionError, match="invalid regular expression in label_replace"):
        at(engine, 'label_replace(x, "a", "", "a", "(")', 0)
    with pytest.raises(ExecutionError, match="invalid destination label name"):
        at(engine, r'label_replace(x, "\xff", "", "a", "")', 0)


def test_label_replace_can_name_a_computed_series() -> None:
    engine = engine_with({labels("x"): [(0, 1.0)]})
    assert at(engine, 'label_replace(-x, "__name__", "y", "", "")', 0) == {labels("y"): -1.0}


def test_label_join() -> None:
    engine = engine_with({labels("x", a="1", b="2"): [(0, 1.0)]})
    assert at(engine, 'label_join(x, "c", "-", "a", "none", "b")', 0) == {labels("x", a="1", b="2", c="1--2"): 1.0}


def test_sorting_orders_an_instant() -> None:
    engine = engine_with({labels("x", h=h): [(0, v)] for h, v in (("h10", 2.0), ("h9", math.nan), ("h1", 3.0))})
    assert [dict(own)["h"] for own in at(engine, "sort(x)", 0)] == ["h10", "h1", "h9"]
    assert [dict(own)["h"] for own in at(engine, "sort_desc(x)", 0)] == ["h1", "h10", "h9"]
    assert [dict(own)["h"] for own in at(engine, "sort_desc(x) > 1", 0)] == ["h1", "h10"]
    assert [dict(own)["h"] for own in at(engine, 'sort_by_label(x, "h")', 0)] == ["h1", "h9", "h10"]


@pytest.mark.parametrize("query", ["info(x)", "histogram_count(x)", "limit_ratio(0.5, x)"])
def test_what_is_not_evaluated_says_so(query: str) -> None:
    with pytest.raises(UnsupportedError, match="is not supported yet"):
        at(EMPTY, query, 0)
