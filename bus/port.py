"""The bus: a log of messages per topic and partition, and groups of consumers that share them.

Offsets grow within a partition and are not dense; names derived from them include `log_id`. Every method may raise
BusUnavailableError. All times are milliseconds since the epoch, by the bus' own clock at append.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from heliograph.message import HeaderList, Message

MESSAGE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """One log."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """A message as delivered."""

    topic: str
    partition: int
    offset: int
    append_time_ms: int
    headers: HeaderList
    body: bytes

    @property
    def where(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def size_bytes(self) -> int:
        """Body, keys and values: what every limit counts."""
        return len(self.body) + sum(len(k) + len(v) for k, v in self.headers)

    def header(self, key: str) -> bytes | None:
        """The first header of that name."""
        return next((v for k, v in self.headers if k == key), None)


Partitions: TypeAlias = "frozenset[TopicPartition]"


@dataclass(frozen=True, slots=True)
class Listener:
    """Called from within poll() and close(), in the thread that calls them."""

    assigned: Callable[[Partitions], None]
    """New partitions of this member, before their first record is delivered. It may call seek()."""
    revoked: Callable[[Partitions], None]
    """Partitions that this member owns no longer: drop what is not committed."""


class Consumer(Protocol):
    """One member of a group; used by one thread. Delivery is at least once, from the committed offset on.

    A group that never committed starts at offset 0, so that a log whose beginning is gone is an OffsetGapError, never a silent skip.
    After a FencedError the next poll() revokes every partition and assigns what is still this member's, from the committed offsets.
    A consumer whose member id another one has taken raises FencedError from then on.
    """

    def poll(self, timeout_s: float, bytes_max: int) -> Sequence[Record]:
        """Records of assigned, unpaused partitions in offset order per partition: at least one if one is there, else about
        `bytes_max` at most; waits `timeout_s` at most and then returns none. Also keeps the membership alive.

        Raises OffsetGapError when the log no longer holds the position; seek() mends it.
        """
        ...

    def position(self, where: TopicPartition) -> int:
        """The next offset that poll() will deliver or skip over."""
        ...

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read on from `offset`; for assigned partitions only."""
        ...

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these until resume(); the membership stays."""
        ...

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver again, without a gap."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Everything below each offset is done; durable on return. Raises FencedError when it is not ours to say any more."""
        ...

    def close(self) -> None:
        """Leave the group at once, so that others take over. Idempotent."""
        ...


class Bus(Protocol):
    """Safe to use from several threads; consumers are not."""

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Make topics that are missing; a topic that exists with another number of partitions raises BusError."""
        ...

    def partitions(self, topic: str) -> int:
        """How many; raises UnknownTopicError."""
        ...

    def log_id(self, topic: str) -> str:
        """Identity of the log that the topic's offsets belong to: changes when a topic is made anew. At most 64 letters, digits,
        `-` and `_`, because names of files and objects hold it.
        """
        ...

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        """Append all or none, in order; returns their offsets. Durable on return.

        Raises OversizeError or UnknownTopicError before anything is written.
        """
        ...

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        """The offset that each partition's next message will get at least: everything appended is below it."""
        ...

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """What a group has committed, by partition; partitions without a commit are absent."""
        ...

    def consumer(self, group: str, topics: Sequence[str], member: str, listener: Listener) -> Consumer:
        """Join a group. A member id that is already there replaces its former self at once (static membership)."""
        ...

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        ...
