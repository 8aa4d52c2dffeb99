"""The producer of exporters that are given none: one per place to send to, made when first asked for."""

from __future__ import annotations

from .producer import Producer
from .transport_choice import Choice, choose, open_transport

_producers: dict[Choice, Producer] = {}


def default_producer() -> Producer:
    """The shared producer for what HELIOGRAPH_KAFKA_BROKERS and HELIOGRAPH_ENDPOINT say now."""
    choice = choose()
    known = _producers.get(choice)
    return known or _producers.setdefault(choice, Producer(open_transport(choice)))
