"""The start of `up` as a trace: one span for the whole, one for each role from its process to its readiness."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from heliograph.agent_transport import AgentTransport
from heliograph.errors import HeliographError
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.records import Source, Span, seal_spans

SERVICE = "heliograph-up"
_SEND_TIMEOUT_S = 2.0
_INTERNAL = 1


@dataclass(slots=True)
class StartupTrace:
    """Notes when roles start and become ready; times are nanoseconds since the epoch."""

    begun_ns: int
    started_ns: dict[str, int] = field(default_factory=dict)
    ready_ns: dict[str, int] = field(default_factory=dict)

    def event(self, kind: str, role: str, now_ns: int) -> None:
        """What the supervisor says; only the first start and the first readiness of a role count."""
        if kind == "started":
            self.started_ns.setdefault(role, now_ns)
        elif kind == "ready":
            self.ready_ns.setdefault(role, now_ns)

    def messages(self, now_ns: int, resource: Mapping[str, str]) -> list[Message]:
        """The trace as sealed batches."""
        trace_id, root_id = os.urandom(16), os.urandom(8)
        spans = [_span(trace_id, root_id, b"", "heliograph up", self.begun_ns, now_ns)]
        for role, started_ns in self.started_ns.items():
            ready_ns = self.ready_ns.get(role, now_ns)
            spans.append(_span(trace_id, os.urandom(8), root_id, f"start {role}", started_ns, ready_ns))
        return seal_spans(spans, Source({**resource, "service.name": SERVICE}), ProducerIdentity().mint)


def send(messages: list[Message], endpoint: str, token: str) -> str | None:
    """Hand them to the agent once; why not, when it does not take them."""
    transport = AgentTransport(endpoint, token=token)
    try:
        transport.send(messages, _SEND_TIMEOUT_S)
    except HeliographError as error:
        return str(error)
    finally:
        transport.close()
    return None


def _span(trace_id: bytes, span_id: bytes, parent: bytes, name: str, start_ns: int, end_ns: int) -> Span:
    return Span(
        trace_id=trace_id, span_id=span_id, parent_span_id=parent, trace_state="", name=name, kind=_INTERNAL,
        start_time_unix_nano=start_ns, end_time_unix_nano=end_ns, status_code=0, status_message="",
        attributes={}, events=[], links=[], flags=1,
    )  # fmt: skip
