"""Learns a real registry's ids from a thread, so that a registry that is away holds up nobody."""

from __future__ import annotations

import threading
from typing import Final

import structlog

from bus.registry import Registry, RegistryError
from heliograph import contracts

AGAIN_S: Final = 5.0


def start_learning(registry: Registry, stop: threading.Event, log: structlog.stdlib.BoundLogger) -> threading.Thread:
    """Register every topic's schema and frame by the registry's ids from then on; tried again until it succeeds, or `stop`."""

    def run() -> None:
        reason = _trouble(registry)
        while reason:
            log.warning("schemas are not registered yet", reason=reason)
            before = reason
            while reason == before:
                if stop.wait(AGAIN_S):
                    return
                reason = _trouble(registry)

    thread = threading.Thread(target=run, name="schema-ids", daemon=True)
    thread.start()
    return thread


def _trouble(registry: Registry) -> str:
    try:
        for topic in contracts.topics().values():
            schema = contracts.schema(topic.schema)
            contracts.learn(schema, registry.register(f"{topic.name}-value", schema))
    except RegistryError as error:
        return str(error)
    return ""
