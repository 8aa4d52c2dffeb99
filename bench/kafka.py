"""Messages through Kafka, as the tests' server runs it: appended by KafkaBus, read by its consumer, committed."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import Consumer, Producer

from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Listener, TopicPartition
from heliograph import contracts
from heliograph.message import Message
from tests.servers.kafka import start_broker

from .line import Line, Spent
from .load import log_messages

COUNT = 600_000
BATCH = 64
COMMITS = 100
_POLL_BYTES = 4 * 1024 * 1024
_DEADLINE_S = 120.0


def run(folder: Path) -> list[Line]:
    """The ceiling is the bare driver with the same settings; core-seconds are the client's, the broker's are not counted."""
    messages = log_messages(2, COUNT)
    size = sum(len(m.body) for m in messages)
    broker = start_broker()
    settings = KafkaSettings(broker.bootstrap, replication_factor=1)
    bus = KafkaBus(settings)
    try:
        bus.create_topics({contracts.LOGS_TOPIC: 4})
        append, bare_append = _append(bus, messages), _bare_append(settings, messages)
        read, bare_read = _read(bus, 2 * len(messages)), _bare_read(settings, 2 * len(messages))
        commit_s = _commit(bus)
    finally:
        bus.close()
        broker.server.kill()
    return [
        Line("append to Kafka", size / append.cpu_s / 1e6, "MB/core-s", size / bare_append.cpu_s / 1e6, "bare driver"),
        Line("append to Kafka", size / append.wall_s / 1e6, "MB/s", size / bare_append.wall_s / 1e6, "bare driver"),
        Line(
            "read from Kafka", 2 * size / read.cpu_s / 1e6, "MB/core-s", 2 * size / bare_read.cpu_s / 1e6, "bare driver"
        ),
        Line("read from Kafka", 2 * size / read.wall_s / 1e6, "MB/s", 2 * size / bare_read.wall_s / 1e6, "bare driver"),
        Line("commit to Kafka", commit_s * 1000, "ms"),
    ]


def _append(bus: KafkaBus, messages: list[Message]) -> Spent:
    with Spent() as spent:
        for first in range(0, len(messages), BATCH):
            bus.produce(messages[first : first + BATCH])
    return spent


def _bare_append(settings: KafkaSettings, messages: list[Message]) -> Spent:
    producer = Producer(settings.producer())
    with Spent() as spent:
        for first in range(0, len(messages), BATCH):
            for m in messages[first : first + BATCH]:
                producer.produce(m.topic, m.body, partition=m.partition, headers=list(m.headers))
            assert producer.flush(_DEADLINE_S) == 0
    return spent


def _read(bus: KafkaBus, count: int) -> Spent:
    consumer = bus.consumer("bench", [contracts.LOGS_TOPIC], "a", Listener(lambda _: None, lambda _: None))
    left, deadline = count, time.monotonic() + _DEADLINE_S
    with Spent() as spent:
        while left > 0:
            assert time.monotonic() < deadline
            left -= len(consumer.poll(0.2, _POLL_BYTES))
    consumer.close()
    return spent


def _bare_read(settings: KafkaSettings, count: int) -> Spent:
    consumer = Consumer(settings.consumer("bare", "a") | {"auto.offset.reset": "earliest"})
    consumer.subscribe([contracts.LOGS_TOPIC])
    left, deadline = count, time.monotonic() + _DEADLINE_S
    with Spent() as spent:
        while left > 0:
            assert time.monotonic() < deadline
            left -= sum(m.error() is None for m in consumer.consume(500, 0.2))
    consumer.close()
    return spent


def _commit(bus: KafkaBus) -> float:
    """Seconds of one, while the consumer goes on reading."""
    owned: set[TopicPartition] = set()
    consumer = bus.consumer("commits", [contracts.LOGS_TOPIC], "a", Listener(owned.update, owned.difference_update))
    deadline = time.monotonic() + _DEADLINE_S
    while not owned:
        assert time.monotonic() < deadline
        consumer.poll(0.2, 1)
    where = min(owned)
    began = time.monotonic()
    for offset in range(1, COMMITS + 1):
        consumer.commit({where: offset})
    took_s = (time.monotonic() - began) / COMMITS
    consumer.close()
    return took_s
