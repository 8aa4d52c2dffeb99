"""What stands between librdkafka's thread and the caller's: the partitions of one member, what was fetched of them, a commit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bus.errors import BusError, FencedError, OffsetGapError
from bus.port import Record, TopicPartition

HELD_BYTES_MAX: Final = 4 * 1024 * 1024

Entry: TypeAlias = "Record | int | BusError"
"""A record; or where the log ended, since offsets may be skipped there; or why nothing follows."""


@dataclass(slots=True, eq=False)
class Held:
    """One partition while it is this member's: a new one each time it comes, so that what it was before is told apart."""

    where: TopicPartition
    position: int
    """Of the caller."""
    fetched: int
    """Where librdkafka goes on."""
    entries: deque[Entry] = field(default_factory=deque)
    size_bytes: int = 0
    paused: bool = False
    seek_to: int | None = None
    """Where librdkafka is to go; what it delivers before is dropped."""
    fetching: bool = True

    def add(self, entry: Entry) -> None:
        """In the order of the log."""
        if self.seek_to is not None:
            return
        if isinstance(entry, Record):
            self.size_bytes += entry.size_bytes
            self.fetched = entry.offset + 1
        elif isinstance(entry, int):
            self.fetched = max(self.fetched, entry)
            if self.entries and isinstance(self.entries[-1], int):
                self.entries.pop()
        self.entries.append(entry)

    def seek(self, offset: int) -> None:
        """The caller goes on from `offset`."""
        if offset == self.position and self.seek_to is None and not isinstance(self._head(), BusError):
            return
        self.entries.clear()
        self.size_bytes = 0
        self.position = self.seek_to = offset

    def take(self, bytes_max: int) -> list[Record]:
        """Records until `bytes_max` is reached. Raises what stands before the first."""
        records: list[Record] = []
        while self.entries:
            head = self.entries[0]
            if isinstance(head, BusError):
                if records:
                    break
                raise head
            if isinstance(head, int):
                self.position = max(self.position, head)
            elif bytes_max > 0:
                records.append(head)
                self.position = head.offset + 1
                self.size_bytes -= head.size_bytes
                bytes_max -= head.size_bytes
            else:
                break
            self.entries.popleft()
        return records

    def wants_fetching(self) -> bool:
        """Not when the caller has paused it, nor when enough is waiting."""
        full = self.size_bytes >= (HELD_BYTES_MAX if self.fetching else HELD_BYTES_MAX // 2)
        return not self.paused and not full

    def _head(self) -> Entry | None:
        return self.entries[0] if self.entries else None


@dataclass(slots=True, eq=False)
class Commit:
    """What the caller wants committed, and waits for."""

    offsets: Mapping[TopicPartition, int]
    owned: Mapping[TopicPartition, Held]
    """As the caller knows them: when one of these has gone or is another by now, nothing is committed."""
    sent: bool = False
    done: bool = False
    error: BusError | None = None

    def end(self, error: BusError | None) -> None:
        """Stored, or why not."""
        self.done, self.error = True, error


class Shelf:
    """Shared by both threads; touched under `changed` only."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.commit: Commit | None = None
        self.held: dict[TopicPartition, Held] = {}
        self.unplaced: set[TopicPartition] = set()
        """Assigned to this member, and not yet where the group has committed."""
        self.replaced: FencedError | None = None
        self.trouble: BusError | None = None
        self.given_up = False
        """Nobody polled for so long that the group may have moved on."""

    def take(self, told: Mapping[TopicPartition, Held], turn: int, bytes_max: int) -> list[Record]:
        """Of the partitions that the caller knows of, another first each time. Raises OffsetGapError, BusError."""
        ready = [h for where, h in sorted(told.items()) if not h.paused and self.held.get(where) is h]
        for held in ready:
            if isinstance(gap := held._head(), OffsetGapError):
                raise gap
        first = turn % max(1, len(ready))
        records: list[Record] = []
        left = max(bytes_max, 1)
        for held in ready[first:] + ready[:first]:
            if left <= 0:
                break
            try:
                found = held.take(left)
            except BusError:
                # After what others have delivered already; the next poll says it.
                if records:
                    continue
                raise
            records += found
            left -= sum(r.size_bytes for r in found)
        return records

    def start_over(self) -> None:
        """Everything goes back to what is committed, as something else than it was."""
        self.unplaced |= self.held.keys()
        self.held.clear()
        self.changed.notify_all()


def fenced(where: TopicPartition) -> FencedError:
    """What is said of a partition that another has."""
    return FencedError(f"{where.topic}/{where.partition} is not ours any more: drop the work and poll again")
