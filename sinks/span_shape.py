"""A decoded span batch as documents, field by field as Elasticsearch's OpenTelemetry mapping has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from heliograph.identity import BatchId
from search.port import Document
from sinks.document_shape import attributes, shared, timestamp

_LONG_MAX: Final = 2**63 - 1
_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")


def span_documents(batch: Mapping[str, Any], tenant: str) -> list[Document]:
    """One document per span of a span_batch."""
    rest = shared(batch, "traces", tenant)
    batch_id = BatchId(batch["producer_id"], batch["sequence"])
    return [
        Document(
            batch_id.item(index),
            "traces",
            tenant,
            record["start_time_unix_nano"],
            record["item_hash"],
            record["event_minute"],
            _span(record) | rest | {"event_minute": record["event_minute"], "item_hash": record["item_hash"]},
        )
        for index, record in enumerate(batch["records"])
    ]


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
