"""OTLP trace requests as spans: a pure conversion."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from collectors import otlp_values as values
from collectors.otlp_batch import Converted
from heliograph.records import Source, Span, SpanEvent, SpanLink

_TRACE_BYTES = 16
_SPAN_BYTES = 8


def spans(request: ExportTraceServiceRequest) -> Converted[Span]:
    """Spans by resource and scope; those without valid ids and times are refused."""
    converted: Converted[Span] = Converted([])
    for resource_spans in request.resource_spans:
        resource = values.resource(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            found: list[Span] = []
            for span in scope_spans.spans:
                fault = _fault(span)
                if fault:
                    converted.refused.add(fault)
                else:
                    found.append(_span(span))
            if found:
                source = Source(resource, scope_spans.scope.name, scope_spans.scope.version)
                converted.groups.append((source, found))
    return converted


def _fault(span: trace_pb2.Span) -> str:
    if not _is_id(span.trace_id, _TRACE_BYTES):
        return "a span whose trace_id is not 16 bytes, or all zero"
    if not _is_id(span.span_id, _SPAN_BYTES):
        return "a span whose span_id is not 8 bytes, or all zero"
    times = (span.start_time_unix_nano, span.end_time_unix_nano, *(e.time_unix_nano for e in span.events))
    return "a time after the year 2262" if max(times) > values.TIME_NS_MAX else ""


def _span(span: trace_pb2.Span) -> Span:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id if _is_id(span.parent_span_id, _SPAN_BYTES) else b"",
        "trace_state": span.trace_state,
        "name": span.name,
        "kind": int(span.kind),
        "start_time_unix_nano": span.start_time_unix_nano,
        "end_time_unix_nano": span.end_time_unix_nano,
        "status_code": int(span.status.code),
        "status_message": span.status.message,
        "attributes": values.attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "links": [_link(link) for link in span.links if _is_link(link)],
        "flags": span.flags & 0xFF,
    }


def _event(event: trace_pb2.Span.Event) -> SpanEvent:
    return {
        "time_unix_nano": event.time_unix_nano,
        "name": event.name,
        "attributes": values.attributes(event.attributes),
    }


def _link(link: trace_pb2.Span.Link) -> SpanLink:
    return {"trace_id": link.trace_id, "span_id": link.span_id, "attributes": values.attributes(link.attributes)}


def _is_link(link: trace_pb2.Span.Link) -> bool:
    return _is_id(link.trace_id, _TRACE_BYTES) and _is_id(link.span_id, _SPAN_BYTES)


def _is_id(raw: bytes, size: int) -> bool:
    return len(raw) == size and any(raw)
