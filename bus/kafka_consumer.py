"""A member of a group on Kafka: the caller's side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import KafkaException

from bus.errors import BusUnavailableError, FencedError
from bus.kafka_errors import Voice
from bus.kafka_pump import KafkaPump
from bus.kafka_settings import KafkaSettings
from bus.kafka_shelf import Commit, Held, Shelf, fenced
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
        self._commit_s = settings.request_timeout_s
        ask_s = min(settings.request_timeout_s, settings.session_timeout_s / _ASKS_PER_SESSION)
        config = settings.consumer(group, member) | {"error_cb": voice.hear}
        try:
            self._pump = KafkaPump(
                config, topics, self._shelf, voice, self._is_silent, ask_s, settings.request_timeout_s, self._name
            )
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
        with self._shelf.changed:
            try:
                self._commit(Commit(offsets, {where: self._held(where) for where in offsets}))
            except FencedError:
                self._shelf.start_over()
                raise
            finally:
                self._shelf.commit = None
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

    def _commit(self, wanted: Commit) -> None:
        """Left to the other thread: librdkafka's consumer is one thread's at a time, and that one hardly ever lets go of it."""
        deadline = time.monotonic() + self._commit_s
        self._shelf.commit = wanted
        while not wanted.done:
            if self._shelf.replaced is not None:
                raise FencedError(f"{self._name}: {self._shelf.replaced}")
            if self._shelf.given_up:
                raise FencedError(
                    f"{self._name} has not polled for so long that others may have taken over: poll again"
                )
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._voice.told(TimeoutError(), f"committing as {self._name}")
            self._shelf.changed.wait(left_s)
        if wanted.error is not None:
            raise wanted.error

    def _set_paused(self, partitions: Iterable[TopicPartition], paused: bool) -> None:
        with self._shelf.changed:
            for where in partitions:
                if where in self._told:
                    self._told[where].paused = paused

    def _held(self, where: TopicPartition) -> Held:
        held = self._told.get(where)
        if held is None:
            raise fenced(where)
        return held

    def _is_silent(self) -> bool:
        return not self._polling and time.monotonic() - self._polled_s > self._silence_s_max

    def _check_open(self) -> None:
        if self._closed:
            raise BusUnavailableError("this consumer has been closed")
