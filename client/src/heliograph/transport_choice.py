"""Where batches go: to the agent, to Kafka itself, or to a transport of the application's own."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Literal, TypeAlias

from .agent_transport import DEFAULT_ENDPOINT, AgentTransport
from .kafka_settings import PREFIX, KafkaSettings, from_environment
from .transport import Transport

ENDPOINT_VARIABLE = "HELIOGRAPH_ENDPOINT"
Wanted: TypeAlias = 'Transport | Literal["auto", "agent", "kafka"]'
Choice: TypeAlias = "str | KafkaSettings | Transport"
"""The agent's endpoint, the brokers, or the application's own; equal choices are one producer."""

_log = logging.getLogger("heliograph")


def choose(wanted: Wanted = "auto", endpoint: str | None = None, brokers: str | None = None) -> Choice:
    """An argument comes before its environment variable, as that is now; `auto` is Kafka where brokers are named, else the agent.

    Raises ValueError when an argument is wrong. A variable that is wrong is warned of and passed over.
    """
    if not isinstance(wanted, str):
        return wanted
    if wanted not in ("auto", "agent", "kafka"):
        raise ValueError(f"transport must be 'auto', 'agent', 'kafka' or a Transport, not {wanted!r}")
    if brokers and (endpoint or wanted == "agent"):
        raise ValueError("brokers are for Kafka, an endpoint is the agent's: give one of them")
    if wanted == "kafka" or brokers:
        return _kafka(brokers)
    if wanted == "auto" and not endpoint and (found := _kafka_of_environment()):
        return found
    return _endpoint(endpoint)


def open_transport(choice: Choice) -> Transport:
    """The transport itself, which connects to nothing yet. Raises ImportError when Kafka's library is not installed."""
    if isinstance(choice, str):
        return AgentTransport(choice)
    if isinstance(choice, KafkaSettings):
        # Only then, because most applications do without.
        from .kafka_transport import KafkaTransport

        return KafkaTransport(choice)
    return choice


def _kafka(brokers: str | None) -> KafkaSettings:
    try:
        found = from_environment(os.environ, brokers)
    except OSError as error:
        raise ValueError(f"a secret of Kafka cannot be read: {error}") from error
    if found is None:
        raise ValueError(f"no brokers: give `brokers`, or set {PREFIX}BROKERS")
    return found


def _kafka_of_environment() -> KafkaSettings | None:
    try:
        found = from_environment(os.environ)
    except (ValueError, OSError) as error:
        _log.warning("%sBROKERS is not used: %s", PREFIX, error)
        return None
    if found is not None and importlib.util.find_spec("confluent_kafka") is None:
        _log.warning("%sBROKERS is not used: it needs confluent-kafka: pip install 'heliograph[kafka]'", PREFIX)
        return None
    return found


def _endpoint(endpoint: str | None) -> str:
    if endpoint:
        return AgentTransport(endpoint).endpoint
    try:
        return AgentTransport(os.environ.get(ENDPOINT_VARIABLE, "").strip() or DEFAULT_ENDPOINT).endpoint
    except ValueError as error:
        _log.warning("%s is not used: %s", ENDPOINT_VARIABLE, error)
        return DEFAULT_ENDPOINT
