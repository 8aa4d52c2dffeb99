"""JSON as Prometheus writes it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.promql.engine import Result, ResultKind
from query.promql.numbers import go_float, sample_text
from query.promql.render import render
from tests.query.promql.build import UNTIMED, Value, engine_with, every, labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-07"),
        (123456789012345680.0, "123456789012345680"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_a_sample_s_text_is_go_s(value: float, text: str) -> None:
    assert sample_text(value) == text


def test_a_scalar_s_text_has_no_exponent() -> None:
    assert go_float(1e21) == "1" + "0" * 21
    assert go_float(1.5e-7) == "0.00000015"


def result_of(rows: list[list[Value]]) -> Result:
    present = np.array([[value is not None for value in row] for row in rows])
    values = np.array([[0.0 if value is None else value for value in row] for row in rows])
    times = np.arange(values.shape[1]) * 500
    names = [labels("x", i=f"{i:03}", quote='"\n') for i in range(len(rows))]
    return Result(ResultKind.MATRIX, times, names, values, present)


cells = st.none() | st.floats(allow_nan=True) | st.integers(-1000, 1000).map(float)


@UNTIMED
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_a_matrix_holds_every_present_sample_in_its_text(rows: list[list[Value]]) -> None:
    rows = [row for row in rows if any(value is not None for value in row)]
    if not rows:
        return
    result = result_of(rows)
    wanted = [
        {
            "metric": dict(own),
            "values": [[t / 2, sample_text(value)] for t, value in enumerate(row) if value is not None],
        }
        for own, row in zip(result.labels, rows, strict=True)
    ]
    assert json.loads(render(result)) == {"resultType": "matrix", "result": wanted}


def test_each_kind_of_result() -> None:
    engine = engine_with({labels("x", a="b"): every(10, [1.0, 1e-7])})
    assert render(engine.instant("", "x", 1500)) == (
        b'{"resultType":"vector","result":[{"metric":{"__name__":"x","a":"b"},"value":[1.500,"1"]}]}'
    )
    assert render(engine.instant("", "1e-7", 2000)) == b'{"resultType":"scalar","result":[2,"0.0000001"]}'
    assert render(engine.instant("", '"a\\"b"', -1500)) == b'{"resultType":"string","result":[-1.500,"a\\"b"]}'
    assert render(engine.instant("", "nothing", 0)) == b'{"resultType":"vector","result":[]}'
    assert render(engine.range("", "nothing", 0, 1000, 1000)) == b'{"resultType":"matrix","result":[]}'
    assert render(engine.range("", "x", 0, 20_000, 10_000)) == (
        b'{"resultType":"matrix","result":[{"metric":{"__name__":"x","a":"b"},'
        b'"values":[[0,"1"],[10,"1e-07"],[20,"1e-07"]]}]}'
    )
    assert render(engine.instant("", "x[1m]", 10_000)) == (
        b'{"resultType":"matrix","result":[{"metric":{"__name__":"x","a":"b"},"values":[[0,"1"],[10,"1e-07"]]}]}'
    )


def test_bytes_that_are_no_text_do_not_break_the_answer() -> None:
    engine = engine_with({})
    assert json.loads(render(engine.instant("", r'"\xff"', 0)))["result"][1] == "\ufffd"
