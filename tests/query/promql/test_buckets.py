"""Quantiles and fractions of classic histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from query.promql.engine import Engine
from tests.query.promql.build import Value, at, engine_with, every, labels, over


def histogram(buckets: Mapping[str, list[Value]], **own: str) -> Engine:
    return engine_with({labels("h_bucket", le=le, **own): every(400, values) for le, values in buckets.items()})


PLAIN = histogram({"1": [2.0], "2": [6.0], "4": [8.0], "+Inf": [10.0]}, job="a")


@pytest.mark.parametrize(
    ("q", "value"),
    [(0.0, 0.0), (0.1, 0.5), (0.4, 1.5), (0.7, 3.0), (0.8, 4.0), (0.95, 4.0), (-1, -math.inf), (2, math.inf)],
)
def test_a_quantile_is_interpolated_within_its_bucket(q: float, value: float) -> None:
    assert at(PLAIN, f"histogram_quantile({q}, h_bucket)", 0) == {labels(job="a"): value}


def test_buckets_that_come_and_go_count_only_where_they_are() -> None:
    engine = histogram({"1": [2.0, None], "2": [6.0, 6.0], "4": [8.0, 8.0], "+Inf": [10.0, 10.0]})
    found = over(engine, "histogram_quantile(0.3, h_bucket)", 0, 400, 400)[()]
    assert found == [1.25, 1.0]


def test_without_an_infinite_bucket_there_is_no_quantile() -> None:
    assert math.isnan(at(histogram({"1": [2.0], "2": [6.0]}), "histogram_quantile(0.5, h_bucket)", 0)[()])


def test_falling_counts_are_repaired_and_noted() -> None:
    engine = histogram({"1": [4.0], "2": [3.0], "4": [5.0], "+Inf": [8.0]})
    result = engine.instant("", "histogram_quantile(0.55, h_bucket)", 0)
    assert result.values.tolist() == [[pytest.approx(2.8)]]
    assert "needed to be fixed for monotonicity" in result.infos[0]


def test_spellings_of_one_bound_are_added_up() -> None:
    engine = histogram({"1": [1.0], "1.0": [1.0], "2": [4.0], "+Inf": [4.0]})
    assert at(engine, "histogram_quantile(0.25, h_bucket)", 0) == {(): 0.5}


def test_a_series_without_a_bound_is_left_out_with_a_warning() -> None:
    engine = engine_with({labels("x", le="?"): [(0, 1.0)]})
    result = engine.instant("", "histogram_quantile(0.5, x)", 0)
    assert list(result.labels) == []
    assert result.warnings == [
        'PromQL warning: bucket label "le" is missing or has a malformed value of "?" for metric name "x" (1:25)'
    ]


@pytest.mark.parametrize(
    ("low", "high", "share"),
    [(0, 1, 0.2), (0.5, 1.5, 0.3), (1, 4, 0.6), (3, 100, 0.1), ("-Inf", "Inf", 1.0), (2, 1, 0.0)],
)
def test_a_fraction_is_interpolated_within_its_buckets(low: float | str, high: float | str, share: float) -> None:
    assert at(PLAIN, f"histogram_fraction({low}, {high}, h_bucket)", 0) == pytest.approx({labels(job="a"): share})


def test_several_quantiles_at_once_get_a_label() -> None:
    assert at(PLAIN, 'histogram_quantiles(h_bucket, "q", 0.1, 1)', 0) == {
        labels(job="a", q="0.1"): 0.5,
        labels(job="a", q="1.0"): 4.0,
    }


def test_histograms_of_a_group_are_told_apart() -> None:
    series = {
        labels("h_bucket", le=le, job=job): [(0, factor * count)]
        for job, factor in (("a", 1.0), ("b", 5.0))
        for le, count in (("1", 2.0), ("2", 6.0), ("+Inf", 6.0))
    }
    engine = engine_with(series)
    assert at(engine, "histogram_quantile(0.5, sum by (le, job) (h_bucket))", 0) == {
        labels(job="a"): 1.25,
        labels(job="b"): 1.25,
    }


def test_infinite_counts_are_quietly_nan() -> None:
    engine = histogram({"1": [math.inf], "2": [math.inf], "+Inf": [math.inf]})
    assert math.isnan(at(engine, "histogram_quantile(0.5, h_bucket)", 0)[()])
