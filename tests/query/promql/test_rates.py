"""rate and its relatives, against a model that looks at one sample after the other."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.promql.memory import Points
from tests.query.promql.build import UNTIMED, at, engine_with, every, labels, over

X = labels("x_total")


def model(points: Points, end_ms: int, range_ms: int, *, counter: bool, per_second: bool) -> float | None:
    """Prometheus' extrapolation for one window, by the book."""
    window = [(t, v) for t, v in points if end_ms - range_ms < t <= end_ms]
    if len(window) < 2:
        return None
    change = window[-1][1] - window[0][1]
    if counter:
        change += sum(a for (_, a), (_, b) in pairwise(window) if b < a)
    sampled = (window[-1][0] - window[0][0]) / 1000
    average = sampled / (len(window) - 1)
    to_start = (window[0][0] - (end_ms - range_ms)) / 1000
    to_end = (end_ms - window[-1][0]) / 1000
    if to_start >= average * 1.1:
        to_start = average / 2
    if counter and change > 0 and window[0][1] >= 0:
        to_start = min(to_start, sampled * (window[0][1] / change))
    if to_end >= average * 1.1:
        to_end = average / 2
    result = change * ((sampled + to_start + to_end) / sampled)
    return result / (range_ms / 1000) if per_second else result


counters = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 50) | st.sampled_from([0, 10**12])), min_size=1, max_size=25
).map(lambda gaps: [(sum(g for g, _ in gaps[: i + 1]) * 1000, float(v)) for i, (_, v) in enumerate(gaps)])


@UNTIMED
@given(series=st.lists(counters, min_size=1, max_size=4), range_s=st.integers(1, 300), step=st.integers(1, 60))
def test_rates_are_what_the_model_says(series: list[Points], range_s: int, step: int) -> None:
    engine = engine_with({labels("x_total", i=str(i)): own for i, own in enumerate(series)})
    times = [50 + step * i for i in range(8)]
    for function, counter, per_second in (("rate", True, True), ("increase", True, False), ("delta", False, False)):
        found = over(engine, f"{function}(x_total[{range_s}s])", times[0], times[-1], step)
        for i, own in enumerate(series):
            wanted = [model(own, t * 1000, range_s * 1000, counter=counter, per_second=per_second) for t in times]
            got = found.get(labels(i=str(i)), [None] * 8)
            assert [v is None for v in got] == [v is None for v in wanted]
            assert [v or 0.0 for v in got] == pytest.approx([v or 0.0 for v in wanted], rel=1e-9, abs=1e-9)


def test_a_reset_counts_what_came_after_it() -> None:
    engine = engine_with({X: every(60, [0.0, 10.0, 20.0, 5.0, 15.0])})
    assert at(engine, "increase(x_total[5m])", 240) == {(): 35.0}


def test_a_counter_is_not_extrapolated_below_zero() -> None:
    engine = engine_with({X: [(60_000, 1.0), (120_000, 61.0), (180_000, 121.0)]})
    # half an interval would be 30 s, but zero is one second before the first sample
    assert at(engine, "increase(x_total[4m])", 180) == pytest.approx({(): 121.0})


def test_an_infinite_counter_does_not_spoil_its_neighbours() -> None:
    spoiled = every(60, [1.0, math.inf, 2.0, 3.0])
    engine = engine_with({labels("x_total", i="0"): spoiled, labels("x_total", i="1"): every(60, [1.0, 2.0, 3.0, 4.0])})
    found = over(engine, "increase(x_total[2m])", 120, 180, 60)
    assert found[labels(i="1")] == [2.0, 2.0]
    assert found[labels(i="0")][1] == 2.0


def test_a_huge_counter_s_reset_does_not_blur_its_neighbours() -> None:
    huge, small = every(60, [1e18, 0.0, 1.0, 2.0]), every(60, [10.0, 20.0, 5.0, 15.0])
    engine = engine_with({labels("x_total", i="0"): huge, labels("x_total", i="1"): small})
    assert at(engine, "increase(x_total[4m])", 180)[labels(i="1")] == pytest.approx(25 * 240 / 180)


def test_irate_and_idelta_look_at_the_last_two_samples() -> None:
    engine = engine_with({X: every(10, [0.0, 100.0, 130.0, 20.0])})
    assert at(engine, "irate(x_total[1m])", 20) == {(): 3.0}
    assert at(engine, "irate(x_total[1m])", 30) == {(): 2.0}
    assert at(engine, "idelta(x_total[1m])", 30) == {(): -110.0}
    assert at(engine, "irate(x_total[10s])", 30) == {}


def test_changes_and_resets_count_events() -> None:
    engine = engine_with({X: every(10, [1.0, 1.0, 2.0, 1.0, math.nan, math.nan, 3.0])})
    assert at(engine, "changes(x_total[2m])", 60) == {(): 4.0}
    assert at(engine, "resets(x_total[2m])", 60) == {(): 1.0}


def test_a_name_that_is_no_counter_s_is_noted() -> None:
    engine = engine_with({labels("requests"): every(60, [0.0, 1.0])})
    result = engine.instant("", "sum(rate(requests[5m]))", 60_000)
    assert result.infos == [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "requests" (1:10)'
    ]
