"""The source port: whatever the agent collects from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


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
