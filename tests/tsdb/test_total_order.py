"""The order in which equal (series, timestamp) are decided."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.total_order import deduplicated, order_keys

from .metric_log import order

BITS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([
        0, 1 << 63, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF0000000000001, 0x7FF0000000000002, 0x7FF0000000000003,
        0xFFF0000000000001, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 1,
    ]),
)  # fmt: skip


@given(st.lists(BITS, min_size=2, max_size=20, unique=True))
def test_keys_compare_as_the_values_do(patterns: list[int]) -> None:
    keys = order_keys(np.array(patterns, np.uint64).view(np.float64)).tolist()
    assert len(set(keys)) == len(patterns)
    by_key = [pattern for _, pattern in sorted(zip(keys, patterns, strict=True))]
    assert by_key == sorted(patterns, key=order)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-(2**61), 0, 5, 6, 2**61]), BITS), max_size=30),
)
def test_one_sample_is_left_per_series_and_stamp(samples: list[tuple[int, int, int]]) -> None:
    series, stamps, values = deduplicated(
        np.array([s for s, _, _ in samples], np.int64),
        np.array([t for _, t, _ in samples], np.int64),
        np.array([v for _, _, v in samples], np.uint64).view(np.float64),
    )
    found = list(zip(series.tolist(), stamps.tolist(), values.view(np.uint64).tolist(), strict=True))
    expected: dict[tuple[int, int], int] = {}
    for s, t, v in samples:
        expected[s, t] = max(v, expected.get((s, t), v), key=order)
    assert found == [(s, t, v) for (s, t), v in sorted(expected.items())]
