"""Warnings and infos beside a result, in Prometheus' words."""

from __future__ import annotations

from query.promql.ast import Span
from query.promql.lexer import position
from query.promql.numbers import go_float
from query.promql.signatures import COUNTER_SUFFIXES

_MONOTONICITY = (
    "input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/practices/histograms/#errors-of-quantile-estimation) for metric name"
)
_KEPT_MAX = 100


class Annotations:
    """Collects what the user should know of an evaluation, each text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        return list(self._infos)

    def quantile_out_of_range(self, q: float, span: Span) -> None:
        self._warn(f"quantile value should be between 0 and 1, got {_short(q)}", span)

    def bad_bucket_label(self, metric: str, value: str, span: Span) -> None:
        problem = f'bucket label "le" is missing or has a malformed value of "{value}"'
        self._warn(f'{problem} for metric name "{metric}"', span)

    def forced_monotonicity(self, metric: str, span: Span) -> None:
        self._inform(f'{_MONOTONICITY} "{metric}"', span)

    def maybe_not_a_counter(self, metric: str, span: Span) -> None:
        if metric and not metric.endswith(COUNTER_SUFFIXES):
            suffixes = "/".join(COUNTER_SUFFIXES)
            self._inform(f'metric might not be a counter, name does not end in {suffixes}: "{metric}"', span)

    def _warn(self, message: str, span: Span) -> None:
        self._keep(self._warnings, "warning", message, span)

    def _inform(self, message: str, span: Span) -> None:
        self._keep(self._infos, "info", message, span)

    def _keep(self, kept: dict[str, None], kind: str, message: str, span: Span) -> None:
        line, column = position(self._text, span.start)
        if len(kept) < _KEPT_MAX:
            kept[f"PromQL {kind}: {message} ({line}:{column})"] = None


def _short(value: float) -> str:
    """As Go's %g."""
    return (
        go_float(value)
        if value != value or 1e-4 <= abs(value) < 1e21 or value == 0
        else repr(value).replace("inf", "Inf")
    )
