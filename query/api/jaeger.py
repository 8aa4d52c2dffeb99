"""Jaeger's query API as Grafana's data source calls it, under /jaeger/api."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from search.port import Document, DocumentReader, TraceSearch

from . import params

_DURATION_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TRACE_ID_HEX = 32


def as_trace(documents: Sequence[Document]) -> dict[str, Any]:
    """Spans of one trace in Jaeger's JSON: times in microseconds, one process per distinct resource."""
    processes: dict[str, dict[str, Any]] = {}
    names: dict[bytes, str] = {}
    spans = []
    for document in documents:
        resource = document.source.get("resource", {}).get("attributes", {})
        key = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
        process = names.setdefault(key, f"p{len(names) + 1}")
        if process not in processes:
            tags = _tags({k: v for k, v in resource.items() if k != "service.name"})
            processes[process] = {"serviceName": resource.get("service.name", "unknown_service"), "tags": tags}
        spans.append(_span(document, process))
    return {"traceID": documents[0].source["trace_id"], "spans": spans, "processes": processes, "warnings": None}


def _span(document: Document, process: str) -> dict[str, Any]:
    source = document.source
    trace_id = source["trace_id"]
    parent = source.get("parent_span_id", "")
    references = [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}] if parent else []
    references += [
        {"refType": "FOLLOWS_FROM", "traceID": link["trace_id"], "spanID": link["span_id"]}
        for link in source.get("links", [])
    ]
    return {
        "traceID": trace_id,
        "spanID": source["span_id"],
        "operationName": source.get("name", ""),
        "references": references,
        "startTime": document.time_ns // 1000,
        "duration": int(source.get("duration", 0)) // 1000,
        "tags": _tags(source.get("attributes", {})) + _intrinsics(source),
        "logs": [_event(event) for event in source.get("events", [])],
        "processID": process,
        "warnings": None,
    }


def _intrinsics(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    tags: dict[str, Any] = {"span.kind": str(source.get("kind", "")).lower() or "internal"}
    status = source.get("status", {})
    code = str(status.get("code", "")).lower()
    if code and code != "unset":
        tags["otel.status_code"] = code.upper()
    if code == "error":
        tags["error"] = True
        if status.get("message"):
            tags["otel.status_description"] = status["message"]
    if source.get("scope", {}).get("name"):
        tags["otel.scope.name"] = source["scope"]["name"]
    return _tags(tags)


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    fields = _tags({"event": event.get("name", ""), **event.get("attributes", {})})
    return {"timestamp": int(event.get("time_unix_nano", 0)) // 1000, "fields": fields}


def _tags(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = {bool: "bool", int: "int64", float: "float64"}
    return [{"key": k, "type": kinds.get(type(v), "string"), "value": v} for k, v in sorted(attributes.items())]


def trace_search(request: Request) -> TraceSearch:
    """The search of GET /api/traces: start and end in microseconds, durations such as 1.5ms, tags as a JSON object of strings."""
    query = request.query_params
    start = params.integer(query, "start", -1, -1, 2**53)
    end = params.integer(query, "end", -1, -1, 2**53)
    return TraceSearch(
        service=query.get("service") or None,
        operation=query.get("operation") or None,
        attributes=_search_tags(query.get("tags", "")),
        start_ns=start * 1000 if start >= 0 else None,
        end_ns=end * 1000 if end >= 0 else None,
        duration_min_ns=_duration_ns(query, "minDuration"),
        duration_max_ns=_duration_ns(query, "maxDuration"),
        limit=params.integer(query, "limit", 20, 1, 200),
    )


def _search_tags(text: str) -> dict[str, str] | None:
    if not text:
        return None
    try:
        tags = orjson.loads(text)
    except orjson.JSONDecodeError:
        tags = None
    if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
        raise params.BadParameterError('invalid parameter "tags": a JSON object of strings is expected')
    return tags


def _duration_ns(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    number = text.rstrip("nuµmsh")
    try:
        return round(float(number) * _DURATION_NS[text[len(number) :]])
    except (ValueError, KeyError):
        raise params.BadParameterError(
            f'invalid parameter "{name}": "{text}" is not a duration such as 1.5ms'
        ) from None


def _envelope(data: Sequence[Any] | None, status: int = 200, errors: list[dict[str, Any]] | None = None) -> Response:
    body = {"data": data, "total": len(data or ()), "limit": 0, "offset": 0, "errors": errors}
    return Response(orjson.dumps(body), status, media_type="application/json")


class Jaeger:
    """The endpoints over a document reader; errors in Jaeger's envelope."""

    def __init__(self, reader: DocumentReader, tenant: str = "default") -> None:
        self._reader = reader
        self._tenant = tenant

    def routes(self) -> list[Route]:
        """Relative to /jaeger."""
        return [
            Route("/api/services", self.services),
            Route("/api/services/{service}/operations", self.operations),
            Route("/api/traces", self.traces),
            Route("/api/traces/{trace_id}", self.trace),
            Route("/api/dependencies", self.dependencies),
        ]

    async def services(self, request: Request) -> Response:
        return _envelope(list(await run_in_threadpool(self._reader.services, self._tenant)))

    async def operations(self, request: Request) -> Response:
        service = request.path_params["service"]
        return _envelope(list(await run_in_threadpool(self._reader.operations, self._tenant, service)))

    async def traces(self, request: Request) -> Response:
        found = await run_in_threadpool(self._reader.traces, trace_search(request))
        return _envelope([as_trace(spans) for spans in found if spans])

    async def trace(self, request: Request) -> Response:
        trace_id = request.path_params["trace_id"].lower().rjust(_TRACE_ID_HEX, "0")
        if len(trace_id) != _TRACE_ID_HEX or set(trace_id) - set("0123456789abcdef"):
            return _envelope(None, 400, [{"code": 400, "msg": "a trace id is 32 hexadecimal digits"}])
        spans = await run_in_threadpool(self._reader.trace, self._tenant, trace_id)
        if not spans:
            return _envelope(None, 404, [{"code": 404, "msg": "trace not found"}])
        return _envelope([as_trace(spans)])

    async def dependencies(self, request: Request) -> Response:
        return _envelope([])
