"""Log records and spans that tests write to document stores."""

from __future__ import annotations

from typing import Any

from search.port import Document, Stream

DAY_NS = 86_400_000_000_000
NOW_NS = 20_000 * DAY_NS + 43_200_000_000_000
"""Noon of a day."""
_PRODUCER = "00112233445566778899aabbccddeeff"


def log(index: int, time_ns: int | None = None, tenant: str = "default", **source: Any) -> Document:
    """A log record; `source` replaces parts of it."""
    at = NOW_NS + index if time_ns is None else time_ns
    return _document("logs", index, at, tenant, {
        "@timestamp": str(at),
        "severity_number": 9,
        "severity_text": "INFO",
        "body": {"text": f"record number {index}"},
        "attributes": {},
        "resource": {"attributes": {"service.name": "shop"}},
    } | source)  # fmt: skip


def span(index: int, trace: int, time_ns: int | None = None, tenant: str = "default", **source: Any) -> Document:
    """A span of a trace; `source` replaces parts of it."""
    at = NOW_NS + index if time_ns is None else time_ns
    return _document("traces", index, at, tenant, {
        "@timestamp": str(at),
        "trace_id": trace_id(trace),
        "span_id": f"{index:016x}",
        "name": "GET /",
        "kind": "Server",
        "duration": 1_000,
        "attributes": {},
        "resource": {"attributes": {"service.name": "shop"}},
    } | source)  # fmt: skip


def trace_id(trace: int) -> str:
    return f"{trace + 1:032x}"


def of_service(name: str, **attributes: Any) -> dict[str, Any]:
    return {"attributes": {"service.name": name} | attributes}


def _document(stream: Stream, index: int, time_ns: int, tenant: str, source: dict[str, Any]) -> Document:
    hashed = (index * 2_654_435_761 + 17) % 2**32
    minute = max(0, time_ns // 60_000_000_000)
    return Document(f"{_PRODUCER}-{index // 16:x}-{index % 16:x}", stream, tenant, time_ns, hashed, minute, source)
