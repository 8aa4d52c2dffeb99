"""A decoded log or span batch as documents, field by field as Elasticsearch's OpenTelemetry mapping has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from heliograph.identity import BatchId
from search.port import Document, Stream

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS_PER_S: Final = 1_000_000_000
_LONG_MAX: Final = 2**63 - 1
_DATASET: Final = "generic.otel"
_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")


def log_documents(batch: Mapping[str, Any], tenant: str) -> list[Document]:
    """One document per record of a log_batch."""
    shared = _shared(batch, "logs", tenant)
    return [
        _document(batch, index, record, record["time_unix_nano"], "logs", tenant, _log(record) | shared)
        for index, record in enumerate(batch["records"])
    ]


def span_documents(batch: Mapping[str, Any], tenant: str) -> list[Document]:
    """One document per span of a span_batch."""
    shared = _shared(batch, "traces", tenant)
    return [
        _document(batch, index, record, record["start_time_unix_nano"], "traces", tenant, _span(record) | shared)
        for index, record in enumerate(batch["records"])
    ]


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with nine decimals, exact."""
    seconds, nanos = divmod(time_ns, _NANOS_PER_S)
    return f"{_second(seconds)}.{nanos:09d}Z"


def attributes(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes as JSON can hold them: doubles that are no numbers become the texts NaN, Infinity and -Infinity."""
    if not any(isinstance(value, float) and not math.isfinite(value) for value in found.values()):
        return found
    return {key: _json_value(value) for key, value in found.items()}


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def _json_value(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _shared(batch: Mapping[str, Any], stream: Stream, tenant: str) -> dict[str, Any]:
    return {
        "resource": {"attributes": batch["resource"]},
        "scope": {"name": batch["scope_name"], "version": batch["scope_version"]},
        "data_stream": {"type": stream, "dataset": _DATASET, "namespace": tenant},
    }


def _document(
    batch: Mapping[str, Any],
    index: int,
    record: Mapping[str, Any],
    time_ns: int,
    stream: Stream,
    tenant: str,
    source: dict[str, Any],
) -> Document:
    hashed, minute = record["item_hash"], record["event_minute"]
    source["event_minute"] = minute
    source["item_hash"] = hashed
    id_ = BatchId(batch["producer_id"], batch["sequence"]).item(index)
    return Document(id_, stream, tenant, time_ns, hashed, minute, source)


def _log(record: Mapping[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = {
        "@timestamp": timestamp(record["time_unix_nano"]),
        "observed_timestamp": timestamp(record["observed_time_unix_nano"]),
        "severity_number": record["severity_number"],
        "severity_text": record["severity_text"],
        "body": {"text": record["body"]},
        "attributes": attributes(record["attributes"]),
        "flags": record["flags"],
    }
    if record["trace_id"]:
        source["trace_id"] = record["trace_id"].hex()
    if record["span_id"]:
        source["span_id"] = record["span_id"].hex()
    if record["truncated_bytes"]:
        source["truncated_bytes"] = record["truncated_bytes"]
    return source


def _span(record: Mapping[str, Any]) -> dict[str, Any]:
    start = record["start_time_unix_nano"]
    source: dict[str, Any] = {
        "@timestamp": timestamp(start),
        "trace_id": record["trace_id"].hex(),
        "span_id": record["span_id"].hex(),
        "name": record["name"],
        "kind": _word(_KINDS, record["kind"]),
        "duration": min(max(record["end_time_unix_nano"] - start, -_LONG_MAX), _LONG_MAX),
        "status": {"code": _word(_STATUSES, record["status_code"]), "message": record["status_message"]},
        "attributes": attributes(record["attributes"]),
        "events": [_event(event) for event in record["events"]],
        "links": [_link(link) for link in record["links"]],
        "flags": record["flags"],
    }
    if record["parent_span_id"]:
        source["parent_span_id"] = record["parent_span_id"].hex()
    if record["trace_state"]:
        source["trace_state"] = record["trace_state"]
    return source


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@timestamp": timestamp(event["time_unix_nano"]),
        "name": event["name"],
        "attributes": attributes(event["attributes"]),
    }


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": link["trace_id"].hex(),
        "span_id": link["span_id"].hex(),
        "attributes": attributes(link["attributes"]),
    }


def _word(words: Sequence[str], number: int) -> str:
    return words[number] if 0 <= number < len(words) else words[0]
