"""OTLP metric requests as points with Prometheus' names: a conversion that is pure but for the running totals of deltas."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from collectors import otlp_values as values
from collectors.otlp_batch import Converted, Refused
from heliograph import naming
from heliograph.errors import EncodeError
from heliograph.points import Point, histogram_points, summary_points, target_info_point
from heliograph.records import Source

Accumulate = Callable[[Sequence[Point]], list[Point]]
"""Delta points → points that hold the totals."""

STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""Prometheus' stale marker: the series has no value any more."""
_NO_RECORDED_VALUE = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    kind: str
    unit: str
    help: str
    target: Mapping[str, str]
    received_ms: int

    def labels(self, point: pb.NumberDataPoint | pb.HistogramDataPoint | pb.SummaryDataPoint) -> dict[str, str]:
        return naming.series_labels(values.texts(values.attributes(point.attributes)), self.target)

    def time_ms(self, point: pb.NumberDataPoint | pb.HistogramDataPoint | pb.SummaryDataPoint) -> int:
        return point.time_unix_nano // _MS or self.received_ms


def points(request: ExportMetricsServiceRequest, received_ns: int, accumulate: Accumulate) -> Converted[Point]:
    """Points by resource, with `target_info`; a point without a time gets `received_ns`."""
    converted: Converted[Point] = Converted([])
    for resource_metrics in request.resource_metrics:
        resource = values.resource(resource_metrics.resource.attributes)
        target = naming.target_labels(resource)
        found: list[Point] = []
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                found += _metric(metric, target, received_ns // _MS, accumulate, converted.refused)
        if found:
            found.append(target_info_point(resource, max(point.time_ms for point in found)))
            converted.groups.append((Source(resource), found))
    return converted


def _metric(
    metric: pb.Metric, target: Mapping[str, str], received_ms: int, accumulate: Accumulate, refused: Refused
) -> list[Point]:
    data = metric.WhichOneof("data")
    if data is None:
        return []
    if data == "exponential_histogram":
        count = len(metric.exponential_histogram.data_points)
        refused.add(f"{metric.name}: exponential histograms are not taken yet, use explicit buckets", count)
        return []
    if not metric.name:
        refused.add("a metric without a name", len(getattr(metric, data).data_points))
        return []
    kind = {"gauge": "gauge", "histogram": "histogram", "summary": "summary"}.get(data, "gauge")
    if data == "sum" and metric.sum.is_monotonic:
        kind = "counter"
    name = naming.metric_name(metric.name, metric.unit, kind)
    family = _Family(name, kind, metric.unit, metric.description, target, received_ms)
    found = list(_data_points(metric, data, family, refused))
    is_delta = (
        data in ("sum", "histogram")
        and getattr(metric, data).aggregation_temporality == pb.AGGREGATION_TEMPORALITY_DELTA
    )
    return accumulate(found) if is_delta else found


def _data_points(metric: pb.Metric, data: str, family: _Family, refused: Refused) -> Iterator[Point]:
    if data == "histogram":
        for histogram in metric.histogram.data_points:
            if not histogram.flags & _NO_RECORDED_VALUE:
                try:
                    yield from _histogram(histogram, family)
                except EncodeError as error:
                    refused.add(error.detail)
    elif data == "summary":
        for summary in metric.summary.data_points:
            if not summary.flags & _NO_RECORDED_VALUE:
                yield from _summary(summary, family)
    else:
        for number in metric.gauge.data_points if data == "gauge" else metric.sum.data_points:
            yield _number(number, family)


def _number(point: pb.NumberDataPoint, of: _Family) -> Point:
    if point.flags & _NO_RECORDED_VALUE:
        value = STALE
    else:
        value = float(point.as_int) if point.WhichOneof("value") == "as_int" else point.as_double
    return Point(of.name, of.name, of.kind, of.unit, of.help, of.labels(point), of.time_ms(point), value)


def _histogram(point: pb.HistogramDataPoint, of: _Family) -> list[Point]:
    return histogram_points(
        of.name,
        of.labels(point),
        of.time_ms(point),
        bounds=point.explicit_bounds,
        counts=point.bucket_counts,
        count=point.count,
        total=point.sum if point.HasField("sum") else None,
        unit=of.unit,
        help=of.help,
    )


def _summary(point: pb.SummaryDataPoint, of: _Family) -> list[Point]:
    return summary_points(
        of.name,
        of.labels(point),
        of.time_ms(point),
        quantiles=[(q.quantile, q.value) for q in point.quantile_values],
        count=point.count,
        total=point.sum,
        unit=of.unit,
        help=of.help,
    )
