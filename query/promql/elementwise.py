"""Functions of single samples: mathematics and the calendar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from query.promql.matrix import Matrix
from tsdb.samples import Floats, Longs

FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": np.degrees,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": np.radians,
    "sgn": lambda values: np.where(values == 0, values, np.sign(values)),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}

_SECONDS_MAX = 2**40
"""Beyond it, in either direction, dates are NaN."""


def _dates(part: Callable[[Longs], Longs]) -> Callable[[Floats], Floats]:
    """A function of whole seconds since the epoch, made a function of sample values."""

    def function(values: Floats) -> Floats:
        known = np.abs(values) < _SECONDS_MAX
        seconds = np.where(known, values, 0.0).astype(np.int64)
        return np.where(known, part(seconds).astype(np.float64), np.nan)

    return function


def _days(seconds: Longs) -> Longs:
    return seconds // 86_400


def _month_start(seconds: Longs) -> Longs:
    """Months since the epoch."""
    months: Longs = _days(seconds).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months


def _first_day(months: Longs) -> Longs:
    days: Longs = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return days


def _year_start(months: Longs) -> Longs:
    return _first_day(months - months % 12)


DATES: dict[str, Callable[[Floats], Floats]] = {
    "day_of_month": _dates(lambda s: _days(s) - _first_day(_month_start(s)) + 1),
    "day_of_week": _dates(lambda s: (_days(s) + 4) % 7),
    "day_of_year": _dates(lambda s: _days(s) - _year_start(_month_start(s)) + 1),
    "days_in_month": _dates(lambda s: _first_day(_month_start(s) + 1) - _first_day(_month_start(s))),
    "hour": _dates(lambda s: s // 3600 % 24),
    "minute": _dates(lambda s: s // 60 % 60),
    "month": _dates(lambda s: _month_start(s) % 12 + 1),
    "year": _dates(lambda s: _month_start(s) // 12 + 1970),
}


def rounded(matrix: Matrix, nearest: Floats) -> Matrix:
    """To the nearest multiple, halves up; an entry per step."""
    with np.errstate(all="ignore"):
        inverse = 1.0 / nearest
        return matrix.mapped(lambda values: np.floor(values * inverse + 0.5) / inverse)


def clamped(matrix: Matrix, low: Floats, high: Floats) -> Matrix:
    """Between two bounds with an entry per step; absent where they are the wrong way round."""
    bounded = matrix.mapped(lambda values: np.maximum(low, np.minimum(high, values)))
    return bounded.where(bounded.present & ~(high < low))
