"""The agent's ports: what it collects from, and what takes the batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from heliograph.message import Message


class Source(Protocol):
    """Reads something and hands sealed batches to the outbox, in a thread of its own.

    A source that can read again moves its checkpoint only after the outbox has said that a batch is durable.
    """

    @property
    def name(self) -> str:
        """Unique within the agent; stable, for logs and metrics."""
        ...

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Collect until `stop` is set, then return within 4 s with everything released.

        Calls `beat` at least every second while it is well. May raise anything: the agent logs it, waits, and runs it again.
        """
        ...

    def status(self) -> dict[str, int | float | str]:
        """Counters and gauges by name, for people and for /metrics. From any thread, at any time; never blocks."""
        ...


class Appender(Protocol):
    """What a bus does for an outbox."""

    def produce(self, messages: Sequence[Message]) -> object:
        """All or none, in order; durable on return. Raises BusError: when it is BusUnavailableError, any of them may be there."""
        ...
