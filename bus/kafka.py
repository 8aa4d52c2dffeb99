"""The bus on a Kafka cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from bus.errors import BusConfigError, BusError, BusUnavailableError, OversizeError, UnknownTopicError
from bus.kafka_check import at_making, at_start, check_cluster
from bus.kafka_consumer import KafkaConsumer
from bus.kafka_errors import Voice, error_of
from bus.kafka_producer import KafkaProducer
from bus.kafka_settings import KafkaSettings
from bus.kafka_topics import check_topic, new_topic
from bus.port import MESSAGE_BYTES_MAX, Listener
from heliograph.message import Message

_Found = TypeVar("_Found")
_AGAIN_S: Final = 0.05


class KafkaBus:
    """The Bus port on a cluster. Nothing is asked of it before the first call; not to be used across a fork.

    `produce` cannot undo what a part of a call has written: after BusUnavailableError any of its messages may be in the log.
    What the operator has to change is a BusConfigError of the constructor, `check` and `create_topics`; later it is unavailable.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._voice = Voice(settings.bootstrap)
        with at_making(settings):
            self._admin = AdminClient({**settings.connection(), "error_cb": self._voice.hear})  # type: ignore[dict-item]
            self._producer = KafkaProducer(settings, self._voice)
        self._counts: dict[str, int] = {}
        self._news_until_s: dict[str, float] = {}
        """Until when a topic that was made here may be unknown to a broker that has not heard of it yet."""
        self._lock = threading.Lock()
        self._closed = False

    def check(self) -> None:
        """Whether the cluster lets us in. Raises BusConfigError with what to do, BusUnavailableError."""
        self._check_open()
        check_cluster(self._admin, self._settings, self._voice)

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Those that are there must use the log's append time, take a full message and keep what is acknowledged.

        With `create_topics` off in the settings none is made. Raises BusConfigError.
        """
        with at_start(self._settings, self._voice):
            for topic, count in partitions.items():
                self._create_or_check(topic, count)

    def partitions(self, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = len(self._describe(topic).partitions)
            with self._lock:
                self._counts[topic] = count
        return count

    def log_id(self, topic: str) -> str:
        return path_safe(str(self._describe(topic).topic_id))

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

    def _create_or_check(self, topic: str, count: int) -> None:
        try:
            found = self._describe(topic)
        except UnknownTopicError as error:
            if not self._settings.create_topics:
                raise BusConfigError(
                    f"topic {topic} is missing: make it with {count} partitions, or set `create_topics`"
                ) from error
            self._create(topic, count)
            found = self._describe(topic)

        def check() -> None:
            self._call(f"checking {topic}", check_topic, self._admin, topic, found, count, self._timeout_s)

        self._patiently(topic, check)

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
        self._news_until_s[topic] = time.monotonic() + self._timeout_s

    def _fresh_count(self, topic: str) -> int:
        """Asks again, so that a topic that was deleted is found out."""
        return len(self._describe(topic).partitions)

    def _describe(self, topic: str) -> TopicDescription:
        return self._patiently(topic, lambda: self._describe_now(topic))

    def _patiently(self, topic: str, ask: Callable[[], _Found]) -> _Found:
        while True:
            try:
                return ask()
            except UnknownTopicError:
                if time.monotonic() > self._news_until_s.get(topic, 0.0):
                    raise
            time.sleep(_AGAIN_S)

    def _describe_now(self, topic: str) -> TopicDescription:
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


def path_safe(topic_id: str) -> str:
    """Kafka's own spelling of a topic's id (base64 for URLs); the client's has characters that names of files and objects cannot hold."""
    return topic_id.translate(str.maketrans("+/", "-_"))
