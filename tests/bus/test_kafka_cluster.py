"""Three real brokers: one is killed under load, consumers come and go, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient

from bus.errors import BusError, BusUnavailableError, FencedError
from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Consumer
from heliograph.message import Message
from tests.contracts.bus_adapter import PLENTY, Watch
from tests.servers.kafka import Cluster, start_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
_DEADLINE_S = 120.0
_Identity = tuple[bytes, int]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = start_cluster(3)
    yield made
    for node in made.nodes.values():
        node.kill()


@pytest.fixture
def bus(cluster: Cluster) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaSettings(cluster.bootstrap, session_timeout_s=6.0))
    yield made
    made.close()


@pytest.fixture
def topic(bus: KafkaBus) -> str:
    """A topic of six partitions, three replicas each."""
    name = f"cluster.{uuid.uuid4().hex[:12]}"
    bus.create_topics({name: 6})
    return name


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def identity(headers: tuple[tuple[str, bytes], ...]) -> _Identity:
    found = dict(headers)
    return found["hg.producer_id"], int.from_bytes(found["hg.sequence"], "big")


class Load:
    """A thread that produces as the agent does: what is not acknowledged is sent again, unchanged but for its attempt."""

    def __init__(self, bus: KafkaBus, topic: str) -> None:
        self.acknowledged: set[_Identity] = set()
        self.sends: Counter[_Identity] = Counter()
        self.failures: list[str] = []
        self._bus, self._topic = bus, topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        producer_id, sequence = os.urandom(16), 0
        while not self._stop.is_set():
            messages = [self._message(producer_id, sequence + i) for i in range(12)]
            sequence += len(messages)
            while messages:
                self.sends.update(identity(m.headers) for m in messages)
                try:
                    self._bus.produce(messages)
                except BusUnavailableError as error:
                    self.failures.append(str(error))
                    messages = [m.again() for m in messages]
                else:
                    self.acknowledged.update(identity(m.headers) for m in messages)
                    messages = []

    def _message(self, producer_id: bytes, sequence: int) -> Message:
        headers = (
            ("hg.producer_id", producer_id),
            ("hg.sequence", sequence.to_bytes(8, "big")),
            ("hg.attempt", bytes(4)),
        )
        return Message(self._topic, sequence % 6, headers, sequence.to_bytes(8, "big") * 200)


class Reader:
    """A member in a thread of its own, which commits what it has noted; the last it reads it neither notes nor commits."""

    def __init__(self, bus: KafkaBus, topic: str, member: str, seen: dict[tuple[int, int], _Identity]) -> None:
        self.watch = Watch()
        self._seen = seen
        self._bus, self._topic, self._member = bus, topic, member
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        consumer = self._bus.consumer("g", [self._topic], self._member, self.watch.listener())
        try:
            while not self._stop.is_set():
                try:
                    self._turn(consumer)
                except (FencedError, BusUnavailableError):
                    # What was not committed comes again, here or elsewhere.
                    self._stop.wait(0.05)
            consumer.poll(0.2, PLENTY)
        except BusError:
            pass
        finally:
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        records = consumer.poll(0.2, PLENTY)
        self._seen.update({(r.partition, r.offset): identity(r.headers) for r in records})
        consumer.commit({r.where: consumer.position(r.where) for r in records})


def test_a_broker_that_is_killed_under_load_takes_nothing_acknowledged_along(
    cluster: Cluster, bus: KafkaBus, topic: str
) -> None:
    group = f"{uuid.uuid4().hex[:12]}."
    reading = KafkaBus(KafkaSettings(cluster.bootstrap, session_timeout_s=6.0, group_prefix=group))
    seen: dict[tuple[int, int], _Identity] = {}
    load, reader = Load(bus, topic), Reader(reading, topic, "a", seen)
    try:
        wait_for(lambda: len(load.acknowledged) > 500 and len(seen) > 100)
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        leader = int(admin.list_topics(topic, timeout=20).topics[topic].partitions[0].leader)
        cluster.nodes[leader].kill()
        at_kill = len(load.acknowledged)
        # Of every partition, so that those of the dead broker have new leaders.
        wait_for(lambda: len(load.acknowledged) > at_kill + 500)
        cluster.nodes[leader].start()
        at_start = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) > at_start + 500)
    finally:
        load.stop()
    wait_for(lambda: load.acknowledged <= set(seen.values()))
    reader.stop()
    in_the_log = Counter(seen.values())
    doubled = {one: count for one, count in in_the_log.items() if count > load.sends[one]}
    assert load.acknowledged <= in_the_log.keys()
    assert doubled == {}
    reading.close()


def test_consumers_that_are_restarted_one_after_the_other_lose_nothing(
    cluster: Cluster, bus: KafkaBus, topic: str
) -> None:
    group = f"{uuid.uuid4().hex[:12]}."
    reading = KafkaBus(KafkaSettings(cluster.bootstrap, session_timeout_s=6.0, group_prefix=group))
    seen: dict[tuple[int, int], _Identity] = {}
    load = Load(bus, topic)
    readers = {name: Reader(reading, topic, name, seen) for name in ("a", "b", "c")}
    try:
        wait_for(lambda: all(len(r.watch.owned) == 2 for r in readers.values()))
        for name in list(readers):
            readers.pop(name).stop()
            wait_for(lambda: sum(len(r.watch.owned) for r in readers.values()) == 6)
            readers[name] = Reader(reading, topic, name, seen)
            wait_for(lambda: all(len(r.watch.owned) == 2 for r in readers.values()))
        before = len(seen)
        wait_for(lambda: len(seen) > before + 100)
    finally:
        load.stop()
    wait_for(lambda: load.acknowledged <= set(seen.values()))
    for reader in readers.values():
        reader.stop()
    assert load.failures == []
    assert set(Counter(seen.values()).values()) == {1}
    reading.close()
