"""The bus' contract on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import OFFSET_END
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from bus.kafka import KafkaBus
from bus.kafka_settings import KafkaSettings
from bus.port import Bus, Consumer
from tests.bus.child import kafka_settings
from tests.contracts.bus_adapter import DEADLINE_S, BusAdapter, Watch, commit_all, drain, message, poll_until
from tests.contracts.bus_group_suite import BusGroupSuite
from tests.contracts.bus_suite import BusConsumerSuite, BusLogSuite
from tests.servers.kafka import broker

_SESSION_TIMEOUT_S = 2.0
"""A busy machine may not let a member speak for a second."""


class KafkaAdapter:
    """Topics and groups of its own on the broker that all tests share."""

    def __init__(self, bootstrap: str) -> None:
        self.own = uuid.uuid4().hex[:12]
        self.spec = f"kafka|{bootstrap}/{self.own}.|{_SESSION_TIMEOUT_S}"
        self.settings: KafkaSettings = kafka_settings(f"{bootstrap}/{self.own}.", _SESSION_TIMEOUT_S)
        self._opened: list[Bus] = []

    def open(self) -> Bus:
        self._opened.append(KafkaBus(self.settings))
        return self._opened[-1]

    def forget_all(self, topic: str) -> None:
        admin = AdminClient(self.settings.connection())
        partitions = range(len(admin.list_topics(timeout=10).topics[topic].partitions))
        for done in admin.delete_records([KafkaPartition(topic, i, OFFSET_END) for i in partitions]).values():
            done.result(10)

    def close(self) -> None:
        for bus in self._opened:
            bus.close()


class _OnKafka:
    @pytest.fixture
    def adapter(self) -> Iterator[BusAdapter]:
        made = KafkaAdapter(broker().bootstrap)
        yield made
        made.close()

    @pytest.fixture
    def one(self, bus: Bus, adapter: KafkaAdapter) -> str:
        bus.create_topics({f"{adapter.own}.one": 1})
        return f"{adapter.own}.one"

    @pytest.fixture
    def four(self, bus: Bus, adapter: KafkaAdapter) -> str:
        bus.create_topics({f"{adapter.own}.four": 4})
        return f"{adapter.own}.four"


class TestKafkaLog(_OnKafka, BusLogSuite):
    pass


class TestKafkaConsumer(_OnKafka, BusConsumerSuite):
    pass


class TestKafkaGroup(_OnKafka, BusGroupSuite):
    def test_a_member_that_closes_does_not_keep_the_others_waiting_for_its_session(
        self, adapter: KafkaAdapter, four: str, join: Callable[..., Consumer]
    ) -> None:
        long = KafkaBus(replace(adapter.settings, session_timeout_s=4 * DEADLINE_S))
        watch = Watch()
        a, b = join(four, "a", at=long), join(four, "b", watch=watch, at=long)
        poll_until(lambda: len(watch.owned) == 2, a, b)
        a.close()
        poll_until(lambda: len(watch.owned) == 4, b)
        b.close()
        long.close()

    def test_a_first_life_that_closes_leaves_the_second_its_place(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, "x")])
        first = join(one, "same")
        drain(first, 1)
        second = join(one, "same")
        drain(second, 1)
        # It has not polled since, so it does not know yet.
        first.close()
        bus.produce([message(one, 0, "y")])
        records = drain(second, 1)
        commit_all(second, records)
        assert bus.committed("g", one) == {0: 2}

    def test_a_commit_does_not_wait_for_what_is_being_read(
        self, bus: Bus, one: str, join: Callable[..., Consumer]
    ) -> None:
        bus.produce([message(one, 0, f"{i}") for i in range(50)])
        consumer = join(one)
        records = drain(consumer, 50)
        # Each used to wait until reading paused, which it does when nobody has polled for long: the deadline of the test is far less.
        for record in records:
            consumer.commit({record.where: record.offset + 1})
        assert bus.committed("g", one) == {0: 50}
