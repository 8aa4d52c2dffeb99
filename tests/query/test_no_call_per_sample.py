"""Invariant 8 on the way out: from samples to the answer's text, no Python call per sample."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from query.promql.engine import Engine
from query.promql.memory import MemoryStore
from query.promql.render import render
from tsdb.samples import Labels

SERIES = 20
STEPS = 60
FEW, MANY = 240, 2400


def calls(work: Callable[[], object]) -> int:
    """How many functions, in Python and in C, the work calls."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def engine(samples: int) -> Engine:
    """An engine over SERIES counters of that many samples in the same hour."""
    gap_ms = 3_600_000 // samples
    points = [(i * gap_ms, float(i)) for i in range(samples)]
    named: dict[Labels, list[tuple[int, float]]] = {
        (("__name__", "x_total"), ("path", f"/{i % 4}"), ("pod", str(i))): points for i in range(SERIES)
    }
    return Engine(MemoryStore(named))


@pytest.mark.parametrize(
    "query",
    [
        "x_total",
        "sum by (path) (rate(x_total[5m]))",
        "max_over_time(x_total[5m])",
        "avg_over_time(x_total[5m]) / 2",
        "topk(3, increase(x_total[10m]))",
    ],
)
def test_ten_times_the_samples_cost_no_more_calls(query: str) -> None:
    def ask(samples: int) -> int:
        asked = engine(samples)
        return calls(lambda: render(asked.range("default", query, 600_000, 3_540_000, 2_940_000 // STEPS)))

    ask(FEW)
    few, many = ask(FEW), ask(MANY)
    more_samples = SERIES * (MANY - FEW)
    assert (many - few) / more_samples < 0.01, (few, many)
