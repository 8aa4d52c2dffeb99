"""The producer of exporters that are given none: one per endpoint, made when first asked for."""

from __future__ import annotations

import logging
import os

from .agent_transport import DEFAULT_ENDPOINT, AgentTransport
from .producer import Producer

ENDPOINT_VARIABLE = "HELIOGRAPH_ENDPOINT"
_log = logging.getLogger("heliograph")
_producers: dict[str, Producer] = {}


def agent_transport(endpoint: str | None = None) -> AgentTransport:
    """To `endpoint`, else to HELIOGRAPH_ENDPOINT as it is now, else to the default.

    Raises ValueError when the argument is no URL; a variable that is none is warned of and passed over.
    """
    if endpoint:
        return AgentTransport(endpoint)
    try:
        return AgentTransport(os.environ.get(ENDPOINT_VARIABLE, "").strip() or DEFAULT_ENDPOINT)
    except ValueError as error:
        _log.warning("%s is not used: %s", ENDPOINT_VARIABLE, error)
        return AgentTransport()


def default_producer() -> Producer:
    """The shared producer for HELIOGRAPH_ENDPOINT as it is now."""
    transport = agent_transport()
    return _producers.setdefault(transport.endpoint, Producer(transport))
