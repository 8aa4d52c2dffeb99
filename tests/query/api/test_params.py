"""Times, steps and numbers as people and Grafana send them."""

from __future__ import annotations

import pytest

from query.api import params

NOV_14_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1700000000", NOV_14_MS),
        ("1700000000.123", NOV_14_MS + 123),
        ("2023-11-14T22:13:20Z", NOV_14_MS),
        ("2023-11-14T23:13:20.5+01:00", NOV_14_MS + 500),
        ("4", 4000),
        ("1700000000000", NOV_14_MS * 1000),  # Grafana's exemplar probe sends milliseconds: a far year, not an error
    ],
)
def test_prometheus_times_are_seconds(text: str, expected_ms: int) -> None:
    assert params.seconds_as_ms({"time": text}, "time") == expected_ms


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "1e300", "2023-13-01T00:00:00Z", "2023-11-14"])
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(params.BadParameterError, match='"time"'):
        params.seconds_as_ms({"time": text}, "time")


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1700000000", NOV_14_MS * 1_000_000),
        ("1700000000.5", NOV_14_MS * 1_000_000 + 500_000_000),
        ("1700000000000", NOV_14_MS * 1_000_000),
        ("1700000000000000", NOV_14_MS * 1_000_000),
        ("1700000000000000001", NOV_14_MS * 1_000_000 + 1),
        ("2023-11-14T22:13:20.000000001Z", NOV_14_MS * 1_000_000 + 1),
        ("", None),
    ],
)
def test_our_own_times_tell_their_unit_by_their_size(text: str, expected_ns: int | None) -> None:
    assert params.time_ns({"start": text}, "start") == expected_ns


@pytest.mark.parametrize(("text", "expected"), [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("250ms", 250)])
def test_steps_are_numbers_or_durations(text: str, expected: int) -> None:
    assert params.duration_ms({"step": text}, "step") == expected


@pytest.mark.parametrize("text", ["0", "-1", "x", "15 s", "nan"])
def test_a_step_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(params.BadParameterError, match='"step"'):
        params.duration_ms({"step": text}, "step")


def test_whole_numbers_keep_to_their_range() -> None:
    assert params.integer({"limit": "5"}, "limit", 1, 1, 10) == 5
    for text in ("0", "11", "five", "1.5"):
        with pytest.raises(params.BadParameterError, match="from 1 to 10"):
            params.integer({"limit": text}, "limit", 1, 1, 10)
