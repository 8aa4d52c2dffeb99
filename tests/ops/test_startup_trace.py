"""The start of `up` as a trace."""

from __future__ import annotations

from heliograph import contracts
from heliograph.records import decode_batch
from ops.startup_trace import StartupTrace, send


def test_each_role_is_a_span_from_its_first_start_to_its_first_readiness() -> None:
    trace = StartupTrace(begun_ns=100)
    for kind, role, at in (
        ("started", "agent", 110),
        ("ready", "agent", 150),
        ("ready", "agent", 190),
        ("started", "query", 120),
    ):
        trace.event(kind, role, at)
    (message,) = trace.messages(200, {"host.name": "h"})
    spans = decode_batch(message.body, contracts.schema("span_batch"))["records"]
    times = {s["name"]: (s["start_time_unix_nano"], s["end_time_unix_nano"]) for s in spans}
    assert times == {"heliograph up": (100, 200), "start agent": (110, 150), "start query": (120, 200)}
    assert {s["parent_span_id"] for s in spans[1:]} == {spans[0]["span_id"]}


def test_an_agent_that_is_away_costs_a_sentence() -> None:
    assert send(StartupTrace(1).messages(2, {}), "http://127.0.0.1:1", "t")
