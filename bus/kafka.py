"""The bus on a Kafka cluster."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from bus.errors import BusError, BusUnavailableError, OversizeError, UnknownTopicError
from bus.kafka_consumer import KafkaConsumer
from bus.kafka_errors import Voice, error_of
from bus.kafka_producer import KafkaProducer
from bus.kafka_settings import KafkaSettings
from bus.kafka_topics import check_topic, new_topic
from bus.port import MESSAGE_BYTES_MAX, Listener
from heliograph.message import Message


class KafkaBus:
    """The Bus port on a cluster. Nothing is asked of it before the first call; not to be used across a fork.

    `produce` cannot undo what a part of a call has written: after BusUnavailableError any of its messages may be in the log.
    A consumer that closes hands over after the session timeout, because its membership is static.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._voice = Voice(settings.bootstrap)
        self._admin = AdminClient(settings.connection())
        self._producer = KafkaProducer(settings, self._voice)
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = False

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Those that are there must use the log's append time and take a full message."""
        for topic, count in partitions.items():
            try:
                found = self._describe(topic)
            except UnknownTopicError:
                self._create(topic, count)
                found = self._describe(topic)
            if len(found.partitions) != count:
                raise BusError(
                    f"topic {topic} has {len(found.partitions)} partitions, not {count}: partitions never change in place"
                )
            self._call(f"checking {topic}", check_topic, self._admin, topic, self._timeout_s)

    def partitions(self, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = len(self._describe(topic).partitions)
            with self._lock:
                self._counts[topic] = count
        return count

    def log_id(self, topic: str) -> str:
        return str(self._describe(topic).topic_id)

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        if not messages:
            return []
        self._check_open()
        for message in messages:
            if message.size_bytes > MESSAGE_BYTES_MAX:
                raise OversizeError(message.topic, message.size_bytes, MESSAGE_BYTES_MAX)
        for topic, partition in {(m.topic, m.partition) for m in messages}:
            if not 0 <= partition < self.partitions(topic):
                raise UnknownTopicError(f"no partition {partition} of {topic}: it has {self.partitions(topic)}")
        try:
            return self._producer.produce(messages)
        except BusUnavailableError:
            # A topic may have been deleted since: the next call asks again.
            with self._lock:
                self._counts.clear()
            raise

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        wanted = {KafkaPartition(topic, i): OffsetSpec.latest() for i in range(self._fresh_count(topic))}
        doing = f"asking for the end of {topic}"
        asked = self._call(doing, self._admin.list_offsets, wanted)
        return {where.partition: int(self._result(doing, future).offset) for where, future in asked.items()}

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        name = self._settings.group_prefix + group
        wanted = [KafkaPartition(topic, i) for i in range(self._fresh_count(topic))]
        doing = f"asking what {name} has committed"
        asked = self._call(doing, self._admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(name, wanted)])
        found = self._result(doing, asked[name]).topic_partitions
        for one in found:
            if one.error is not None:
                raise self._voice.told(KafkaException(one.error), doing)
        return {int(one.partition): int(one.offset) for one in found if one.offset >= 0}

    def consumer(self, group: str, topics: Sequence[str], member: str, listener: Listener) -> KafkaConsumer:
        for topic in topics:
            self._fresh_count(topic)
        name = self._settings.group_prefix + group
        return KafkaConsumer(self._settings, self._voice, name, topics, member, listener)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._producer.close()

    @property
    def _timeout_s(self) -> float:
        return self._settings.request_timeout_s

    def _create(self, topic: str, count: int) -> None:
        doing = f"making topic {topic}"
        brokers = len(self._call(doing, self._admin.list_topics, timeout=self._timeout_s).brokers)
        if brokers < self._settings.replication_factor:
            raise BusUnavailableError(
                f"{doing}: the cluster has {brokers} brokers now; start {self._settings.replication_factor}, or set a smaller"
                " replication_factor"
            )
        made = self._call(
            doing, self._admin.create_topics, [new_topic(topic, count, self._settings.replication_factor)]
        )
        try:
            made[topic].result(self._timeout_s)
        except Exception as error:
            said = error_of(error)
            if said is None or said.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._voice.told(error, doing) from error

    def _fresh_count(self, topic: str) -> int:
        """Asks again, so that a topic that was deleted is found out."""
        return len(self._describe(topic).partitions)

    def _describe(self, topic: str) -> TopicDescription:
        # Asking for the metadata of one topic would make it where brokers make topics on demand; this never does.
        doing = f"asking about {topic}"
        asked = self._call(
            doing, self._admin.describe_topics, TopicCollection([topic]), request_timeout=self._timeout_s
        )
        found: TopicDescription = self._result(doing, asked[topic])
        return found

    def _call(self, doing: str, call: Any, *arguments: Any, **named: Any) -> Any:
        self._check_open()
        try:
            return call(*arguments, **named)
        except BusError:
            raise
        except Exception as error:
            raise self._voice.told(error, doing) from error

    def _result(self, doing: str, future: Any) -> Any:
        try:
            found = future.result(self._timeout_s + 1.0)
        except Exception as error:
            raise self._voice.told(error, doing) from error
        self._voice.answered()
        return found

    def _check_open(self) -> None:
        if self._closed:
            raise BusUnavailableError("this bus has been closed")
