"""Heliograph's client: metrics, logs and traces as schema-checked batches that never block the application.

Importing it does nothing else: no thread, no I/O, and OpenTelemetry's SDK is imported when the first name that needs it
is asked for. `configure` is all that most applications call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent_transport import AgentTransport
    from .configuration import Handle, configure
    from .errors import HeliographError
    from .exporters import HeliographLogExporter, HeliographMetricExporter, HeliographSpanExporter
    from .kafka_settings import KafkaSettings
    from .kafka_transport import KafkaTransport
    from .logging_handler import HeliographHandler
    from .producer import Producer
    from .transport import Transport

__all__ = [
    "AgentTransport",
    "Handle",
    "HeliographError",
    "HeliographHandler",
    "HeliographLogExporter",
    "HeliographMetricExporter",
    "HeliographSpanExporter",
    "KafkaSettings",
    "KafkaTransport",
    "Producer",
    "Transport",
    "configure",
]

_HOMES = {
    "AgentTransport": "agent_transport",
    "Handle": "configuration",
    "HeliographError": "errors",
    "HeliographHandler": "logging_handler",
    "HeliographLogExporter": "exporters",
    "HeliographMetricExporter": "exporters",
    "HeliographSpanExporter": "exporters",
    "KafkaSettings": "kafka_settings",
    "KafkaTransport": "kafka_transport",
    "Producer": "producer",
    "Transport": "transport",
    "configure": "configuration",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'heliograph' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
