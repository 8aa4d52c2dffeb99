"""Metrics of OpenTelemetry's SDK as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ScopeMetrics,
    Sum,
)

from .attributes import clean, texts
from .naming import metric_name, series_labels, target_labels
from .points import Point, histogram_points

_MS = 1_000_000


def points(scopes: Sequence[ScopeMetrics], resource: Mapping[str, str]) -> tuple[list[Point], int]:
    """All points, with the target's labels, and how many data points there were of types that no point can hold."""
    target = target_labels(resource)
    found: list[Point] = []
    unsupported = 0
    for metric in (m for scope in scopes for m in scope.metrics):
        made = _points(metric, target)
        if made is None:
            unsupported += len(metric.data.data_points)
        else:
            found += made
    return found, unsupported


def _points(metric: Metric, target: Mapping[str, str]) -> list[Point] | None:
    if isinstance(metric.data, Histogram):
        family = metric_name(metric.name, metric.unit or "", "histogram")
        return [p for data in metric.data.data_points for p in _histogram(metric, family, data, target)]
    if isinstance(metric.data, (Sum, Gauge)):
        kind = "counter" if isinstance(metric.data, Sum) and metric.data.is_monotonic else "gauge"
        name = metric_name(metric.name, metric.unit or "", kind)
        return [_number(metric, name, kind, data, target) for data in metric.data.data_points]
    return None


def _number(metric: Metric, name: str, kind: str, data: NumberDataPoint, target: Mapping[str, str]) -> Point:
    labels = series_labels(texts(data.attributes), target)
    about = (clean(metric.unit or ""), clean(metric.description or ""))
    return Point(name, name, kind, *about, labels, data.time_unix_nano // _MS, float(data.value))


def _histogram(metric: Metric, family: str, data: HistogramDataPoint, target: Mapping[str, str]) -> list[Point]:
    return histogram_points(
        family,
        series_labels(texts(data.attributes), target),
        data.time_unix_nano // _MS,
        bounds=data.explicit_bounds,
        counts=data.bucket_counts,
        count=data.count,
        total=data.sum,
        unit=clean(metric.unit or ""),
        help=clean(metric.description or ""),
    )
