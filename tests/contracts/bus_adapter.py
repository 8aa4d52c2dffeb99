"""How the bus' contract meets an adapter: what it must offer, and how tests send, watch and wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import pytest

from bus.port import Bus, Consumer, Listener, Partitions, Record, TopicPartition
from heliograph.message import Message

DEADLINE_S = 30.0
PLENTY = 16 * 1024 * 1024


class BusAdapter(Protocol):
    """One bus that tests may fill; each test gets its own topics, or its own bus."""

    spec: str
    """What tests.bus.child opens the same bus by. Sessions of both time out after about a second."""

    def open(self) -> Bus:
        """A further handle on the bus; the adapter closes it."""
        ...

    def forget_all(self, topic: str) -> None:
        """Make the log drop everything it holds, as retention would."""
        ...


class Watch:
    """A listener that remembers what it was told; seeks where told to."""

    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()
        self.told: list[tuple[str, Partitions]] = []
        self.on_assigned: Callable[[Partitions], None] = lambda _: None

    def listener(self) -> Listener:
        return Listener(self._assigned, self._revoked)

    def _assigned(self, partitions: Partitions) -> None:
        assert not self.owned & partitions
        self.owned |= partitions
        self.told.append(("assigned", partitions))
        self.on_assigned(partitions)

    def _revoked(self, partitions: Partitions) -> None:
        assert partitions <= self.owned
        self.owned -= partitions
        self.told.append(("revoked", partitions))


def message(topic: str, partition: int, body: bytes | str) -> Message:
    return Message(topic, partition, (("hg.tenant", b"default"),), body.encode() if isinstance(body, str) else body)


def bodies(records: Sequence[Record]) -> list[str]:
    return [r.body.decode() for r in records]


def drain(consumer: Consumer, count: int, bytes_max: int = PLENTY) -> list[Record]:
    """Poll until that many records have come; fails at the deadline, or when more come."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
        records += consumer.poll(0.2, bytes_max)
    assert len(records) == count
    return records


def poll_until(condition: Callable[[], bool], *consumers: Consumer) -> list[Record]:
    """Poll all in turn until the condition holds; what they delivered."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        for consumer in consumers:
            records += consumer.poll(0.05, PLENTY)
    return records


def commit_all(consumer: Consumer, records: Sequence[Record]) -> None:
    consumer.commit({r.where: consumer.position(r.where) for r in records})


class BusFixtures:
    """What the suites share; `adapter` is the subclass' to give."""

    @pytest.fixture
    def adapter(self) -> BusAdapter:
        raise NotImplementedError

    @pytest.fixture
    def bus(self, adapter: BusAdapter) -> Bus:
        return adapter.open()

    @pytest.fixture
    def one(self, bus: Bus) -> str:
        """A topic of one partition."""
        bus.create_topics({"one": 1})
        return "one"

    @pytest.fixture
    def four(self, bus: Bus) -> str:
        """A topic of four partitions."""
        bus.create_topics({"four": 4})
        return "four"

    @pytest.fixture
    def join(self, bus: Bus) -> Iterator[Callable[..., Consumer]]:
        """Makes consumers, and closes them."""
        made: list[Consumer] = []

        def join(
            topic: str, member: str = "a", group: str = "g", watch: Watch | None = None, at: Bus | None = None
        ) -> Consumer:
            listener = (watch or Watch()).listener()
            made.append((at or bus).consumer(group, [topic], member, listener))
            return made[-1]

        yield join
        for consumer in made:
            consumer.close()
