"""Gathering records into cuts: a value without threads, clock or I/O; times come in as seconds of one monotonic clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bus.port import Record, TopicPartition
from sinks.port import Cut, CutLimits, Range


@dataclass(slots=True)
class _Partition:
    log_id: str
    first: int
    """Where the next cut's range begins."""
    next: int
    """Where it ends, if everything gathered goes into it."""
    tried_below: int
    records: list[Record] = field(default_factory=list)


class Gather:
    """What was delivered and is in no cut yet, for the partitions that are open."""

    def __init__(self, limits: CutLimits) -> None:
        self._limits = limits
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._since_s: float | None = None
        self._fresh = True
        self._forced = False
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Of all gathered records."""
        return self._bytes

    @property
    def empty(self) -> bool:
        """Whether a cut taken now would say nothing."""
        return not any(self.holds(where) for where in self._partitions)

    def holds(self, where: TopicPartition) -> bool:
        """Whether offsets of the partition wait for a cut."""
        partition = self._partitions.get(where)
        return partition is not None and partition.next > partition.first

    def open(self, where: TopicPartition, log_id: str, first: int, tried_below: int) -> None:
        """Take records of the partition from `first` on; what was gathered of it is dropped. The next cut comes early."""
        self.drop([where])
        self._partitions[where] = _Partition(log_id, first, first, tried_below)
        self._fresh = True

    def jump(self, where: TopicPartition, first: int) -> None:
        """Go on at `first`, past offsets that the log no longer has; only when the partition holds nothing."""
        partition = self._partitions[where]
        if self.holds(where):
            raise ValueError(f"{where.topic}/{where.partition} still holds offsets below {partition.next}")
        partition.first = partition.next = first

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions and what was gathered of them."""
        for where in partitions:
            gone = self._partitions.pop(where, None)
            if gone is not None:
                self._bytes -= sum(r.size_bytes for r in gone.records)
        self._settle()

    def add(self, records: Sequence[Record], positions: Mapping[TopicPartition, int], now_s: float) -> None:
        """Records in offset order per partition, and the consumer's positions after them; those not open are ignored.

        A position may pass offsets that are never delivered; these are committed like any other.
        """
        for record in records:
            partition = self._partitions.get(record.where)
            if partition is not None and record.offset >= partition.next:
                partition.records.append(record)
                partition.next = record.offset + 1
                self._bytes += record.size_bytes
        for where, position in positions.items():
            partition = self._partitions.get(where)
            if partition is not None and position > partition.next:
                partition.next = position
        if self._since_s is None and not self.empty:
            self._since_s = now_s

    def force(self) -> None:
        """Make what is gathered due now."""
        self._forced = True

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a cut is due, 0 when it is; None while nothing is gathered."""
        if self._since_s is None:
            return None
        if self._forced or self._bytes >= self._limits.bytes_max:
            return 0.0
        age_s = self._limits.first_age_s if self._fresh else self._limits.age_s
        return max(0.0, self._since_s + age_s - now_s)

    def take(self) -> Cut:
        """The next cut, of about the limit's bytes at most; what does not fit stays gathered."""
        ranges = []
        records: list[Record] = []
        tried_below = {}
        room = self._limits.bytes_max
        for where, partition in sorted(self._partitions.items(), key=_oldest_first):
            if not self.holds(where) or (room <= 0 and partition.records):
                continue
            taken, room = _prefix(partition.records, room)
            whole = len(taken) == len(partition.records)
            end = partition.next if whole else taken[-1].offset + 1
            ranges.append(Range(where, partition.log_id, partition.first, end))
            tried_below[where] = partition.tried_below
            records += taken
            self._bytes -= sum(r.size_bytes for r in taken)
            partition.records = partition.records[len(taken) :]
            partition.first = end
        self._fresh = False
        self._settle()
        return Cut(tuple(ranges), records, tried_below)

    def _settle(self) -> None:
        if self.empty:
            self._since_s = None
            self._forced = False


def without(cut: Cut, gone: Iterable[TopicPartition]) -> Cut:
    """The cut without some partitions."""
    lost = set(gone)
    return Cut(
        tuple(r for r in cut.ranges if r.where not in lost),
        [r for r in cut.records if r.where not in lost],
        {where: offset for where, offset in cut.tried_below.items() if where not in lost},
    )


def tried(cut: Cut) -> Cut:
    """The cut as it comes again: all of it may have been written."""
    return replace(cut, tried_below={r.where: max(r.next, cut.tried_below.get(r.where, 0)) for r in cut.ranges})


def _oldest_first(item: tuple[TopicPartition, _Partition]) -> tuple[int, TopicPartition]:
    where, partition = item
    return (partition.records[0].append_time_ms if partition.records else 0, where)


def _prefix(records: Sequence[Record], room: int) -> tuple[list[Record], int]:
    """As many records as begin within `room` bytes, at least one if there is one; and the room left."""
    taken = []
    for record in records:
        if room <= 0:
            break
        taken.append(record)
        room -= record.size_bytes
    return taken, room
