"""Which samples a step sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from query.promql.engine import Engine
from query.promql.memory import MemoryStore
from query.promql.testscript import STALE
from tests.query.promql.build import UNTIMED, at, engine_with, every, labels, over
from tsdb.samples import Matcher, SampleColumns

X = labels("x")


def test_a_sample_is_seen_until_the_lookback_has_passed() -> None:
    engine = engine_with({X: [(1000, 7.0)]})
    assert at(engine, "x", 0.999) == {}
    assert at(engine, "x", 1) == {X: 7.0}
    assert at(engine, "x", 300.999) == {X: 7.0}
    assert at(engine, "x", 301) == {}
    assert over(engine, "x", 1, 301, 300) == {X: [7.0, None]}


def test_the_lookback_is_the_engine_s() -> None:
    engine = Engine(MemoryStore({X: [(0, 7.0)]}), lookback_ms=10_000)
    assert at(engine, "x", 9.999) == {X: 7.0}
    assert at(engine, "x", 10) == {}


def test_a_range_excludes_its_left_edge() -> None:
    engine = engine_with({X: every(10, [1.0, 2.0, 3.0, 4.0])})
    assert at(engine, "count_over_time(x[20s])", 30) == {(): 2.0}
    assert at(engine, "count_over_time(x[20001ms])", 30) == {(): 3.0}


def test_a_stale_marker_ends_a_series_at_once() -> None:
    engine = engine_with({X: every(10, [1.0, STALE, 3.0])})
    assert over(engine, "x", 0, 20, 10) == {X: [1.0, None, 3.0]}
    assert over(engine, "x", 10, 19, 3) == {}


def test_a_range_passes_over_stale_markers() -> None:
    engine = engine_with({X: every(10, [1.0, STALE, 3.0]), labels("x", a="gone"): every(10, [STALE, STALE])})
    assert at(engine, "sum_over_time(x[1m])", 20) == {(): 4.0}


def test_a_real_nan_is_a_value() -> None:
    engine = engine_with({X: every(10, [1.0, math.nan])})
    value = at(engine, "x", 10)[X]
    assert math.isnan(value)
    assert at(engine, "count_over_time(x[1m])", 10) == {(): 2.0}


def test_offset_moves_back_and_forth() -> None:
    engine = engine_with({X: every(10, [0.0, 1.0, 2.0, 3.0])})
    assert at(engine, "x offset 20s", 30) == {X: 1.0}
    assert at(engine, "x offset -10s", 0) == {X: 1.0}
    assert at(engine, "sum_over_time(x[11s] offset 10s)", 30) == {(): 3.0}


def test_at_fixes_the_time_for_every_step() -> None:
    engine = engine_with({X: every(10, [0.0, 1.0, 2.0, 3.0])})
    assert over(engine, "x @ 20", 0, 30, 10) == {X: [2.0] * 4}
    assert over(engine, "x @ end()", 0, 30, 10) == {X: [3.0] * 4}
    assert over(engine, "x @ start() + x", 10, 30, 10) == {(): [2.0, 3.0, 4.0]}
    assert over(engine, "sum_over_time(x[11s] @ 20)", 0, 20, 10) == {(): [3.0] * 3}


def test_a_subquery_s_steps_are_multiples_of_its_step() -> None:
    engine = engine_with({X: every(10, [float(i) for i in range(10)])})
    # at 47 s the steps in (17, 47] are 20, 30, 40
    assert at(engine, "sum_over_time(x[30s:10s])", 47) == {(): 9.0}
    assert at(engine, "sum_over_time(x[30s:10s] offset 10s)", 57) == {(): 9.0}
    assert at(engine, "max_over_time(rate(x[20s])[30s:10s])", 60) == {(): 0.1}


def test_a_range_without_a_function_gives_the_samples() -> None:
    engine = engine_with({X: [(1000, 1.0), (2000, STALE), (3000, 3.0)], labels("x", a="b"): [(2500, 5.0)]})
    result = engine.instant("", "x[2s]", 3000)
    assert result.times.tolist() == [2500, 3000]
    assert list(result.labels) == [X, labels("x", a="b")]
    assert result.present.tolist() == [[False, True], [True, False]]


@UNTIMED
@given(
    stamps=st.lists(
        st.lists(st.integers(0, 400), unique=True, min_size=1, max_size=12).map(sorted), min_size=1, max_size=5
    ),
    start=st.integers(-50, 400),
    step=st.integers(1, 90),
    range_s=st.integers(1, 200),
)
def test_windows_hold_what_a_plain_comparison_says(
    stamps: list[list[int]], start: int, step: int, range_s: int
) -> None:
    series = {labels("x", i=str(i)): [(t * 1000, float(t)) for t in own] for i, own in enumerate(stamps)}
    engine = engine_with(series)
    times = [start + step * i for i in range(6)]
    counts = over(engine, f"count_over_time(x[{range_s}s])", times[0], times[-1], step)
    newest = over(engine, "x", times[0], times[-1], step)
    for i, own in enumerate(stamps):
        inside = [[t for t in own if end - range_s < t <= end] for end in times]
        expected = [float(len(window)) or None for window in inside]
        assert counts.get(labels(i=str(i)), [None] * 6) == expected
        seen = [max((t for t in own if end - 300 < t <= end), default=None) for end in times]
        assert newest.get(labels("x", i=str(i)), [None] * 6) == seen


def test_samples_loaded_are_not_changed() -> None:
    class Frozen(MemoryStore):
        def __init__(self) -> None:
            super().__init__({X: every(10, [3.0, STALE, 1.0, 2.0])})
            for stamps, values in self._series.values():
                stamps.flags.writeable = False
                values.flags.writeable = False

    engine = Engine(Frozen())
    for query in ("x", "rate(x[1m])", "stddev_over_time(x[1m])", "sum(x)", "topk(1, x)", "quantile(0.5, x)"):
        assert np.isfinite(list(at(engine, query, 30).values())).all()


def test_series_come_sorted_by_labels() -> None:
    names = [labels("x", i=i) for i in "cab"]

    class Unsorted(MemoryStore):
        def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> SampleColumns:
            found = super().select(tenant, matchers, start_ms, end_ms)
            return dataclasses.replace(found, labels=names)

    engine = Engine(Unsorted({own: every(10, [1.0]) for own in names}))
    assert list(engine.instant("", "x", 0).labels) == sorted(names)
    assert list(engine.range("", "x", 0, 10_000, 10_000).labels) == sorted(names)
