"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.quantity import duration_s, duration_text, size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15.0), ("500ms", 0.5), ("1h30m", 5400.0), ("7d", 604_800.0), ("1.5h", 5400.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "s", "-1s", "1x", "1s ", "1 s", "9" * 50 + "s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "count"), [("10MiB", 10 * 2**20), ("1GB", 10**9), ("512B", 512), ("1.5KiB", 1536), ("2 kB", 2000)]
)
def test_sizes(text: str, count: int) -> None:
    assert size_bytes(text) == count


@pytest.mark.parametrize("text", ["", "10", "MiB", "-1B", "10 mb", "1e3B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        size_bytes(text)


@given(st.integers(0, 10**12))
def test_texts_are_read_back(count: int) -> None:
    assert size_bytes(size_text(count)) == count
    assert round(duration_s(duration_text(count / 1000)) * 1000) == count
