"""A broker that goes and comes back: what is said meanwhile, that nothing hangs, and that all goes on by itself."""

from __future__ import annotations

import time

import pytest

from bus.errors import BusUnavailableError, FencedError
from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Consumer
from heliograph.message import Message
from tests.contracts.bus_adapter import DEADLINE_S, PLENTY, Watch, commit_all, drain, message
from tests.servers.kafka import start_broker


def unavailable(bus: KafkaBus, sent: Message) -> bool:
    try:
        bus.produce([sent])
    except BusUnavailableError:
        return True
    return False


def commit_at_last(consumer: Consumer) -> None:
    """As a router does: what is fenced or not answered is polled for and tried again."""
    deadline = time.monotonic() + 2 * DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if records := consumer.poll(0.2, PLENTY):
                commit_all(consumer, records)
                return
        except (BusUnavailableError, FencedError):
            continue
    raise AssertionError("nothing could be committed")


def test_an_outage_is_unavailable_and_hangs_nobody_and_its_end_is_found() -> None:
    broker = start_broker()
    settings = KafkaSettings(
        broker.bootstrap, replication_factor=1, request_timeout_s=2.0, delivery_timeout_s=3.0, session_timeout_s=6.0
    )
    bus = KafkaBus(settings)
    bus.create_topics({"one": 1})
    bus.produce([message("one", 0, "before")])
    consumer = bus.consumer("g", ["one"], "a", Watch().listener())
    records = drain(consumer, 1)
    broker.server.kill()
    assert unavailable(bus, message("one", 0, "lost"))
    with pytest.raises((BusUnavailableError, FencedError)):
        commit_all(consumer, records)
    broker.server.start()
    deadline = time.monotonic() + DEADLINE_S
    while unavailable(bus, message("one", 0, "after")):
        assert time.monotonic() < deadline
    commit_at_last(consumer)
    assert bus.committed("g", "one")[0] >= 1
    broker.server.kill()
    consumer.close()
    bus.close()
