"""What a program sends with `import heliograph` alone."""

from __future__ import annotations

from tests.e2e.running import ask, total
from tests.oracle.platform_under_test import Platform, wait_for

FOUND_S = 40.0


def test_its_log_record_is_found_with_its_trace(platform: Platform, shop_trace_id: str) -> None:
    wait_for("the log record", lambda: total(platform, service="shop", q="periwinkle") == 1, FOUND_S)
    (record,) = ask(platform, "/api/logs", service="shop", q="periwinkle")["records"]
    assert (record["body"], record["trace_id"]) == ("card periwinkle declined", shop_trace_id)
    assert record["attributes"]["order"] == 4711


def test_its_span_is_found(platform: Platform, shop_trace_id: str) -> None:
    def spans() -> list[str]:
        found = ask(platform, "/jaeger/api/traces", service="shop", limit=10)["data"]
        return [
            span["operationName"] for trace in found for span in trace["spans"] if trace["traceID"] == shop_trace_id
        ]

    wait_for("the span", lambda: spans() == ["pay the bill"], FOUND_S)
