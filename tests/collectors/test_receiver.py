from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from starlette.testclient import TestClient

from collectors import bundles
from collectors.digests import KEEP_S, Digests
from collectors.drops import Drops
from collectors.http_body import BODY_BYTES_MAX, Budget
from collectors.intake import Intake
from collectors.outbox import Outbox
from collectors.receiver import receiver_app
from heliograph import contracts
from heliograph.identity import ProducerIdentity
from heliograph.message import BUNDLE_CONTENT_TYPE, Headers, Message, encode_bundle
from heliograph.records import decode_batch
from tests.collectors.batches import log_batch
from tests.collectors.fake_bus import FakeBus, FakeRegistry, unique

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
BUNDLE = {"content-type": BUNDLE_CONTENT_TYPE}
TRACE_ID = "5b8efff798038103d269b633813fc60c"
SPAN_ID = "eee19b7ec3c1b174"


class Edge:
    """A receiver over a fake bus."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        self.bus = FakeBus()
        self.now_ns = 1_700_000_000_000_000_000
        self.identity = ProducerIdentity()
        self.outbox = Outbox(self.bus, linger_s=0.0)
        self.digests = Digests.open(folder / "digests.db", lambda: self.now_ns / 1e9)
        self.drops = Drops(self.outbox, self.identity.mint, lambda: self.now_ns)
        self.budget = Budget()
        self.intake = Intake(
            self.outbox, FakeRegistry(), self.digests, self.drops, self.identity.mint, lambda: self.now_ns, deadline_s=0.2
        )  # fmt: skip
        self.http = TestClient(receiver_app(self.intake, token, self.budget))

    def close(self) -> None:
        self.http.__exit__()
        self.intake.close()
        self.outbox.close(0.5)
        self.digests.close()

    def decoded(self, topic: str) -> list[dict[str, Any]]:
        schema = contracts.schema(contracts.topics()[topic].schema)
        return [decode_batch(m.body, schema) for m in unique(self.bus.of(topic))]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path)
    edge.http.__enter__()
    yield edge
    edge.close()


def logs_json(body: str = "hello") -> dict[str, Any]:
    record = {
        "timeUnixNano": "1700000000000000001",
        "severityNumber": 9,
        "severityText": "INFO",
        "body": {"stringValue": body},
        "attributes": [
            {"key": "n", "value": {"intValue": "7"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}},
        ],
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {"name": "s"}, "logRecords": [record]}]}]}


def logs_protobuf(body: str = "hello") -> bytes:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "s"
    record = scope_logs.log_records.add()
    record.time_unix_nano = 1_700_000_000_000_000_001
    record.severity_number = logs_pb2.SEVERITY_NUMBER_INFO
    record.severity_text = "INFO"
    record.body.string_value = body
    record.attributes.add(key="n").value.int_value = 7
    values = record.attributes.add(key="list").value.array_value
    values.values.add().int_value = 1
    values.values.add().string_value = "a"
    record.attributes.add(key="map").value.kvlist_value.values.add(key="k").value.bool_value = True
    record.trace_id = bytes.fromhex(TRACE_ID)
    record.span_id = bytes.fromhex(SPAN_ID)
    serialized: bytes = request.SerializeToString()
    return serialized


def span_request(*names: str, trace_id: bytes = bytes.fromhex(TRACE_ID)) -> bytes:
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    for number, name in enumerate(names):
        span = scope_spans.spans.add()
        span.trace_id = trace_id
        span.span_id = (number + 1).to_bytes(8, "big")
        span.name = name
        span.kind = trace_pb2.Span.SPAN_KIND_SERVER
        span.start_time_unix_nano = 1_700_000_000_000_000_000
        span.end_time_unix_nano = 1_700_000_000_500_000_000
        span.status.code = trace_pb2.Status.STATUS_CODE_ERROR
    serialized: bytes = request.SerializeToString()
    return serialized


def without_identity(batch: dict[str, Any]) -> dict[str, Any]:
    records = [{k: v for k, v in r.items() if k != "item_hash"} for r in batch["records"]]
    return {**batch, "producer_id": b"", "sequence": 0, "records": records}


def test_protobuf_json_and_gzip_give_the_same_records(edge: Edge) -> None:
    as_json = json.dumps(logs_json()).encode()
    posts: list[tuple[bytes, dict[str, str]]] = [
        (logs_protobuf(), PROTOBUF),
        (as_json, JSON),
        (gzip.compress(as_json + b" ", mtime=0), {**JSON, "content-encoding": "gzip"}),
    ]
    for body, headers in posts:
        assert edge.http.post("/v1/logs", content=body, headers=headers).status_code == 200
    first, second, third = (without_identity(b) for b in edge.decoded(contracts.LOGS_TOPIC))
    assert first == second == third
    (record,) = first["records"]
    assert record["body"] == "hello"
    assert record["attributes"] == {"n": 7, "list": '[1,"a"]', "map": '{"k":true}'}
    assert record["trace_id"].hex() == TRACE_ID
    assert first["resource"] == {"service.name": "shop"}
    assert first["scope_name"] == "s"


def test_answers_come_in_the_encoding_of_the_request(edge: Edge) -> None:
    answer = edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF)
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert ExportLogsServiceResponse.FromString(answer.content) == ExportLogsServiceResponse()
    answer = edge.http.post("/v1/logs", json=logs_json())
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {}


def test_spans_arrive_and_bad_ones_are_told_in_a_partial_success(edge: Edge) -> None:
    request = ExportTraceServiceRequest.FromString(span_request("a", "b"))
    request.resource_spans[0].scope_spans[0].spans[1].trace_id = b"short"
    answer = edge.http.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 1
    assert "trace_id" in partial.error_message
    (batch,) = edge.decoded(contracts.TRACES_TOPIC)
    assert [s["name"] for s in batch["records"]] == ["a"]
    assert batch["resource"] == {"service.name": "unknown_service"}


def test_metrics_arrive(edge: Edge) -> None:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="queue.length")
    metric.gauge.data_points.add(as_double=3.5, time_unix_nano=1_700_000_000_000_000_000)
    answer = edge.http.post("/v1/metrics", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    (batch,) = edge.decoded(contracts.METRICS_TOPIC)
    found = {s["name"]: v for s, v in zip(batch["series"], batch["values"], strict=True)}
    assert found == {"queue_length": 3.5, "target_info": 1.0}


def test_an_empty_request_is_fine(edge: Edge) -> None:
    for signal in ("logs", "traces", "metrics"):
        assert edge.http.post(f"/v1/{signal}", content=b"", headers=PROTOBUF).status_code == 200
    assert edge.bus.log == []


def test_a_retry_after_a_lost_200_is_not_produced_again_even_by_another_process(edge: Edge, tmp_path: Path) -> None:
    assert edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
    assert edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
    assert len(edge.bus.log) == 1
    assert edge.intake.counts["duplicates"] == 1
    after = Edge(tmp_path)
    with after.http:
        assert after.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
        assert after.bus.log == []
        after.now_ns += (KEEP_S + 1) * 1_000_000_000
        assert after.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
        assert len(after.bus.log) == 1
    after.close()


def test_a_memory_that_cannot_be_written_refuses_nobody(edge: Edge) -> None:
    edge.digests.close()
    assert edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
    assert len(edge.bus.log) == 1


def test_the_same_body_at_the_same_time_is_produced_once(edge: Edge) -> None:
    async def both() -> None:
        await asyncio.gather(*(edge.intake.otlp("logs", logs_protobuf(), "protobuf") for _ in range(5)))

    asyncio.run(both())
    assert len(edge.bus.log) == 1
    assert edge.intake.counts["duplicates"] == 4


def test_when_the_bus_fails_it_says_503_and_the_retry_sends_the_same_batch(edge: Edge) -> None:
    edge.bus.down = True
    answer = edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert answer.content.startswith(b"\x08\x0e\x12")
    edge.bus.down = False
    assert edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF).status_code == 200
    (message,) = edge.bus.log
    assert Headers.decode(message.headers).batch_id.sequence == 0
    assert Headers.decode(message.headers).attempt > 0


def test_what_was_never_retried_becomes_a_fact(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    with edge.http:
        edge.bus.down = True
        assert edge.http.post("/v1/logs", json=logs_json()).status_code == 503
        edge.bus.down = False
    edge.intake.close()
    edge.drops.flush()
    edge.outbox.close()
    edge.digests.close()
    (fact,) = edge.decoded(contracts.LEDGER_TOPIC)
    assert (fact["outcome"], fact["reason"], fact["service"], fact["sequence"]) == ("dropped", "refused", "shop", 0)


def test_a_bomb_is_refused_before_it_is_unpacked(edge: Edge) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 300_000
    answer = edge.http.post("/v1/logs", content=bomb, headers={**PROTOBUF, "content-encoding": "gzip"})
    assert answer.status_code == 413
    assert edge.budget.held == 0


def test_a_body_too_large_is_refused(edge: Edge) -> None:
    answer = edge.http.post("/v1/logs", content=bytes(BODY_BYTES_MAX + 1), headers=PROTOBUF)
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        yield from itertools.repeat(bytes(1 << 20), 17)

    answer = edge.http.post("/v1/logs", content=endless(), headers=PROTOBUF)
    assert answer.status_code == 413


def test_over_the_byte_limit_it_says_429(edge: Edge) -> None:
    edge.budget.held = edge.budget.bytes_max - 10
    answer = edge.http.post("/v1/logs", content=logs_protobuf(), headers=PROTOBUF)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert edge.budget.held == edge.budget.bytes_max - 10


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"resourceLogs": 7}', JSON, 400),
        (b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz"}]}]}]}', JSON, 400),
        (b'{"a":' * 900 + b"1" + b"}" * 900, JSON, 200),
        (b"no gzip", {**JSON, "content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {**JSON, "content-encoding": "gzip"}, 400),
        (b"{}", {**JSON, "content-encoding": "br"}, 415),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {}, 415),
    ],
)
def test_a_bad_request_gets_a_status_and_reaches_no_bus(
    edge: Edge, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = edge.http.post("/v1/logs", content=body, headers=headers)
    assert answer.status_code == status
    assert edge.bus.log == []
    assert "Traceback" not in answer.text
    if status != 200 and headers.get("content-type") == "application/json":
        assert answer.json()["message"]


def test_a_record_that_no_batch_can_hold_is_refused_alone(edge: Edge) -> None:
    document = logs_json()
    records = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    huge = {**records[0], "attributes": [{"key": "big", "value": {"stringValue": "x" * 2_000_000}}]}
    records.append(huge)
    answer = edge.http.post("/v1/logs", json=document)
    assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    (batch,) = edge.decoded(contracts.LOGS_TOPIC)
    assert len(batch["records"]) == 1
    assert batch["sequence"] == 0


def test_a_bundle_goes_onto_the_bus_unchanged(edge: Edge) -> None:
    messages = [log_batch("a"), log_batch("b")]
    answer = edge.http.post("/heliograph/v1/batches", content=encode_bundle(messages), headers=BUNDLE)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
    assert answer.json()["schemas"] == bundles.schemas()
    assert edge.bus.log == messages


def with_header(message: Message, key: str, value: bytes) -> Message:
    headers = tuple((k, value if k == key else v) for k, v in message.headers)
    return Message(message.topic, message.partition, headers, message.body)


def bad_messages() -> dict[str, Message]:
    good = log_batch("a")
    other = contracts.schema("span_batch").offline_id.to_bytes(4, "big")

    def framed(schema_id: bytes) -> Message:
        body = b"\0" + schema_id + good.body[5:]
        changed = with_header(Message(good.topic, good.partition, good.headers, body), "hg.schema", b"\7" * 16)
        return with_header(changed, "hg.crc32c", google_crc32c.value(body).to_bytes(4, "big"))

    return {
        "topic": Message("telemetry.deadletters.search", 0, good.headers, good.body),
        "partitions": Message(good.topic, 99, good.headers, good.body),
        "tenant": with_header(good, "hg.tenant", b"other"),
        "CRC32C": Message(good.topic, good.partition, good.headers, good.body + b"\0"),
        "bad_headers": Message(good.topic, good.partition, good.headers[:3], good.body),
        "twice": Message(good.topic, good.partition, (*good.headers, good.headers[0]), good.body),
        "no schema": framed(b"\x00\x00\x00\x07"),
        "not LogBatch": framed(other),
        "at most": Message(good.topic, good.partition, good.headers, bytes(contracts.BATCH_BYTES_MAX + 1)),
    }


def test_a_message_of_our_own_schema_is_taken_whatever_its_id(edge: Edge) -> None:
    ours = log_batch("a")
    body = b"\0\0\0\0\7" + ours.body[5:]
    learned_elsewhere = with_header(
        Message(ours.topic, ours.partition, ours.headers, body),
        "hg.crc32c",
        google_crc32c.value(body).to_bytes(4, "big"),
    )
    answer = edge.http.post("/heliograph/v1/batches", content=encode_bundle([learned_elsewhere]), headers=BUNDLE)
    assert answer.status_code == 200
    assert [m.body for m in edge.bus.log] == [body]


@pytest.mark.parametrize("fault", bad_messages())
def test_a_bad_message_refuses_its_bundle_and_is_named(edge: Edge, fault: str) -> None:
    body = encode_bundle([log_batch("fine"), bad_messages()[fault]])
    answer = edge.http.post("/heliograph/v1/batches", content=body, headers=BUNDLE)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("message 1: ")
    assert fault.removeprefix("not ") in answer.json()["error"]
    assert edge.bus.log == []


def test_a_bundle_that_is_cut_short_is_refused(edge: Edge) -> None:
    answer = edge.http.post("/heliograph/v1/batches", content=encode_bundle([log_batch("a")])[:-1], headers=BUNDLE)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_bundle_that_the_bus_does_not_take_stays_the_clients(edge: Edge) -> None:
    edge.bus.down = True
    body = encode_bundle([log_batch("a")])
    answer = edge.http.post("/heliograph/v1/batches", content=body, headers=BUNDLE)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    edge.bus.down = False
    assert edge.http.post("/heliograph/v1/batches", content=body, headers=BUNDLE).status_code == 200
    edge.drops.flush()
    assert edge.drops.dropped == 0


def test_schemas_and_health(edge: Edge) -> None:
    schema = contracts.schema("log_batch")
    found = edge.http.get("/heliograph/v1/schemas").json()
    assert found["log_batch"] == {"id": schema.offline_id, "fingerprint": schema.fingerprint.hex()}
    assert set(found) == {"metric_batch", "log_batch", "span_batch", "ledger_fact"}
    assert edge.http.get("/healthz").status_code == 200


def test_with_a_token_everything_but_health_needs_it(tmp_path: Path) -> None:
    edge = Edge(tmp_path, token="geheim")
    with edge.http:
        for headers in (PROTOBUF, {**PROTOBUF, "authorization": "Bearer wrong"}):
            answer = edge.http.post("/v1/logs", content=logs_protobuf(), headers=headers)
            assert answer.status_code == 401
        assert edge.http.get("/heliograph/v1/schemas").status_code == 401
        assert edge.http.get("/healthz").status_code == 200
        good = {**PROTOBUF, "authorization": "Bearer geheim"}
        assert edge.http.post("/v1/logs", content=logs_protobuf(), headers=good).status_code == 200
    edge.close()
