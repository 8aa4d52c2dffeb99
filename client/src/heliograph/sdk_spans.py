"""Spans of OpenTelemetry's SDK as records of span_batch."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan

from .attributes import attributes, clean
from .records import Span


def record(span: ReadableSpan) -> Span:
    """The span; a start that is missing is 0, an end that is missing is the start."""
    context = span.get_span_context()
    start = span.start_time or 0
    return Span(
        trace_id=(context.trace_id if context else 0).to_bytes(16, "big"),
        span_id=(context.span_id if context else 0).to_bytes(8, "big"),
        parent_span_id=span.parent.span_id.to_bytes(8, "big") if span.parent else b"",
        trace_state=context.trace_state.to_header() if context else "",
        name=clean(span.name),
        kind=span.kind.value + 1,  # the API counts from internal = 0, the data model from unspecified = 0
        start_time_unix_nano=start,
        end_time_unix_nano=start if span.end_time is None else span.end_time,
        status_code=span.status.status_code.value,
        status_message=clean(span.status.description or ""),
        attributes=attributes(span.attributes),
        events=[
            {"time_unix_nano": e.timestamp, "name": clean(e.name), "attributes": attributes(e.attributes)}
            for e in span.events
        ],
        links=[
            {
                "trace_id": link.context.trace_id.to_bytes(16, "big"),
                "span_id": link.context.span_id.to_bytes(8, "big"),
                "attributes": attributes(link.attributes),
            }
            for link in span.links
        ],
        flags=int(context.trace_flags) if context else 0,
    )
