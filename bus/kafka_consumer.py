"""A member of a group on Kafka: the caller's side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from bus.errors import BusError, BusUnavailableError, FencedError
from bus.kafka_errors import REPLACED, Voice, error_of
from bus.kafka_pump import KafkaPump
from bus.kafka_settings import KafkaSettings
from bus.kafka_shelf import Held, Shelf
from bus.port import Listener, Partitions, Record, TopicPartition

_ASKS_PER_SESSION = 3


class KafkaConsumer:
    """The Consumer port. A thread of its own reads ahead; what the caller knows of is settled within poll() only."""

    def __init__(
        self,
        settings: KafkaSettings,
        voice: Voice,
        group: str,
        topics: Sequence[str],
        member: str,
        listener: Listener,
    ) -> None:
        self._voice = voice
        self._name = f"{member} of group {group}"
        self._listener = listener
        self._shelf = Shelf()
        self._told: dict[TopicPartition, Held] = {}
        self._turn = 0
        self._closed = False
        self._silence_s_max = settings.poll_interval_max_s
        self._polling = False
        self._polled_s = time.monotonic()
        ask_s = min(settings.request_timeout_s, settings.session_timeout_s / _ASKS_PER_SESSION)
        try:
            self._client = Consumer(settings.consumer(group, member) | {"error_cb": voice.hear})
            self._pump = KafkaPump(self._client, topics, self._shelf, voice, self._is_silent, ask_s)
        except KafkaException as error:
            raise voice.told(error, f"joining as {self._name}") from error

    def poll(self, timeout_s: float, bytes_max: int) -> Sequence[Record]:
        self._check_open()
        self._polling = True
        try:
            return self._poll(time.monotonic() + timeout_s, bytes_max)
        finally:
            self._polled_s = time.monotonic()
            self._polling = False

    def position(self, where: TopicPartition) -> int:
        return self._held(where).position

    def seek(self, where: TopicPartition, offset: int) -> None:
        with self._shelf.changed:
            self._held(where).seek(offset)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._set_paused(partitions, True)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._set_paused(partitions, False)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            return
        self._check_open()
        try:
            with self._shelf.committing:
                self._check_ours(offsets)
                self._commit([KafkaPartition(w.topic, w.partition, offset) for w, offset in offsets.items()])
        except FencedError:
            with self._shelf.changed:
                self._shelf.start_over()
            raise
        self._voice.answered()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._revoke(frozenset(self._told))
        finally:
            self._pump.stop()

    def _poll(self, deadline: float, bytes_max: int) -> Sequence[Record]:
        while True:
            self._settle()
            with self._shelf.changed:
                if not self._is_settled():
                    continue
                self._turn += 1
                if records := self._shelf.take(self._told, self._turn, bytes_max):
                    return records
                trouble, self._shelf.trouble = self._shelf.trouble, None
                if trouble is not None:
                    raise trouble
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return []
                self._shelf.changed.wait(left_s)

    def _settle(self) -> None:
        """Tell the listener what has come and gone."""
        with self._shelf.changed:
            held, replaced = dict(self._shelf.held), self._shelf.replaced
        self._revoke(frozenset(where for where, told in self._told.items() if held.get(where) is not told))
        if replaced is not None:
            raise FencedError(f"{self._name}: {replaced}")
        gained = {where: one for where, one in held.items() if where not in self._told}
        if not gained:
            return
        self._told |= gained
        try:
            self._listener.assigned(frozenset(gained))
        except BaseException:
            # Not told, so not ours yet: the next poll tries again before it delivers anything.
            for where in gained:
                del self._told[where]
            raise

    def _is_settled(self) -> bool:
        return self._shelf.replaced is None and self._shelf.held == self._told

    def _revoke(self, partitions: Partitions) -> None:
        if partitions:
            for where in partitions:
                del self._told[where]
            self._listener.revoked(partitions)

    def _check_ours(self, offsets: Iterable[TopicPartition]) -> None:
        with self._shelf.changed:
            if self._shelf.replaced is not None:
                raise FencedError(f"{self._name}: {self._shelf.replaced}")
            if self._shelf.given_up:
                raise FencedError(
                    f"{self._name} has not polled for so long that others may have taken over: poll again"
                )
            for where in offsets:
                if self._shelf.held.get(where) is not self._held(where):
                    raise _fenced(where)

    def _commit(self, offsets: list[KafkaPartition]) -> None:
        doing = f"committing as {self._name}"
        try:
            stored = self._client.commit(offsets=offsets, asynchronous=False) or []
            for one in stored:
                if one.error is not None:
                    raise KafkaException(one.error)
        except (KafkaException, RuntimeError) as error:
            said = error_of(error)
            if said is not None and (said.fatal() or said.code() in REPLACED):
                with self._shelf.changed:
                    self._shelf.replaced = FencedError(f"another process has taken this member's place ({said.name()})")
            raise self._voice.told(error, doing) from error

    def _set_paused(self, partitions: Iterable[TopicPartition], paused: bool) -> None:
        with self._shelf.changed:
            for where in partitions:
                if where in self._told:
                    self._told[where].paused = paused

    def _held(self, where: TopicPartition) -> Held:
        held = self._told.get(where)
        if held is None:
            raise _fenced(where)
        return held

    def _is_silent(self) -> bool:
        return not self._polling and time.monotonic() - self._polled_s > self._silence_s_max

    def _check_open(self) -> None:
        if self._closed:
            raise BusUnavailableError("this consumer has been closed")


def _fenced(where: TopicPartition) -> BusError:
    return FencedError(f"{where.topic}/{where.partition} is not ours any more: drop the work and poll again")
