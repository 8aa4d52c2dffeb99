"""One of everything: what a reader in another language is given."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.metrics import Exemplar, Layout, Series, seal_metrics
from heliograph.records import LogRecord, Source, Span, seal_logs, seal_spans

NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
TRACE = bytes(range(16))
SOURCE = Source({"service.name": "shop", "host.name": "köln-1"}, "scope", "1.2")


def log_record(i: int, trace_id: bytes = b"") -> LogRecord:
    """Every type of attribute, and text of every plane."""
    return {
        "time_unix_nano": NOON_NS + i, "observed_time_unix_nano": NOON_NS + i + 5, "severity_number": 9 + i % 3,
        "severity_text": "INFO", "body": f"Bestellung {i} für 𝔘 “quoted”\n",
        "attributes": {"text": "ä", "long": -(2**53) + i, "double": 0.1 + i, "yes": True, "no": False, "empty": ""},
        "trace_id": trace_id, "span_id": trace_id[:8], "flags": 1,
    }  # fmt: skip


def logs(schema_id: int, count: int = 7) -> list[Message]:
    records = [log_record(i, TRACE if i % 2 else b"") for i in range(count)]
    return seal_logs(records, SOURCE, ProducerIdentity().mint, schema_id)


def spans(schema_id: int) -> list[Message]:
    span: Span = {
        "trace_id": TRACE, "span_id": TRACE[:8], "parent_span_id": b"", "trace_state": "a=b", "name": "GET /cart",
        "kind": 2, "start_time_unix_nano": NOON_NS, "end_time_unix_nano": NOON_NS + 1_500_000, "status_code": 2,
        "status_message": "kaputt", "attributes": {"http.status": 500, "ratio": 0.25},
        "events": [{"time_unix_nano": NOON_NS + 1, "name": "exception", "attributes": {"escaped": True}}],
        "links": [{"trace_id": TRACE[::-1], "span_id": TRACE[8:], "attributes": {"why": "retry"}}], "flags": 1,
    }  # fmt: skip
    child: Span = {**span, "span_id": TRACE[8:], "parent_span_id": TRACE[:8], "events": [], "links": []}
    return seal_spans([span, child], SOURCE, ProducerIdentity().mint, schema_id)


def metrics(schema_id: int) -> list[Message]:
    rows = [
        Series("requests_total", (("instance", "h:1"), ("job", "shop"), ("path", f"/{i}")), "counter", "1", "Requests")
        for i in range(3)
    ]
    layout = Layout.of(sorted([*rows, Series("up", (("instance", "h:1"), ("job", "shop")), "gauge")]))
    values: Sequence[float] = array("d", [1.5, -0.0, 1e300, float("nan")])
    mint = ProducerIdentity().mint
    exemplar = Exemplar(1, NOON_NS // 10**6, 0.75, {"trace_id": TRACE.hex()})
    return [
        seal_metrics(SOURCE, layout, NOON_NS // 10**6, values, mint, exemplars=[exemplar], schema_id=schema_id),
        seal_metrics(SOURCE, layout, NOON_NS // 10**6 + 15_000, values, mint, time_offsets_ms=[0, 1, -1, 2], schema_id=schema_id),
    ]  # fmt: skip
