"""A router in a thread of the test, and messages for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from bus.port import Bus
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.records import LogRecord, Source, seal_logs
from routers.router import Router
from sinks.port import CutLimits, Sink

LIMITS = CutLimits(age_s=0.05, first_age_s=0.01, bytes_max=64 * 1024)
GROUP = "router.test"
DEADLINE_S = 40.0
_identity = ProducerIdentity()


def log_message(text: str = "hello", time_ns: int = 1_700_000_000_000_000_000, partition: int | None = None) -> Message:
    """One sealed batch with one log record."""
    record: LogRecord = {
        "time_unix_nano": time_ns, "observed_time_unix_nano": time_ns, "severity_number": 9, "severity_text": "INFO",
        "body": text, "attributes": {}, "trace_id": b"", "span_id": b"", "flags": 0,
    }  # fmt: skip
    (message,) = seal_logs([record], Source({"service.name": "shop"}), _identity.mint)
    if partition is None:
        return message
    return Message(message.topic, partition, message.headers, message.body)


def eventually(condition: Callable[[], object], what: Callable[[], str] = lambda: "it did not come about") -> None:
    """Poll until the condition holds; fails after a deadline, and says what is the case then."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)


class Running:
    """A router under test with its registry."""

    def __init__(self, bus: Bus, sink: Sink, member: str, bytes_budget: int, drain_s: float) -> None:
        self.registry = CollectorRegistry()
        self.stop = threading.Event()
        self.beats = 0
        self.router = Router(
            bus, sink, group=GROUP, member=member, stop=self.stop, registry=self.registry, beat=self._beat,
            jitter=lambda: 0.02, bytes_budget=bytes_budget, drain_s=drain_s,
        )  # fmt: skip
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _beat(self) -> None:
        self.beats += 1

    def _run(self) -> None:
        try:
            self.router.run()
        except BaseException as error:
            self.failure = error

    def value(self, name: str, **labels: str) -> float:
        """One sample of the router's own metrics."""
        return self.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(
    bus: Bus, sink: Sink, member: str = "one", bytes_budget: int = 1024 * 1024, drain_s: float = 5.0
) -> Iterator[Running]:
    """The router runs within; it is stopped and must have ended cleanly after."""
    it = Running(bus, sink, member, bytes_budget, drain_s)
    it.thread.start()
    try:
        yield it
    finally:
        it.stop.set()
        it.thread.join(DEADLINE_S)
        assert not it.thread.is_alive()
    assert it.failure is None, it.failure
