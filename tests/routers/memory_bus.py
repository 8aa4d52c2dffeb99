"""A bus in memory with what the router must survive: holes, gaps, rebalances and outages on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from bus.errors import BusUnavailableError, FencedError, OffsetGapError, OversizeError
from bus.port import MESSAGE_BYTES_MAX, Listener, Record, TopicPartition
from heliograph.message import Message


class MemoryBus:
    """The Bus port. `unavailable` makes every call fail with its text."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.logs: dict[TopicPartition, list[Record]] = {}
        self.starts: dict[TopicPartition, int] = {}
        self.nexts: dict[TopicPartition, int] = {}
        self.commits: dict[tuple[str, TopicPartition], int] = {}
        self.commit_log: list[dict[TopicPartition, int]] = []
        self.members: dict[str, MemoryConsumer] = {}
        self.unavailable = ""
        self.now_ms = 1_700_000_000_000

    def check(self) -> None:
        if self.unavailable:
            raise BusUnavailableError(self.unavailable)

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        for topic, count in partitions.items():
            for p in range(count):
                self.logs.setdefault(TopicPartition(topic, p), [])

    def partitions(self, topic: str) -> int:
        return sum(where.topic == topic for where in self.logs)

    def log_id(self, topic: str) -> str:
        self.check()
        return f"log-of-{topic}"

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        self.check()
        with self.lock:
            offsets = []
            for m in messages:
                if m.size_bytes > MESSAGE_BYTES_MAX:
                    raise OversizeError(m.topic, m.size_bytes, MESSAGE_BYTES_MAX)
                where = TopicPartition(m.topic, m.partition)
                if where not in self.logs:
                    raise BusUnavailableError(f"{m.topic} is away")
                offset = self.nexts.get(where, 0)
                self.logs[where].append(Record(m.topic, m.partition, offset, self.now_ms, m.headers, m.body))
                self.nexts[where] = offset + 1
                offsets.append(offset)
            return offsets

    def skip_offsets(self, where: TopicPartition, count: int) -> None:
        """Take offsets that are never delivered, as transaction markers do."""
        with self.lock:
            self.nexts[where] = self.nexts.get(where, 0) + count

    def expire(self, where: TopicPartition, start: int) -> None:
        """Drop everything below `start`."""
        with self.lock:
            self.logs[where] = [r for r in self.logs[where] if r.offset >= start]
            self.starts[where] = start

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        self.check()
        return {where.partition: self.nexts.get(where, 0) for where in self.logs if where.topic == topic}

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        self.check()
        with self.lock:
            return {w.partition: offset for (g, w), offset in self.commits.items() if g == group and w.topic == topic}

    def consumer(self, group: str, topics: Sequence[str], member: str, listener: Listener) -> MemoryConsumer:
        self.check()
        with self.lock:
            joined = MemoryConsumer(self, group, topics, member, listener)
            self.members[member] = joined
            self.rebalance(topics)
            return joined

    def rebalance(self, topics: Sequence[str]) -> None:
        """Spread partitions over members; each hears of it at its next poll."""
        wanted = sorted(where for where in self.logs if where.topic in topics)
        alive = sorted(self.members)
        for i, name in enumerate(alive):
            self.members[name].target = {w for n, w in enumerate(wanted) if n % len(alive) == i}

    def fence(self) -> None:
        """Every member loses its partitions without notice, and gets them again at its next poll."""
        with self.lock:
            for member in self.members.values():
                member.stale = True

    def close(self) -> None:
        return


class MemoryConsumer:
    """The Consumer port."""

    def __init__(self, bus: MemoryBus, group: str, topics: Sequence[str], member: str, listener: Listener) -> None:
        self.bus, self.group, self.topics, self.member, self.listener = bus, group, topics, member, listener
        self.target: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.stale = False
        self.replaced = False
        self.closed = False

    def poll(self, timeout_s: float, bytes_max: int) -> Sequence[Record]:
        deadline = time.monotonic() + min(timeout_s, 0.02)
        while True:
            self.bus.check()
            with self.bus.lock:
                if self.replaced:
                    raise FencedError(f"another {self.member} took this one's place")
                self._settle()
                found = self._read(bytes_max)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(0.001)

    def _settle(self) -> None:
        mine = set(self.positions)
        lost = frozenset(mine if self.stale else mine - self.target)
        self.stale = False
        if lost:
            for where in lost:
                del self.positions[where]
            self.paused -= lost
            self.listener.revoked(lost)
        gained = frozenset(self.target - set(self.positions))
        if gained:
            for where in gained:
                self.positions[where] = self.bus.commits.get((self.group, where), 0)
            self.listener.assigned(gained)

    def _read(self, bytes_max: int) -> list[Record]:
        found: list[Record] = []
        room = bytes_max
        for where in sorted(set(self.positions) - self.paused):
            position = self.positions[where]
            start = self.bus.starts.get(where, 0)
            if position < start and not found:
                raise OffsetGapError(where.topic, where.partition, position, start)
            log = self.bus.logs[where]
            for record in log[max(0, len(log) - (self.bus.nexts.get(where, 0) - position)) :] if log else []:
                if record.offset < position or (room <= 0 and found):
                    continue
                found.append(record)
                room -= record.size_bytes
                self.positions[where] = record.offset + 1
            if room > 0:
                self.positions[where] = max(self.positions[where], self.bus.nexts.get(where, 0))
        return found

    def _own(self, where: TopicPartition) -> None:
        if self.stale or where not in self.positions:
            raise FencedError(f"{where} is not ours")

    def position(self, where: TopicPartition) -> int:
        self._own(where)
        return self.positions[where]

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._own(where)
        self.positions[where] = offset

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self.paused -= set(partitions)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.bus.check()
        with self.bus.lock:
            for where in offsets:
                self._own(where)
            self.bus.commit_log.append(dict(offsets))
            for where, offset in offsets.items():
                self.bus.commits[self.group, where] = offset

    def close(self) -> None:
        with self.bus.lock:
            if self.closed:
                return
            self.closed = True
            if self.positions:
                self.listener.revoked(frozenset(self.positions))
            if self.bus.members.get(self.member) is self:
                del self.bus.members[self.member]
                if self.bus.members:
                    self.bus.rebalance(self.topics)
