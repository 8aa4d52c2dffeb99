from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import AnyValue

from heliograph.exporters import (
    HeliographLogExporter,
    HeliographMetricExporter,
    HeliographSpanExporter,
    Outlet,
)
from heliograph.message import Headers
from heliograph.producer import Producer
from heliograph.testing import InMemoryTransport, Sample

RESOURCE = Resource({"service.name": "shop", "service.instance.id": "i1", "ready": True, "ports": (1, 2)})


@pytest.fixture
def transport() -> InMemoryTransport:
    return InMemoryTransport()


@pytest.fixture
def outlet(transport: InMemoryTransport) -> Iterator[Outlet]:
    producer = Producer(transport)
    yield Outlet(producer)
    producer.shutdown(1)


@pytest.fixture
def tracing(outlet: Outlet) -> Iterator[TracerProvider]:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(HeliographSpanExporter(outlet)))
    yield provider
    provider.shutdown()


@pytest.fixture
def logging(outlet: Outlet) -> Iterator[LoggerProvider]:
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(HeliographLogExporter(outlet)))
    yield provider
    provider.shutdown()


@pytest.fixture
def metering(outlet: Outlet) -> Iterator[MeterProvider]:
    reader = PeriodicExportingMetricReader(HeliographMetricExporter(outlet), export_interval_millis=math.inf)
    exponential = View(
        instrument_type=Histogram,
        instrument_name="exponential",
        aggregation=ExponentialBucketHistogramAggregation(),
    )
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False, views=[exponential])
    yield provider
    provider.shutdown()


def test_a_span_arrives_whole(tracing: TracerProvider, outlet: Outlet, transport: InMemoryTransport) -> None:
    tracer = tracing.get_tracer("cart", "2.0")
    with tracer.start_as_current_span("parent", kind=trace.SpanKind.SERVER) as parent:
        link = trace.Link(parent.get_span_context(), {"why": "because"})
        with pytest.raises(KeyError), tracer.start_as_current_span("child", links=[link]) as child:
            child.set_attributes({"n": 1, "big": 2**63, "ratio": 0.5, "ok": True, "tags": ["a", "b"], "odd": "\udc80"})
            child.add_event("retry", {"attempt": 2}, timestamp=5)
            raise KeyError("missing")
    tracing.force_flush()
    assert outlet.flush(20_000)
    sent, root = transport.spans
    assert (root["name"], root["kind"], root["parent_span_id"], root["status_code"]) == ("parent", 2, b"", 0)
    assert sent["trace_id"] == root["trace_id"] == parent.get_span_context().trace_id.to_bytes(16, "big")
    assert sent["parent_span_id"] == root["span_id"]
    assert (sent["status_code"], sent["status_message"]) == (2, "KeyError: 'missing'")
    assert sent["attributes"] == {
        "n": 1, "big": "9223372036854775808", "ratio": 0.5, "ok": True, "tags": '["a", "b"]', "odd": "?",
    }  # fmt: skip
    assert [e["name"] for e in sent["events"]] == ["retry", "exception"]
    assert sent["events"][0] == {"time_unix_nano": 5, "name": "retry", "attributes": {"attempt": 2}}
    assert sent["links"][0]["span_id"] == root["span_id"]
    assert sent["links"][0]["attributes"] == {"why": "because"}
    assert root["start_time_unix_nano"] <= sent["start_time_unix_nano"] <= sent["end_time_unix_nano"]
    assert sent["scope_name"] == "cart"
    assert sent["resource"] == {
        "service.name": "shop", "service.instance.id": "i1", "ready": "true", "ports": "[1, 2]",
    }  # fmt: skip


def test_spans_of_one_trace_stand_in_one_partition(
    tracing: TracerProvider, logging: LoggerProvider, outlet: Outlet, transport: InMemoryTransport
) -> None:
    with tracing.get_tracer("cart").start_as_current_span("parent"):
        logging.get_logger("cart").emit(LogRecord(timestamp=1, body="hello"))
    tracing.force_flush()
    logging.force_flush()
    assert outlet.flush(20_000)
    assert len({m.partition for m in transport.messages}) == 1
    assert len(transport.messages) == 2


def test_a_log_record_arrives_whole(logging: LoggerProvider, outlet: Outlet, transport: InMemoryTransport) -> None:
    attributes: dict[str, AnyValue] = {"n": 1, "nested": {"a": [1, None]}, "raw": b"\x00"}
    record = LogRecord(
        timestamp=7, observed_timestamp=9, severity_text="WARN", severity_number=SeverityNumber.WARN,
        body={"text": "paid"}, attributes=attributes, event_name="order.paid",
    )  # fmt: skip
    logging.get_logger("cart").emit(record)
    logging.get_logger("cart").emit(LogRecord(observed_timestamp=9))
    logging.force_flush()
    assert outlet.flush(20_000)
    whole, bare = transport.logs
    assert (whole["time_unix_nano"], whole["observed_time_unix_nano"]) == (7, 9)
    assert (whole["severity_number"], whole["severity_text"], whole["body"]) == (13, "WARN", '{"text": "paid"}')
    assert whole["attributes"]["n"] == 1
    assert whole["attributes"]["nested"] == '{"a": [1, null]}'
    assert whole["attributes"]["event.name"] == "order.paid"
    assert (whole["trace_id"], whole["span_id"]) == (b"", b"")
    assert (bare["time_unix_nano"], bare["severity_number"], bare["body"]) == (9, 0, "")


def test_a_record_that_no_batch_can_hold_is_dropped_alone(
    logging: LoggerProvider, outlet: Outlet, transport: InMemoryTransport
) -> None:
    for n in range(5):
        huge = {"attribute": "x" * 1_000_000} if n == 2 else {}
        logging.get_logger("cart").emit(LogRecord(timestamp=7, body=str(n), attributes=huge))
    logging.force_flush()
    assert outlet.flush(20_000)
    assert [r["body"] for r in transport.logs] == ["0", "1", "3", "4"]
    assert outlet.producer.statistics.items_dropped == {"oversize": 1}
    sequences = [Headers.decode(m.headers).batch_id.sequence for m in transport.messages]
    assert sequences == list(range(len(sequences)))


def by_name(samples: list[Sample]) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for s in samples:
        labels = {k: v for k, v in s.labels.items() if k not in ("job", "instance")}
        assert (s.labels["job"], s.labels["instance"]) == ("shop", "i1")
        found.setdefault(s.name, []).append((labels, s.value))
    return found


def test_every_instrument_arrives_under_its_name(
    metering: MeterProvider, outlet: Outlet, transport: InMemoryTransport
) -> None:
    meter = metering.get_meter("cart")
    meter.create_counter("orders", unit="{order}", description="placed").add(2, {"http.method": "GET", "ok": True})
    meter.create_up_down_counter("queue.size").add(-3)
    meter.create_gauge("utilization", unit="1").set(0.5)
    meter.create_observable_counter("read", callbacks=[lambda _: [Observation(7, {"disk": "a"})]], unit="By")
    histogram = meter.create_histogram("duration", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0])
    histogram.record(0.25)
    histogram.record(4)
    assert metering.force_flush()
    assert outlet.flush(20_000)
    found = by_name(transport.samples)
    assert found["orders_total"] == [({"http_method": "GET", "ok": "true"}, 2.0)]
    assert found["queue_size"] == [({}, -3.0)]
    assert found["utilization_ratio"] == [({}, 0.5)]
    assert found["read_bytes_total"] == [({"disk": "a"}, 7.0)]
    assert sorted((d["le"], v) for d, v in found["duration_seconds_bucket"]) == [
        ("+Inf", 2.0),
        ("0.5", 1.0),
        ("1", 1.0),
    ]
    assert found["duration_seconds_sum"] == [({}, 4.25)]
    assert found["duration_seconds_count"] == [({}, 2.0)]
    assert found["target_info"] == [({"ready": "true", "ports": "[1, 2]"}, 1.0)]


def test_the_same_series_again_are_the_same_layout(
    metering: MeterProvider, outlet: Outlet, transport: InMemoryTransport
) -> None:
    counter = metering.get_meter("cart").create_counter("orders")
    for _ in range(3):
        counter.add(1)
        assert metering.force_flush()
    assert outlet.flush(20_000)
    assert [s.value for s in transport.samples if s.name == "orders_total"] == [1.0, 2.0, 3.0]
    tails = {m.body[m.body.index(b"orders_total") :] for m in transport.messages}
    assert len(transport.messages) == 3
    assert len(tails) == 1


def test_what_no_point_can_hold_is_counted(
    metering: MeterProvider, outlet: Outlet, transport: InMemoryTransport
) -> None:
    metering.get_meter("cart").create_histogram("exponential").record(3)
    metering.get_meter("cart").create_counter("orders").add(1)
    assert metering.force_flush()
    assert outlet.flush(20_000)
    assert outlet.producer.statistics.items_dropped == {"unsupported": 1}
    assert "orders_total" in by_name(transport.samples)


def test_a_resource_without_an_instance_gets_one(outlet: Outlet) -> None:
    one = outlet.sources.of(Resource({"service.name": "shop"}))
    again = outlet.sources.of(Resource({"service.name": "shop"}))
    assert one.resource["service.instance.id"] == again.resource["service.instance.id"] != ""


def test_exporters_without_an_outlet_share_the_producer_of_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_ENDPOINT", "http://127.0.0.1:1")
    assert Outlet().producer is Outlet().producer
    HeliographSpanExporter().shutdown()
    assert HeliographMetricExporter().force_flush()
