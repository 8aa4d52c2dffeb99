"""OTLP log requests as log records: a pure conversion."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2

from collectors import otlp_values as values
from collectors.otlp_batch import Converted
from heliograph.records import LogRecord, Source


def log_records(request: ExportLogsServiceRequest, received_ns: int) -> Converted[LogRecord]:
    """Records by resource and scope; a record without any time gets `received_ns`."""
    converted: Converted[LogRecord] = Converted([])
    for resource_logs in request.resource_logs:
        resource = values.resource(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            records: list[LogRecord] = []
            for record in scope_logs.log_records:
                if max(record.time_unix_nano, record.observed_time_unix_nano) > values.TIME_NS_MAX:
                    converted.refused.add("a time after the year 2262")
                else:
                    records.append(_record(record, received_ns))
            if records:
                source = Source(resource, scope_logs.scope.name, scope_logs.scope.version)
                converted.groups.append((source, records))
    return converted


def _record(record: logs_pb2.LogRecord, received_ns: int) -> LogRecord:
    observed_ns = record.observed_time_unix_nano or received_ns
    attributes = values.attributes(record.attributes)
    if record.event_name:
        attributes.setdefault("event.name", record.event_name)
    return {
        "time_unix_nano": record.time_unix_nano or observed_ns,
        "observed_time_unix_nano": observed_ns,
        "severity_number": int(record.severity_number),
        "severity_text": record.severity_text,
        "body": values.text(record.body),
        "attributes": attributes,
        "trace_id": _id(record.trace_id, 16),
        "span_id": _id(record.span_id, 8),
        "flags": record.flags & 0xFF,
    }


def _id(raw: bytes, size: int) -> bytes:
    """An id that is not one is no reason to refuse a log line."""
    return raw if len(raw) == size and any(raw) else b""
