"""The search sink, on the embedded store and on stores that fail."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from bus.port import Record, TopicPartition
from bus.registry import RegistryUnavailableError, UnknownSchemaError
from heliograph.contracts import Schema
from heliograph.identity import BatchId
from heliograph.message import Message
from heliograph.records import LogRecord, Source, Span, seal_logs, seal_spans
from search.port import (
    Batch,
    DocumentFault,
    DocumentFaultError,
    LogSearch,
    SearchUnavailableError,
    StoreWritten,
)
from search.tantivy_reader import TantivyReader
from search.tantivy_writer import TantivyWriter
from sinks.decode import WriterSchemas
from sinks.documents import DocumentSink
from sinks.port import Cut, StoreUnavailableError

NOW_NS = 1_760_000_000_123_456_789
NOW_MS = NOW_NS // 1_000_000
SOURCE = Source({"service.name": "shop", "host.name": "h1"}, "lib", "1.2")


class NoRegistry:
    """A registry that is away, or knows nothing; shipped schemas need none."""

    def __init__(self, away: bool = True) -> None:
        self.away = away

    def register(self, subject: str, schema: Schema) -> int:
        raise RegistryUnavailableError

    def schema(self, schema_id: int) -> Schema:
        raise RegistryUnavailableError("away") if self.away else UnknownSchemaError(schema_id)

    def versions(self, subject: str) -> Mapping[int, int]:
        return {}


class FailingWriter:
    """A store that is away."""

    def write(self, batches: Iterable[Batch]) -> StoreWritten:
        raise SearchUnavailableError("full")

    def close(self) -> None:
        pass


class Mint:
    """Identities in order."""

    def __init__(self) -> None:
        self.sequence = 0

    def __call__(self) -> BatchId:
        self.sequence += 1
        return BatchId(b"0123456789abcdef", self.sequence)


def log_record(**fields: Any) -> LogRecord:
    record: LogRecord = {
        "time_unix_nano": NOW_NS, "observed_time_unix_nano": NOW_NS + 1, "severity_number": 9, "severity_text": "INFO",
        "body": "hello", "attributes": {}, "trace_id": b"", "span_id": b"", "flags": 0,
    }  # fmt: skip
    return {**record, **fields}  # type: ignore[typeddict-item]


def span_record(**fields: Any) -> Span:
    record: Span = {
        "trace_id": bytes(15) + b"\x01", "span_id": bytes(7) + b"\x02", "parent_span_id": b"", "trace_state": "", "name": "GET /",
        "kind": 2, "start_time_unix_nano": NOW_NS, "end_time_unix_nano": NOW_NS + 1_500, "status_code": 0, "status_message": "",
        "attributes": {}, "events": [], "links": [], "flags": 1,
    }  # fmt: skip
    return {**record, **fields}  # type: ignore[typeddict-item]


def records(messages: Sequence[Message], append_time_ms: int = NOW_MS) -> list[Record]:
    return [Record(m.topic, m.partition, i, append_time_ms, m.headers, m.body) for i, m in enumerate(messages)]


def cut(*found: Record, tried: bool = False) -> Cut:
    return Cut((), found, {r.where: r.offset + 1 for r in found} if tried else {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "search"


@pytest.fixture
def sink(root: Path) -> Iterator[DocumentSink]:
    sink = DocumentSink(TantivyWriter(root), WriterSchemas(NoRegistry()))
    yield sink
    sink.close()


def one(root: Path) -> Mapping[str, Any]:
    (document,) = TantivyReader(root).logs(LogSearch()).documents
    return document.source


def test_a_log_record_becomes_a_document_in_opentelemetrys_shape(sink: DocumentSink, root: Path) -> None:
    fields = {
        "trace_id": bytes(15) + b"\x01",
        "span_id": bytes(7) + b"\x02",
        "attributes": {"n": 1, "ok": True, "r": 0.5, "s": "x"},
    }
    (message,) = seal_logs([log_record(**fields)], SOURCE, Mint())
    assert sink.write(cut(*records([message]))).items == 1
    (document,) = TantivyReader(root).logs(LogSearch()).documents
    assert document.id == f"{b'0123456789abcdef'.hex()}-1-0"
    assert (document.time_ns, document.tenant, document.stream) == (NOW_NS, "default", "logs")
    assert document.event_minute == NOW_NS // 60_000_000_000
    assert document.source == {
        "@timestamp": "2025-10-09T08:53:20.123456789Z",
        "observed_timestamp": "2025-10-09T08:53:20.123456790Z",
        "severity_number": 9,
        "severity_text": "INFO",
        "body": {"text": "hello"},
        "attributes": {"n": 1, "ok": True, "r": 0.5, "s": "x"},
        "flags": 0,
        "trace_id": "0" * 31 + "1",
        "span_id": "0" * 15 + "2",
        "resource": {"attributes": {"service.name": "shop", "host.name": "h1"}},
        "scope": {"name": "lib", "version": "1.2"},
        "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "default"},
        "event_minute": document.event_minute,
        "item_hash": document.item_hash,
    }


def test_a_span_becomes_a_document_in_opentelemetrys_shape(sink: DocumentSink, root: Path) -> None:
    event = {"time_unix_nano": NOW_NS + 7, "name": "retry", "attributes": {"n": 2}}
    link = {"trace_id": bytes(16), "span_id": bytes(8), "attributes": {}}
    span = span_record(
        parent_span_id=bytes(7) + b"\x09", status_code=2, status_message="bad", events=[event], links=[link]
    )
    sink.write(cut(*records(seal_spans([span], SOURCE, Mint()))))
    (document,) = TantivyReader(root).trace("default", "0" * 31 + "1")
    source = document.source
    assert (source["kind"], source["duration"], source["name"]) == ("Server", 1_500, "GET /")
    assert source["status"] == {"code": "Error", "message": "bad"}
    assert source["parent_span_id"] == "0" * 15 + "9"
    assert source["events"] == [
        {"@timestamp": "2025-10-09T08:53:20.123456796Z", "name": "retry", "attributes": {"n": 2}}
    ]
    assert source["links"] == [{"trace_id": "0" * 32, "span_id": "0" * 16, "attributes": {}}]
    assert source["data_stream"]["type"] == "traces"


def test_the_stores_balance_is_the_headers_books(sink: DocumentSink, root: Path) -> None:
    messages = seal_logs([log_record(time_unix_nano=NOW_NS + i * 7_000_000_000) for i in range(50)], SOURCE, Mint())
    sink.write(cut(*records(messages)))
    expected = [
        struct.unpack_from(">IIQ", m.header("hg.books") or b"", at)
        for m in messages
        for at in range(0, len(m.header("hg.books") or b""), 16)
    ]
    found = TantivyReader(root).balances("default", "logs", 0, 2**31)
    assert [(b.minute, b.count, b.hash_sum) for b in found] == expected
    assert {b.service for b in found} == {"shop"}


def test_doubles_that_are_no_numbers_become_text(sink: DocumentSink, root: Path) -> None:
    values = {"a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": -0.0}
    sink.write(cut(*records(seal_logs([log_record(attributes=values)], SOURCE, Mint()))))
    found = one(root)["attributes"]
    assert found == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.0}
    assert str(found["d"]) == "-0.0"


def test_a_cut_that_comes_again_is_stored_once(sink: DocumentSink, root: Path) -> None:
    found = records(seal_logs([log_record(body=str(i)) for i in range(9)], SOURCE, Mint()))
    assert (sink.write(cut(*found)).items, sink.write(cut(*found, tried=True)).duplicates) == (9, 9)
    assert TantivyReader(root).logs(LogSearch()).total == 9


@pytest.mark.parametrize("second_first", [False, True])
@pytest.mark.parametrize("one_cut", [False, True])
def test_two_attempts_of_a_batch_are_stored_once_in_either_order(
    sink: DocumentSink, root: Path, second_first: bool, one_cut: bool
) -> None:
    (message,) = seal_logs([log_record(), log_record()], SOURCE, Mint())
    attempts = [message.again(), message] if second_first else [message, message.again()]
    found = records(attempts)
    for portion in [found] if one_cut else [[r] for r in found]:
        sink.write(cut(*portion))
    assert TantivyReader(root).logs(LogSearch()).total == 2


def test_a_record_that_does_not_decode_is_a_fault_and_the_rest_is_stored(sink: DocumentSink, root: Path) -> None:
    good, bad, headless, alien = records([seal_logs([log_record()], SOURCE, m)[0] for m in [Mint()] for _ in range(4)])
    bad = Record(bad.topic, 0, 1, NOW_MS, bad.headers, bad.body[:-1])
    headless = Record(headless.topic, 0, 2, NOW_MS, (), headless.body)
    body = b"\x01no Avro"
    crc = ("hg.crc32c", google_crc32c.value(body).to_bytes(4, "big"))
    alien = Record(alien.topic, 0, 3, NOW_MS, (crc, *(h for h in alien.headers if h[0] != "hg.crc32c")), body)
    written = sink.write(cut(good, bad, headless, alien))
    assert written.items == 1
    assert [(f.record.offset, f.reason, f.indexes) for f in written.faults] == [
        (1, "crc_mismatch", ()),
        (2, "bad_headers", ()),
        (3, "not_avro", ()),
    ]
    assert TantivyReader(root).logs(LogSearch()).total == 1


def test_times_too_far_from_the_append_are_faults_of_their_items(sink: DocumentSink, root: Path) -> None:
    day_ns = 86_400_000_000_000
    times = [NOW_NS, 0, -1, NOW_NS - 31 * day_ns, NOW_NS - 29 * day_ns, NOW_NS + 2 * day_ns, 2**63 - 1, -(2**63)]
    (message,) = seal_logs([log_record(time_unix_nano=t) for t in times], SOURCE, Mint())
    written = sink.write(cut(*records([message])))
    assert written.items == 2
    assert [(f.reason, f.indexes) for f in written.faults] == [("too_late", (1, 2, 3, 7)), ("too_new", (5, 6))]
    assert TantivyReader(root).logs(LogSearch()).total == 2


def test_the_rest_of_a_records_times_may_be_anything(sink: DocumentSink, root: Path) -> None:
    edges = [2**63 - 1, -(2**63)]
    logs = seal_logs([log_record(observed_time_unix_nano=t) for t in edges], SOURCE, Mint())
    spans = seal_spans([span_record(end_time_unix_nano=t) for t in edges], Source({}), Mint())
    assert sink.write(cut(*records([*logs, *spans]))).items == 4
    assert {d.source["observed_timestamp"] for d in TantivyReader(root).logs(LogSearch()).documents} == {
        "2262-04-11T23:47:16.854775807Z",
        "1677-09-21T00:12:43.145224192Z",
    }


def test_a_store_that_is_away_is_no_records_fault() -> None:
    sink = DocumentSink(FailingWriter(), WriterSchemas(NoRegistry()))
    with pytest.raises(StoreUnavailableError):
        sink.write(cut(*records(seal_logs([log_record()], SOURCE, Mint()))))


def test_documents_that_a_store_can_never_take_are_faults_of_their_items(root: Path) -> None:
    class Picky:
        def write(self, batches: Iterable[Batch]) -> StoreWritten:
            documents = [document for batch in batches for document in batch.documents]
            bad = [i for i, d in enumerate(documents) if d.source["body"]["text"] == "bad"]
            faults = [DocumentFault(i, "mapping", "no number") for i in bad]
            raise DocumentFaultError(faults, StoreWritten(len(documents) - len(bad), 0))

        def close(self) -> None:
            pass

    batches = [["good", "bad"], ["good"], ["bad", "good", "bad"]]
    mint = Mint()
    sealed = [seal_logs([log_record(body=text) for text in batch], SOURCE, mint) for batch in batches]
    found = records([message for (message,) in sealed])
    broken = Record(found[0].topic, 0, 99, found[0].append_time_ms, found[0].headers, b"")
    written = DocumentSink(Picky(), WriterSchemas(NoRegistry())).write(cut(broken, *found))
    assert written.items == 3
    assert [(f.record, f.reason, f.indexes) for f in written.faults[1:]] == [
        (found[0], "mapping", (1,)),
        (found[2], "mapping", (0, 2)),
    ]


def test_a_registry_that_is_away_or_behind_is_no_records_fault(root: Path) -> None:
    now = [0.0]
    registry = NoRegistry()
    sink = DocumentSink(TantivyWriter(root), WriterSchemas(registry, lambda: now[0]))
    (sealed,) = seal_logs([log_record()], SOURCE, Mint(), schema_id=77)
    headers = tuple((k, v if k != "hg.schema" else b"\7" * 16) for k, v in sealed.headers)
    found = records([replace(sealed, headers=headers)])
    for away in (True, False):
        registry.away = away
        with pytest.raises(StoreUnavailableError):
            sink.write(cut(*found))
    now[0] = 60.0
    (fault,) = sink.write(cut(*found)).faults
    assert fault.reason == "unknown_schema"
    sink.close()


def test_a_message_of_our_own_schema_needs_no_registry_whatever_its_id(root: Path) -> None:
    sink = DocumentSink(TantivyWriter(root), WriterSchemas(NoRegistry()))
    assert sink.write(cut(*records(seal_logs([log_record()], SOURCE, Mint(), schema_id=77)))).items == 1
    sink.close()


def test_the_group_says_where_reading_goes_on(sink: DocumentSink) -> None:
    assert sink.resume("log", TopicPartition("telemetry.logs", 0)) is None
