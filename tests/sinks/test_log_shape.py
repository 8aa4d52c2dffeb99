"""Log batches as JSON text: the same documents, and the same lines for Elasticsearch, as when each is an object."""

from __future__ import annotations

import math
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from heliograph import contracts
from heliograph.identity import BatchId
from heliograph.records import LogRecord, Source, decode_batch, seal_logs
from search.elastic_document import VALUE_CHARS_MAX, Lines
from sinks.log_shape import log_documents

_BATCH = BatchId(bytes(range(16)), 31)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["%", "%%d", '"}', "null", "\0", "x" * (VALUE_CHARS_MAX + 1)]
)
_ATTRIBUTES = st.dictionaries(_TEXTS, _TEXTS | _INT64 | st.floats() | st.booleans(), max_size=3)


@st.composite
def _record(draw: st.DrawFn) -> LogRecord:
    return {
        "time_unix_nano": draw(_INT64),
        "observed_time_unix_nano": draw(_INT64),
        "severity_number": draw(st.integers(0, 24)),
        "severity_text": draw(_TEXTS),
        "body": draw(_TEXTS),
        "attributes": draw(_ATTRIBUTES),
        "trace_id": draw(st.sampled_from([b"", bytes(range(16))])),
        "span_id": draw(st.sampled_from([b"", bytes(range(8))])),
        "flags": draw(st.integers(0, 255)),
    }


_BATCHES = st.lists(_record(), min_size=1, max_size=5)
_SOURCES = st.builds(Source, st.dictionaries(_TEXTS, _TEXTS, max_size=3), _TEXTS, _TEXTS)


def _decoded(records: list[LogRecord], source: Source) -> list[dict[str, Any]]:
    """Batches: records of one trace are together."""
    messages = seal_logs(records, source, lambda: _BATCH)
    return [decode_batch(message.body, contracts.schema("log_batch")) for message in messages]


def _json(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@given(_BATCHES, _SOURCES)
def test_each_source_says_what_its_record_says(records: list[LogRecord], source: Source) -> None:
    pairs = [
        (index, document, record)
        for batch in _decoded(records, source)
        for index, (document, record) in enumerate(zip(log_documents(batch, "acme"), batch["records"], strict=True))
    ]
    assert len(pairs) == len(records)
    for index, document, record in pairs:
        assert document.id == _BATCH.item(index)
        assert (document.time_ns, document.item_hash) == (record["time_unix_nano"], record["item_hash"])
        assert document.event_minute == record["event_minute"]
        found = document.source
        assert found["body"] == {"text": record["body"]}
        assert found["attributes"] == {key: _json(value) for key, value in record["attributes"].items()}
        assert found["severity_text"] == record["severity_text"]
        assert found.get("trace_id", "") == record["trace_id"].hex()
        assert found.get("span_id", "") == record["span_id"].hex()
        assert found["resource"] == {"attributes": source.resource}
        assert found["scope"] == {"name": source.scope_name, "version": source.scope_version}
        assert found["data_stream"] == {"type": "logs", "dataset": "generic.otel", "namespace": "acme"}


@given(_BATCHES, _SOURCES)
def test_a_batchs_lines_are_its_documents_lines(records: list[LogRecord], source: Source) -> None:
    for batch in _decoded(records, source):
        documents = log_documents(batch, "default")
        one_by_one = [Lines().of(document) for document in documents]
        assert _parsed(Lines().of_encoded(documents)) == _parsed(one_by_one)


def test_some_of_a_batch_keep_what_is_theirs() -> None:
    records: list[LogRecord] = [
        {
            "time_unix_nano": at, "observed_time_unix_nano": at, "severity_number": 9, "severity_text": "", "body": str(at),
            "attributes": {}, "trace_id": b"", "span_id": b"", "flags": 0,
        }
        for at in range(4)
    ]  # fmt: skip
    (batch,) = _decoded(records, Source({}))
    whole = log_documents(batch, "default")
    assert list(whole.only([1, 3])) == [whole[1], whole[3]] == list(whole[1::2])
    assert [document.id for document in whole.only([3])] == [_BATCH.item(3)]


def test_a_batch_without_records_has_no_documents() -> None:
    batch = {
        "producer_id": bytes(16),
        "sequence": 0,
        "resource": {},
        "scope_name": "",
        "scope_version": "",
        "records": [],
    }
    assert list(log_documents(batch, "default")) == []


def _parsed(lines: list[bytes]) -> list[list[object]]:
    return [[orjson.loads(part) for part in line.splitlines()] for line in lines]
