"""Sealed batches for tests."""

from __future__ import annotations

from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.records import LogRecord, Source, seal_logs

IDENTITY = ProducerIdentity()
SOURCE = Source({"service.name": "shop"})


def log_record(body: str, time_ns: int = 1_700_000_000_000_000_000) -> LogRecord:
    return {
        "time_unix_nano": time_ns,
        "observed_time_unix_nano": time_ns,
        "severity_number": 9,
        "severity_text": "INFO",
        "body": body,
        "attributes": {},
        "trace_id": b"",
        "span_id": b"",
        "flags": 0,
    }


def log_batch(*bodies: str) -> Message:
    (message,) = seal_logs([log_record(b) for b in bodies], SOURCE, IDENTITY.mint)
    return message
