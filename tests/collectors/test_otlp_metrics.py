from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from collectors.deltas import Deltas
from collectors.otlp_metrics import points
from heliograph.points import Point

T0 = 1_700_000_000_000_000_000
DELTA = pb.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE


def request(*metrics: pb.Metric, **resource: str) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    resource_metrics = made.resource_metrics.add()
    for key, value in resource.items():
        resource_metrics.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    resource_metrics.scope_metrics.add().metrics.extend(metrics)
    return made


def number(value: float, time_ns: int = T0, **attributes: str) -> pb.NumberDataPoint:
    point = pb.NumberDataPoint(as_double=value, time_unix_nano=time_ns)
    for key, text in attributes.items():
        point.attributes.add(key=key.replace("_", ".")).value.string_value = text
    return point


def counter(
    name: str, temporality: pb.AggregationTemporality.ValueType, *values: float, monotonic: bool = True
) -> pb.Metric:
    data = pb.Sum(
        data_points=[number(v, T0 + i * 10**9) for i, v in enumerate(values)],
        aggregation_temporality=temporality,
        is_monotonic=monotonic,
    )
    return pb.Metric(name=name, sum=data)


def converted(made: ExportMetricsServiceRequest, deltas: Deltas | None = None) -> list[Point]:
    found = points(made, T0, (deltas or Deltas()).accumulate)
    return [p for _, group in found.groups for p in group if p.name != "target_info"]


def values(found: Sequence[Point]) -> list[tuple[str, float]]:
    return [(p.name, p.value) for p in found]


def test_a_gauge_has_its_labels_and_its_targets() -> None:
    metric = pb.Metric(name="queue.size", unit="By", description="How much waits.")
    metric.gauge.data_points.append(number(2.5, a_b="x"))
    (point,) = converted(request(metric, service_name="shop", service_namespace="eu", service_instance_id="i1"))
    assert point == Point(
        "queue_size_bytes", "queue_size_bytes", "gauge", "By", "How much waits.",
        {"a_b": "x", "job": "eu/shop", "instance": "i1"}, T0 // 10**6, 2.5,
    )  # fmt: skip


def test_a_resource_gives_target_info_once() -> None:
    made = request(counter("c", CUMULATIVE, 1), service_name="shop", host_name="h")
    found = points(made, T0, Deltas().accumulate)
    infos = [p for p in found.groups[0][1] if p.name == "target_info"]
    assert [(i.value, i.labels) for i in infos] == [(1.0, {"host_name": "h", "job": "shop", "instance": "h"})]


def test_monotonic_sums_are_counters_and_others_gauges() -> None:
    up = converted(request(counter("c", CUMULATIVE, 5)))
    down = converted(request(counter("d", CUMULATIVE, 5, monotonic=False)))
    assert (up[0].name, up[0].kind) == ("c_total", "counter")
    assert (down[0].name, down[0].kind) == ("d", "gauge")


def test_deltas_become_totals_over_requests() -> None:
    deltas = Deltas()
    assert values(converted(request(counter("c", DELTA, 1, 2)), deltas)) == [("c_total", 1), ("c_total", 3)]
    assert values(converted(request(counter("c", DELTA, 4)), deltas)) == [("c_total", 7)]


def test_totals_are_bounded_in_bytes_and_the_oldest_goes_first() -> None:
    deltas = Deltas(bytes_max=2000)
    for name in ("a", "b", "c", "a", "d", "e"):
        converted(request(counter(name, DELTA, 1)), deltas)
    assert deltas.forgotten == 1
    assert values(converted(request(counter("a", DELTA, 1)), deltas)) == [("a_total", 3)]
    assert values(converted(request(counter("b", DELTA, 1)), deltas)) == [("b_total", 1)]


def histogram(temporality: pb.AggregationTemporality.ValueType) -> pb.Metric:
    point = pb.HistogramDataPoint(
        time_unix_nano=T0, count=6, sum=12.5, bucket_counts=[1, 2, 3], explicit_bounds=[0.5, 1.0]
    )
    return pb.Metric(
        name="d", unit="s", histogram=pb.Histogram(data_points=[point], aggregation_temporality=temporality)
    )


def by_le(found: Sequence[Point]) -> dict[str, float]:
    return {p.labels.get("le", p.name): p.value for p in found}


def test_a_histogram_has_cumulative_buckets_sum_and_count() -> None:
    found = converted(request(histogram(CUMULATIVE)))
    expected = {"0.5": 1, "1": 3, "+Inf": 6, "d_seconds_count": 6, "d_seconds_sum": 12.5}
    assert by_le(found) == expected
    assert {p.family for p in found} == {"d_seconds"}


def test_a_delta_histogram_becomes_cumulative() -> None:
    deltas = Deltas()
    converted(request(histogram(DELTA)), deltas)
    expected = {"0.5": 2, "1": 6, "+Inf": 12, "d_seconds_count": 12, "d_seconds_sum": 25}
    assert by_le(converted(request(histogram(DELTA)), deltas)) == expected


def test_a_histogram_with_the_wrong_number_of_buckets_is_refused_alone() -> None:
    bad = pb.HistogramDataPoint(time_unix_nano=T0, count=1, bucket_counts=[1], explicit_bounds=[0.5, 1.0])
    metric = pb.Metric(name="d", histogram=pb.Histogram(data_points=[bad], aggregation_temporality=CUMULATIVE))
    found = points(request(metric, counter("c", CUMULATIVE, 1)), T0, Deltas().accumulate)
    assert found.refused.count == 1
    assert "c_total" in {p.name for p in found.groups[0][1]}


def test_a_summary_has_quantiles() -> None:
    quantile = pb.SummaryDataPoint.ValueAtQuantile(quantile=0.99, value=3.0)
    point = pb.SummaryDataPoint(time_unix_nano=T0, count=2, sum=4.0, quantile_values=[quantile])
    found = converted(request(pb.Metric(name="s", summary=pb.Summary(data_points=[point]))))
    assert values(found) == [("s", 3.0), ("s_sum", 4.0), ("s_count", 2.0)]
    assert found[0].labels["quantile"] == "0.99"


def test_exponential_histograms_are_refused_with_a_reason() -> None:
    metric = pb.Metric(name="e", exponential_histogram=pb.ExponentialHistogram())
    metric.exponential_histogram.data_points.add(count=3)
    found = points(request(metric), T0, Deltas().accumulate)
    assert found.refused.count == 1
    assert "exponential" in found.refused.reason
    assert found.groups == []


def test_special_values_keep_their_bits_and_no_value_is_a_stale_marker() -> None:
    metric = pb.Metric(name="g")
    metric.gauge.data_points.extend([number(v) for v in (math.inf, -math.inf, -0.0, math.nan)])
    metric.gauge.data_points.add(flags=pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK, time_unix_nano=T0)
    bits = [struct.pack(">d", p.value).hex() for p in converted(request(metric))]
    assert bits[:3] == ["7ff0000000000000", "fff0000000000000", "8000000000000000"]
    assert math.isnan(struct.unpack(">d", bytes.fromhex(bits[3]))[0])
    assert bits[4] == "7ff0000000000002"


def test_a_point_without_a_time_gets_the_time_of_receipt_and_integers_are_taken() -> None:
    metric = pb.Metric(name="g")
    metric.gauge.data_points.add(as_int=7)
    (point,) = converted(request(metric))
    assert (point.time_ms, point.value) == (T0 // 10**6, 7.0)
