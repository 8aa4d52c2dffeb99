"""Log records of OpenTelemetry's SDK as records of log_batch."""

from __future__ import annotations

from opentelemetry.sdk._logs import ReadableLogRecord

from .attributes import attributes, clean, text
from .records import LogRecord


def record(readable: ReadableLogRecord) -> LogRecord:
    """The record; without a timestamp it happened when it was observed, structured bodies become JSON."""
    log = readable.log_record
    observed = log.observed_timestamp or log.timestamp or 0
    found = attributes(log.attributes)
    if log.event_name:
        found["event.name"] = clean(log.event_name)
    return LogRecord(
        time_unix_nano=log.timestamp or observed,
        observed_time_unix_nano=observed,
        severity_number=log.severity_number.value if log.severity_number else 0,
        severity_text=clean(log.severity_text or ""),
        body="" if log.body is None else text(log.body),
        attributes=found,
        trace_id=log.trace_id.to_bytes(16, "big") if log.trace_id else b"",
        span_id=log.span_id.to_bytes(8, "big") if log.span_id else b"",
        flags=int(log.trace_flags or 0),
    )
