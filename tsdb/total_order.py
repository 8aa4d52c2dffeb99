"""Which of several samples of one series and timestamp wins: the greatest in one total order, the same everywhere.

Numbers (by value, -0 below +0) stand above NaN (by bits), NaN above the stale marker.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .samples import Floats, Longs

STALE_BITS: Final = np.uint64(0x7FF0000000000002)

_SIGN: Final = np.uint64(1 << 63)
_NAN_COUNT_HALF: Final = np.uint64((1 << 52) - 1)
_INF: Final = np.uint64(0x7FF0000000000000)
_ONE: Final = np.uint64(1)


def order_keys(values: Floats) -> npt.NDArray[np.uint64]:
    """64-bit keys, distinct for distinct bits, that compare as the values do in the total order."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    negative = (bits & _SIGN) != 0
    keys = np.where(negative, ~bits, bits | _SIGN) + _NAN_COUNT_HALF
    magnitude = bits & ~_SIGN
    odd = magnitude > _INF
    if odd.any():
        rank = magnitude[odd] - _INF - _ONE
        rank = rank + np.where(negative[odd], _NAN_COUNT_HALF, np.uint64(0))
        lowest, stale = rank == 0, bits[odd] == STALE_BITS
        rank[lowest] = _ONE
        rank[stale] = np.uint64(0)
        keys[odd] = rank
    return keys


def deduplicated(series: Longs, stamps: Longs, values: Floats) -> tuple[Longs, Longs, Floats]:
    """Samples sorted by series and time, one per (series, timestamp)."""
    order = _by_series_and_time(series, stamps)
    sorted_series, sorted_stamps = series[order], stamps[order]
    same = (sorted_series[1:] == sorted_series[:-1]) & (sorted_stamps[1:] == sorted_stamps[:-1])
    if not same.any():
        return sorted_series, sorted_stamps, values[order]
    order = np.lexsort((order_keys(values), stamps, series))
    last = np.ones(len(order), np.bool_)
    last[:-1] = ~same
    order = order[last]
    return series[order], stamps[order], values[order]


def _by_series_and_time(series: Longs, stamps: Longs) -> Longs:
    """Sorting one key takes a third of the time of sorting two, so both are packed into one where they fit."""
    if not len(series):
        return np.zeros(0, np.int64)
    earliest = int(stamps.min())
    bits = (int(stamps.max()) - earliest).bit_length()
    if bits + int(series.max()).bit_length() > 62:
        return np.lexsort((stamps, series))
    return np.argsort((series << bits) + (stamps - earliest), kind="stable")
