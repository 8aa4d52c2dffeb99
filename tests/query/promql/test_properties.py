"""What must hold for every query."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.promql.engine import Engine
from query.promql.errors import ExecutionError, PromqlError
from query.promql.memory import MemoryStore
from query.promql.parser import parse
from query.promql.render import render
from query.promql.testscript import STALE
from tests.query.promql.build import UNTIMED, Value, at, engine_with, every, labels, over
from tsdb.samples import Labels

WORDS = "x sum rate by on ( ) [5m] [5m:] { } a= , + - and 1 5m offset @ start() bool == group_left without 0x 1e ' \" \\ ä #"
PIECES = st.sampled_from([*WORDS.split(" "), " ", "\x00", '"s"'])

SERIES: dict[Labels, list[Value]] = {
    labels("x_total", a="1", b="1"): [0.0, 5.0, 9.0, 2.0, 8.0, 8.0, 20.0, 30.0],
    labels("x_total", a="1", b="2"): [1.0, None, None, 4.0, STALE, None, 7.0, 7.5],
    labels("x_total", a="2", b="1"): [3.0, 3.0, math.nan, 3.0, math.inf, 3.0, 3.0, 3.0],
    labels("y", a="1"): [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, STALE, 1.0],
    labels("y", a="2"): [-1.0, 0.0, -0.0, 4.5, 1e300, -1e300, 2.0, 3.0],
    labels("h_bucket", le="1"): [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    labels("h_bucket", le="2"): [2.0, 4.0, 3.0, None, 9.0, 9.0, 9.0, 9.0],
    labels("h_bucket", le="+Inf"): [2.0, 5.0, 6.0, 7.0, 9.0, 12.0, 12.0, 12.0],
}
ENGINE = engine_with({own: every(30, values) for own, values in SERIES.items()})

scalars = st.sampled_from(["0", "1", "2.5", "-3", "NaN", "Inf", "time()", "scalar(y{a='1'})", "(1 + 2)"])
modifiers = st.sampled_from(["", "", "", " offset 30s", " offset -1m", " @ 120", " @ 60 offset 45s"])
selectors = st.builds(
    "{}{}".format,
    st.sampled_from(["x_total", "y", "h_bucket", "x_total{a='1'}", '{a="2"}', '{__name__=~"x.*|y"}']),
    modifiers,
)
windows = st.sampled_from(["30s", "31s", "1m", "95s", "5m"])
OVER_WINDOWS = (
    "rate increase delta irate idelta changes resets deriv sum_over_time avg_over_time min_over_time max_over_time "
    "count_over_time stddev_over_time stdvar_over_time last_over_time first_over_time present_over_time absent_over_time "
    "mad_over_time ts_of_max_over_time"
)
over_windows = st.sampled_from(OVER_WINDOWS.split())
FUNCTIONS = """abs({})|-({})|round({}, 5)|clamp({}, 1, 4)|timestamp({})|absent({})|hour({})|ln({})|sgn({})|vector(scalar({}))
|histogram_quantile(0.5, {})|histogram_fraction(0, 1.5, {})
|label_replace({}, "c", "$1", "a", "(.*)")|label_join({}, "b", "-", "a", "b")"""


def ranged(vectors: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    base = st.sampled_from(["x_total", "y", "{a='1'}"])
    plain = st.builds("{}[{}]{}".format, base, windows, modifiers)
    return plain | st.builds("({})[{}:{}]{}".format, vectors, windows, st.sampled_from(["", "10s", "25s"]), modifiers)


def larger(vectors: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouping = st.sampled_from(["", " by (a)", " without (b)", " by (__name__, le)"])
    plain = st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stddev"])
    operators = st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<= bool", "< bool", ">="])
    matched = st.sampled_from(["", " on (a)", " ignoring (b)", " on (a) group_left ()", " on (a) group_right (b)"])
    sets = st.sampled_from(["and", "or", "unless", "and on (a)", "or on (a)", "unless on ()"])
    functions = st.sampled_from(FUNCTIONS.replace("\n", "").split("|"))
    return st.one_of(
        st.builds(lambda shape, inner: shape.format(inner), functions, vectors),
        st.builds("{}({})".format, over_windows, ranged(vectors)),
        st.builds("quantile_over_time({}, {})".format, scalars, ranged(vectors)),
        st.builds("predict_linear({}, {})".format, ranged(vectors), scalars),
        st.builds("{}{} ({})".format, plain, grouping, vectors),
        st.builds("quantile{} ({}, {})".format, grouping, scalars, vectors),
        st.builds("topk{} (2, {})".format, grouping, vectors),
        st.builds('count_values("v", {})'.format, vectors),
        st.builds(lambda a, op, on, b: f"({a}) {op}{on} ({b})", vectors, operators, matched, vectors),
        st.builds("({}) {} ({})".format, vectors, sets, vectors),
        st.builds("({}) {} ({})".format, vectors, operators, scalars),
        st.builds("({}) {} ({})".format, scalars, operators, vectors),
    )


queries = st.recursive(selectors, larger, max_leaves=5)


@UNTIMED
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
def test_any_text_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse(text)
    except PromqlError as failure:
        assert str(failure)


@settings(UNTIMED, max_examples=300)
@given(query=queries, start=st.integers(0, 150), step=st.integers(1, 60))
def test_each_step_of_a_range_is_the_instant_at_that_time(query: str, start: int, step: int) -> None:
    times = [start + step * i for i in range(4)]
    instants: list[dict[Labels, float]] = []
    try:
        for time_s in times:
            instants.append(at(ENGINE, query, time_s))
    except ExecutionError:
        with pytest.raises(ExecutionError):
            over(ENGINE, query, times[0], times[-1], step)
        return
    ranged_rows = over(ENGINE, query, times[0], times[-1], step)
    for step_index, instant in enumerate(instants):
        got = {own: value for own, row in ranged_rows.items() if (value := row[step_index]) is not None}
        assert got.keys() == instant.keys()
        for own, value in instant.items():
            assert got[own] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)


@UNTIMED
@given(query=queries)
def test_every_result_can_be_rendered(query: str) -> None:
    try:
        assert render(ENGINE.range("", query, 0, 300_000, 15_000))
    except PromqlError as failure:
        assert "\n" not in str(failure)


@UNTIMED
@given(query=queries)
def test_a_store_without_samples_gives_no_surprise(query: str) -> None:
    try:
        Engine(MemoryStore({})).range("", query, 0, 60_000, 15_000)
    except PromqlError as failure:
        assert str(failure)
