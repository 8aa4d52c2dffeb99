"""Keeps the embedded bus within its retention, from a thread of the agent's process."""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

import structlog

from bus.errors import BusError

INTERVAL_S: Final = 600.0


class Trimmed(Protocol):
    """A log that forgets what is past its retention."""

    def trim(self, now_ms: int) -> int:
        """Forget; returns how many messages went. Raises BusError."""
        ...


def start_trimming(bus: Trimmed, stop: threading.Event, log: structlog.stdlib.BoundLogger) -> threading.Thread:
    """Trim every INTERVAL_S until `stop`; a bus that is away is tried again at the next turn."""

    def run() -> None:
        while not stop.wait(INTERVAL_S):
            trim_once(bus, log)

    thread = threading.Thread(target=run, name="bus-retention", daemon=True)
    thread.start()
    return thread


def trim_once(bus: Trimmed, log: structlog.stdlib.BoundLogger) -> None:
    """Trim now; a bus that is away is logged."""
    try:
        removed = bus.trim(time.time_ns() // 1_000_000)
    except BusError as error:
        log.warning("bus not trimmed", error=str(error))
    else:
        log.debug("bus trimmed", messages=removed)
