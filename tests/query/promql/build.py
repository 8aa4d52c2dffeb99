"""Builders shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import HealthCheck, settings

from query.promql.engine import Engine, Result
from query.promql.memory import MemoryStore, Points
from tsdb.samples import Labels

Value = float | None

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For every @given here: a busy machine fails no test."""


def labels(name: str | None = None, **pairs: str) -> Labels:
    """A label set from a metric name and labels."""
    own = {**pairs, **({"__name__": name} if name else {})}
    return tuple(sorted(own.items()))


def every(step_s: int, values: Sequence[Value]) -> Points:
    """Points from time 0 on; None leaves one out."""
    return [(index * step_s * 1000, value) for index, value in enumerate(values) if value is not None]


def engine_with(series: Mapping[Labels, Points]) -> Engine:
    """An engine over these samples."""
    return Engine(MemoryStore(series))


def at(engine: Engine, query: str, time_s: float) -> dict[Labels, float]:
    """An instant query's vector."""
    result = engine.instant("", query, round(time_s * 1000))
    return {own: float(values[0]) for own, values in zip(result.labels, result.values, strict=True)}


def over(engine: Engine, query: str, start_s: int, end_s: int, step_s: int) -> dict[Labels, list[Value]]:
    """A range query's matrix, None where a sample is absent."""
    return rows(engine.range("", query, start_s * 1000, end_s * 1000, step_s * 1000))


def rows(result: Result) -> dict[Labels, list[Value]]:
    """A result by labels, None where a sample is absent."""
    return {
        own: [value if there else None for value, there in zip(values.tolist(), present.tolist(), strict=True)]
        for own, values, present in zip(result.labels, result.values, result.present, strict=True)
    }
