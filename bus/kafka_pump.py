"""The thread that alone drives librdkafka's consumer, so that a rebalance never waits for a slow caller.

It fetches ahead within limits, answers rebalances at once, and stops when the caller has not polled for too long: then the group
gives the partitions to others, as the session's timeout wants it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from bus.errors import BusError, FencedError, OffsetGapError
from bus.kafka_errors import REPLACED, Voice, error_of, is_fault
from bus.kafka_shelf import Held, Shelf, fenced
from bus.port import Record, TopicPartition

_TURN_S: Final = 0.05
_BATCH: Final = 500


class KafkaPump:
    """Runs from start() to stop()."""

    def __init__(
        self,
        config: dict[str, Any],
        topics: Sequence[str],
        shelf: Shelf,
        voice: Voice,
        is_silent: Callable[[], bool],
        ask_s: float,
        patience_s: float,
        name: str,
    ) -> None:
        """`ask_s` is how long one question to the brokers may hold up a rebalance, `patience_s` how long it is asked again before
        the caller hears of it. Raises KafkaException.
        """
        self._client = Consumer({**config, "on_commit": self._on_commit})
        self._name = name
        self._shelf = shelf
        self._voice = voice
        self._is_silent = is_silent
        self._ask_s, self._patience_s = ask_s, patience_s
        self._in_vain_since_s: float | None = None
        self._assigned: set[TopicPartition] = set()
        self._stopping = threading.Event()
        self._client.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke)
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when librdkafka's consumer is closed."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            silent = self._is_silent()
            with self._shelf.changed:
                self._shelf.given_up = silent
                replaced = self._shelf.replaced
                if silent or replaced:
                    self._shelf.changed.notify_all()
            if silent or replaced:
                self._stopping.wait(_TURN_S)
                continue
            try:
                self._turn()
            except Exception as error:  # whatever it is, the caller hears of it, and reading goes on
                self._failed(error)
                self._stopping.wait(_TURN_S)
        try:
            if self._shelf.replaced is None:
                self._leave()
            self._client.close()
        except KafkaException as error:
            self._failed(error)

    def _leave(self) -> None:
        """A static member that only closes stays in the group until its session times out; one that unsubscribes leaves it."""
        self._client.unsubscribe()
        deadline = time.monotonic() + self._ask_s
        while self._client.assignment() and time.monotonic() < deadline:
            self._client.poll(_TURN_S)

    def _turn(self) -> None:
        self._commit()
        self._place()
        self._seek()
        self._throttle()
        first = self._client.poll(_TURN_S)
        if first is None:
            return
        records = [first, *self._client.consume(_BATCH, 0)]
        with self._shelf.changed:
            gaps = [where for message in records if (where := self._take(message)) is not None]
            self._shelf.changed.notify_all()
        for where in gaps:
            self._find_gap(where)

    def _take(self, message: Message) -> TopicPartition | None:
        """Put it on the shelf; the partition when its log does not hold what was to be read."""
        error = message.error()
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None and error.code() not in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
            self._failed(KafkaException(error))
            return None
        if topic is None or partition is None or offset is None:
            return None
        where = TopicPartition(topic, partition)
        held = self._shelf.held.get(where)
        if held is None:
            return None
        if error is None:
            held.add(_record(where, offset, message))
        elif error.code() == KafkaError._PARTITION_EOF:
            held.add(offset)
        elif held.seek_to is None:
            return where
        return None

    def _find_gap(self, where: TopicPartition) -> None:
        with self._shelf.changed:
            held = self._shelf.held.get(where)
        if held is None:
            return
        expected = held.fetched
        try:
            first, end = self._client.get_watermark_offsets(_kafka(where), timeout=self._ask_s)
            self._in_vain_since_s = None
        except KafkaException as error:
            self._asked_in_vain(error)
            first, end = expected, expected
        with self._shelf.changed:
            if held.seek_to is not None:
                return
            if first > expected:
                held.add(OffsetGapError(where.topic, where.partition, expected, first))
            elif expected > end:
                held.add(_cut(where, expected, end))
            else:
                # The log held it after all, or could not be asked: read on from there.
                held.seek_to = expected
            self._shelf.changed.notify_all()

    # What the shelf wants of librdkafka

    def _commit(self) -> None:
        with self._shelf.changed:
            wanted = self._shelf.commit
            if wanted is None or wanted.sent or wanted.done:
                return
            wanted.sent = True
            for where, held in wanted.owned.items():
                if self._shelf.held.get(where) is not held:
                    wanted.end(fenced(where))
                    self._shelf.changed.notify_all()
                    return
            offsets = [KafkaPartition(w.topic, w.partition, offset) for w, offset in wanted.offsets.items()]
        try:
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error_of(error), offsets)

    def _on_commit(self, error: KafkaError | None, offsets: list[KafkaPartition]) -> None:
        """Called from within poll() and consume(). A caller that has gone on since is not told."""
        error = error or next((one.error for one in offsets if one.error is not None), None)
        with self._shelf.changed:
            wanted = self._shelf.commit
            if wanted is None or {TopicPartition(o.topic, o.partition): o.offset for o in offsets} != wanted.offsets:
                return
            if error is not None and _is_replaced(error):
                self._replace(error)
            doing = f"committing as {self._name}"
            wanted.end(None if error is None else self._voice.told(KafkaException(error), doing))
            self._shelf.changed.notify_all()

    def _place(self) -> None:
        """Partitions that have come start where the group has committed, at 0 when it never has."""
        with self._shelf.changed:
            wanted = sorted(self._shelf.unplaced)
        if not wanted:
            return
        try:
            found = self._client.committed([_kafka(where) for where in wanted], timeout=self._ask_s)
            errors = [one.error for one in found if one.error is not None]
            if errors:
                raise KafkaException(errors[0])
        except KafkaException as error:
            self._asked_in_vain(error)
            return
        self._in_vain_since_s = None
        starts = {TopicPartition(one.topic, one.partition): max(one.offset, 0) for one in found}
        self._assign(starts)
        with self._shelf.changed:
            for where, start in starts.items():
                self._shelf.unplaced.discard(where)
                self._shelf.held[where] = Held(where, start, start)
            self._shelf.changed.notify_all()
        self._voice.answered()

    def _seek(self) -> None:
        with self._shelf.changed:
            wanted = {where: (h, h.seek_to) for where, h in self._shelf.held.items() if h.seek_to is not None}
        if not wanted:
            return
        self._assign({where: offset for where, (_, offset) in wanted.items() if offset is not None})
        with self._shelf.changed:
            for held, offset in wanted.values():
                held.fetching = True
                if held.seek_to == offset and offset is not None:
                    held.fetched, held.seek_to = offset, None

    def _assign(self, starts: dict[TopicPartition, int]) -> None:
        """Assigned anew rather than sought: that drops what is on its way, and works from the first moment."""
        self._unassign(starts.keys() & self._assigned)
        self._client.incremental_assign([KafkaPartition(w.topic, w.partition, start) for w, start in starts.items()])
        self._assigned |= starts.keys()

    def _unassign(self, partitions: Iterable[TopicPartition]) -> None:
        gone = [_kafka(where) for where in partitions]
        if gone:
            self._client.resume(gone)
            self._assigned -= {TopicPartition(p.topic, p.partition) for p in gone}
            self._client.incremental_unassign(gone)

    def _throttle(self) -> None:
        with self._shelf.changed:
            changed = [h for h in self._shelf.held.values() if h.wants_fetching() != h.fetching]
            for held in changed:
                held.fetching = not held.fetching
            pause = [_kafka(h.where) for h in changed if not h.fetching]
            resume = [_kafka(h.where) for h in changed if h.fetching]
        if pause:
            self._client.pause(pause)
        if resume:
            self._client.resume(resume)

    # Rebalances, called from within poll(), consume() and close()

    def _on_assign(self, client: Consumer, partitions: list[KafkaPartition]) -> None:
        # Accepted at once; fetched from once it is known where.
        client.incremental_assign([])
        with self._shelf.changed:
            self._shelf.unplaced |= {TopicPartition(p.topic, p.partition) for p in partitions}

    def _on_revoke(self, client: Consumer, partitions: list[KafkaPartition]) -> None:
        gone = {TopicPartition(p.topic, p.partition) for p in partitions}
        with self._shelf.changed:
            self._shelf.unplaced -= gone
            for where in gone:
                self._shelf.held.pop(where, None)
            self._shelf.changed.notify_all()
        self._unassign(gone & self._assigned)
        # Even of nothing, or the client takes away what it never gave.
        client.incremental_unassign([])

    def _asked_in_vain(self, error: KafkaException) -> None:
        """Asked again at the next turn; the caller hears of it when that has gone on for long, or can do something about it."""
        now_s = time.monotonic()
        if self._in_vain_since_s is None:
            self._in_vain_since_s = now_s
        said = error_of(error)
        if now_s - self._in_vain_since_s > self._patience_s or (
            said is not None and (is_fault(said) or _is_replaced(said))
        ):
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        said = error_of(error)
        if said is not None and said.code() == KafkaError._MAX_POLL_EXCEEDED:
            return
        told = self._voice.told(error, "reading")
        with self._shelf.changed:
            if said is not None and _is_replaced(said):
                self._replace(said)
            else:
                self._shelf.trouble = told
            self._shelf.changed.notify_all()

    def _replace(self, error: KafkaError) -> None:
        self._shelf.replaced = FencedError(f"another process has taken this member's place ({error.name()})")
        self._shelf.held.clear()
        self._shelf.unplaced.clear()


def _is_replaced(error: KafkaError) -> bool:
    return bool(error.fatal()) or error.code() in REPLACED


def _record(where: TopicPartition, offset: int, message: Message) -> Record:
    headers = tuple((str(k), v.encode() if isinstance(v, str) else v or b"") for k, v in _pairs(message))
    return Record(where.topic, where.partition, offset, message.timestamp()[1], headers, message.value() or b"")


def _pairs(message: Message) -> Iterable[tuple[str, str | bytes | None]]:
    headers = message.headers() or ()
    return headers.items() if isinstance(headers, dict) else headers


def _cut(where: TopicPartition, expected: int, end: int) -> BusError:
    return BusError(
        f"{where.topic}/{where.partition} ends at {end}, before offset {expected} that is to be read next: its log was cut or made"
        " anew, so a new consumer group has to begin"
    )


def _kafka(where: TopicPartition) -> KafkaPartition:
    return KafkaPartition(where.topic, where.partition)
