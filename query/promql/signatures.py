"""What functions and aggregations there are, and which types they take."""

from __future__ import annotations

from dataclasses import dataclass

from query.promql.ast import ValueType

_S, _T, _V, _M = ValueType.SCALAR, ValueType.STRING, ValueType.VECTOR, ValueType.MATRIX


@dataclass(frozen=True, slots=True)
class Signature:
    """Argument types of a function; the last `optional` may be left out. With None the last repeats any number of times, none included."""

    args: tuple[ValueType, ...]
    returns: ValueType
    optional: int | None = 0
    evaluated: bool = True


def _all(names: str, signature: Signature) -> dict[str, Signature]:
    return dict.fromkeys(names.split(), signature)


FUNCTIONS: dict[str, Signature] = {
    **_all(
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad scalar sgn sin sinh "
        "sort sort_desc sqrt tan tanh timestamp",
        Signature((_V,), _V),
    ),
    **_all(
        "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate "
        "last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time "
        "stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time "
        "ts_of_min_over_time",
        Signature((_M,), _V),
    ),
    **_all(
        "day_of_month day_of_week day_of_year days_in_month hour minute month year",
        Signature((_V,), _V, optional=1),
    ),
    **_all("time pi start end step range", Signature((), _S)),
    **_all("min_of max_of", Signature((_S, _S), _S)),
    **_all("clamp_max clamp_min", Signature((_V, _S), _V)),
    **_all(
        "histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar",
        Signature((_V,), _V, evaluated=False),
    ),
    **_all("sort_by_label sort_by_label_desc", Signature((_V, _T), _V, optional=None)),
    "clamp": Signature((_V, _S, _S), _V),
    "double_exponential_smoothing": Signature((_M, _S, _S), _V),
    "histogram_fraction": Signature((_S, _S, _V), _V),
    "histogram_quantile": Signature((_S, _V), _V),
    "histogram_quantiles": Signature((_V, _T, _S, _S), _V, optional=None),
    "info": Signature((_V, _V), _V, optional=1, evaluated=False),
    "label_join": Signature((_V, _T, _T, _T), _V, optional=None),
    "label_replace": Signature((_V, _T, _T, _T, _T), _V),
    "predict_linear": Signature((_M, _S), _V),
    "quantile_over_time": Signature((_S, _M), _V),
    "round": Signature((_V, _S), _V, optional=1),
    "scalar": Signature((_V,), _S),
    "start_timestamp": Signature((_V,), _V, evaluated=False),
    "vector": Signature((_S,), _V),
}

PARAMETER_TYPES: dict[str, ValueType | None] = {
    **dict.fromkeys(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"], None),
    **dict.fromkeys(["topk", "bottomk", "quantile", "limitk", "limit_ratio"], _S),
    "count_values": _T,
}
"""Of every aggregation, the type of its parameter."""

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})

COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")
"""How Prometheus tells a counter by its name."""
