"""What a query may cost, and what it is told when it costs more."""

from __future__ import annotations

import dataclasses

import pytest

from query.promql.engine import Engine
from query.promql.errors import ExecutionError, LimitError, PromqlError
from query.promql.limits import DEFAULT_LIMITS
from query.promql.memory import MemoryStore
from tests.query.promql.build import every, labels

STORE = MemoryStore({labels("x", i=str(i)): every(10, [1.0] * 100) for i in range(10)})


def limited(**limits: int) -> Engine:
    return Engine(STORE, limits=dataclasses.replace(DEFAULT_LIMITS, **limits))


def test_a_range_has_at_most_eleven_thousand_points() -> None:
    engine = Engine(STORE)
    assert engine.range("", "1", 0, 10_999, 1).values.shape == (1, 11_000)
    with pytest.raises(LimitError) as caught:
        engine.range("", "x", 0, 11_000, 1)
    assert str(caught.value) == (
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
    )
    assert caught.value.limit == 11_000


def test_samples_are_counted_over_all_selectors() -> None:
    assert limited(samples_max=2000).instant("", "sum(count_over_time(x[1h])) + sum(count_over_time(x[1h]))", 990_000)
    with pytest.raises(LimitError, match="too many samples"):
        limited(samples_max=1999).instant("", "sum(count_over_time(x[1h])) + sum(count_over_time(x[1h]))", 990_000)


def test_series_times_steps_are_limited() -> None:
    assert limited(cells_max=1000).range("", "x", 0, 990_000, 10_000)
    with pytest.raises(LimitError, match="series × 101 steps"):
        limited(cells_max=1000).range("", "x", 0, 1_000_000, 10_000)


def test_a_subquery_with_too_many_steps_is_refused_before_it_is_laid_out() -> None:
    with pytest.raises(LimitError):
        Engine(STORE).instant("", "max_over_time(vector(1)[100y:1ms])", 0)


def test_a_long_query_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(LimitError, match="longer than 65536 characters"):
        Engine(STORE).instant("", "x" * 65_537, 0)


@pytest.mark.parametrize(
    ("query", "start", "end", "step"),
    [("x", 0, 10, 0), ("x", 10, 0, 1), ("x[5m]", 0, 10, 1), ('"a"', 0, 10, 1), ("x", 0, 2**60, 2**59)],
)
def test_ranges_that_make_no_sense_are_refused(query: str, start: int, end: int, step: int) -> None:
    with pytest.raises(ExecutionError):
        Engine(STORE).range("", query, start, end, step)


@pytest.mark.parametrize(
    "query",
    [
        "x offset 1e300",
        "x[9999999999y]",
        "x[2^99999]",
        "x[1/0]",
        "x[5m % 0]",
        "x[(0-8)^0.5]",
        "x @ 1e300",
        "x[step()]",
        "count_over_time(x[5m:step()])",
        'label_replace(x, "a", "$99999999999999999999", "i", "(.*)")',
        'label_replace(x, "a", "$' + "9" * 6000 + '", "i", "(.*)")',
        "x[" + "9" * 6000 + "s]",
        "9" * 6000 + "h",
        "0x" + "f" * 6000,
        "9" * 6000,
        "1e9999",
        "x @ " + "9" * 6000,
        "sort_by_label(x, 'i')",
        "topk(1e300, x)",
        'x{a=~"(((((a{0,500}){0,500}){0,500}))))"}',
        'x{a=~"' + "(a|b)" * 5000 + '{1000}"}',
    ],
)
def test_extreme_numbers_give_a_sentence(query: str) -> None:
    try:
        Engine(STORE).instant("", query, 0)
    except PromqlError as failure:
        assert "\n" not in str(failure)


@pytest.mark.parametrize("opening", ["abs(", "-(", "sum(", "1 + (", 'label_join(x, "a", "b") + abs('])
def test_a_query_of_the_deepest_allowed_nesting_is_evaluated(opening: str) -> None:
    depth = 40
    closing = ")" * depth
    assert Engine(STORE).instant("", opening * depth + "vector(1)" + closing, 0) is not None
