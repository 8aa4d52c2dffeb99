"""Heliograph's own log search: GET /api/logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from search.port import Document, DocumentReader, LogSearch

from . import params

TRUNCATED_BYTES = "heliograph.truncated_bytes"
"""Attribute of a record whose body was cut to fit."""
LIMIT_MAX = 1000


def log_search(request: Request) -> LogSearch:
    """The search that a request asks for; raises BadParameterError."""
    query = request.query_params
    return LogSearch(
        start_ns=params.time_ns(query, "start"),
        end_ns=params.time_ns(query, "end"),
        service=query.get("service") or None,
        severity=query.get("severity") or None,
        text=query.get("q", ""),
        limit=params.integer(query, "limit", 100, 1, LIMIT_MAX),
        cursor=query.get("cursor") or None,
    )


def as_record(document: Document) -> dict[str, Any]:
    """A document as the API shows it."""
    source = document.source
    resource = source.get("resource", {}).get("attributes", {})
    return {
        "id": document.id,
        "timestamp": source["@timestamp"],
        "service": resource.get("service.name", ""),
        "severity_text": source.get("severity_text", ""),
        "body": source.get("body", {}).get("text", ""),
        "trace_id": source.get("trace_id", ""),
        "span_id": source.get("span_id", ""),
        "attributes": _attributes(source),
        "resource": resource,
    }


def _attributes(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record's own, and how many bytes of its body were cut off, which a reader of the body must know."""
    attributes: Mapping[str, Any] = source.get("attributes", {})
    cut_bytes = source.get("truncated_bytes")
    return {**attributes, TRUNCATED_BYTES: cut_bytes} if cut_bytes else attributes


class Logs:
    """The endpoint over a document reader."""

    def __init__(self, reader: DocumentReader) -> None:
        self._reader = reader

    async def search(self, request: Request) -> Response:
        search = log_search(request)
        page = await run_in_threadpool(self._reader.logs, search)
        records = [as_record(d) for d in page.documents]
        body = orjson.dumps({"records": records, "total": page.total, "next": page.next})
        return Response(body, media_type="application/json")
