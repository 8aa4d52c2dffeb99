"""A member of a group on the SQLite file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import apsw

from bus import sqlite_group
from bus.errors import BusUnavailableError, FencedError, OffsetGapError
from bus.port import Listener, Record, TopicPartition
from bus.sqlite_file import pragma, told_as, transaction
from bus.sqlite_group import Member
from bus.sqlite_log import LogReader

_WAIT_S_MIN = 0.002
_WAIT_S_MAX = 0.04
_HEARTBEATS_PER_SESSION = 5


@dataclass(slots=True)
class _Owned:
    log: int
    epoch: int
    position: int


class SqliteConsumer:
    """The Consumer port. It starts where the group has committed, at 0 when it never has; so a log that has lost its beginning is a gap.

    After a FencedError the next poll() revokes all partitions and assigns what is still ours, from the committed offsets.
    A consumer that another life of the same member has replaced raises FencedError from then on.
    """

    def __init__(
        self,
        path: Path,
        connection: apsw.Connection,
        member: Member,
        listener: Listener,
        clock_ms: Callable[[], int],
        session_timeout_ms: int,
    ) -> None:
        self._path = path
        self._connection = connection
        self._log = LogReader(connection)
        self._member = member
        self._listener = listener
        self._clock_ms = clock_ms
        self._session_timeout_ms = session_timeout_ms
        self._owned: dict[TopicPartition, _Owned] = {}
        self._paused: set[TopicPartition] = set()
        self._read_first = 0
        self._seen_version: int | None = None
        self._must_reassign = False
        self._closed = False
        try:
            self._join()
        except BaseException:
            connection.close()
            raise

    def poll(self, timeout_s: float, bytes_max: int) -> Sequence[Record]:
        deadline = time.monotonic() + timeout_s
        wait_s = _WAIT_S_MIN
        while True:
            with self._told():
                self._keep_alive()
                version = pragma(self._connection, "data_version")
                changed = version != self._seen_version
            if changed:
                self._settle()
                with self._told():
                    records = self._read(bytes_max)
                if records:
                    return records
                self._seen_version = version
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            time.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 2, _WAIT_S_MAX)

    def position(self, where: TopicPartition) -> int:
        return self._held(where).position

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._held(where).position = offset
        self._seen_version = None

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused |= self._owned.keys() & set(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused -= set(partitions)
        self._seen_version = None

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            return
        try:
            with self._told(), transaction(self._connection):
                for where, offset in offsets.items():
                    owned = self._held(where)
                    if not sqlite_group.commit(self._connection, self._member, owned.log, owned.epoch, offset):
                        raise _fenced(where)
        except FencedError:
            self._must_reassign = True
            self._seen_version = None
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._revoke(frozenset(self._owned))
            with self._told(), transaction(self._connection):
                sqlite_group.leave(self._connection, self._member)
        finally:
            self._connection.close()

    def _join(self) -> None:
        with self._told(), transaction(self._connection):
            now_ms = self._clock_ms()
            sqlite_group.expire(self._connection, self._member.group, now_ms, self._session_timeout_ms)
            sqlite_group.join(self._connection, self._member, now_ms)
        self._heartbeat_ms = now_ms
        self._seen_version = None

    def _keep_alive(self) -> None:
        now_ms = self._clock_ms()
        if abs(now_ms - self._heartbeat_ms) * _HEARTBEATS_PER_SESSION < self._session_timeout_ms:
            return
        with transaction(self._connection):
            sqlite_group.heartbeat(self._connection, self._member, now_ms)
            sqlite_group.expire(self._connection, self._member.group, now_ms, self._session_timeout_ms)
        self._heartbeat_ms = now_ms
        self._seen_version = None

    def _settle(self) -> None:
        """Bring what we own in line with the file, and tell the listener."""
        with self._told():
            standing = sqlite_group.standing(self._connection, self._member)
        if standing.instance is None:
            self._revoke(frozenset(self._owned))
            self._join()
            with self._told():
                standing = sqlite_group.standing(self._connection, self._member)
        if standing.instance != self._member.instance:
            self._revoke(frozenset(self._owned))
            raise FencedError(f"another {self._member.name} has taken this one's place in group {self._member.group}")
        lost = {
            where
            for where, owned in self._owned.items()
            if self._must_reassign or standing.epochs.get(owned.log) != owned.epoch
        }
        self._revoke(frozenset(lost))
        self._must_reassign = False
        kept = {owned.log for owned in self._owned.values()}
        self._assign({log: epoch for log, epoch in standing.epochs.items() if log not in kept})

    def _revoke(self, partitions: frozenset[TopicPartition]) -> None:
        if not partitions:
            return
        for where in partitions:
            self._log.forget(self._owned.pop(where).log)
        self._paused -= partitions
        self._listener.revoked(partitions)

    def _assign(self, epochs: Mapping[int, int]) -> None:
        if not epochs:
            return
        with self._told():
            starts = self._log.starts(self._member.group, list(epochs))
        gained = {where: _Owned(log, epochs[log], offset) for where, (log, offset) in starts.items()}
        self._owned |= gained
        try:
            self._listener.assigned(frozenset(gained))
        except BaseException:
            # Not told, so not ours yet: the next poll tries again before it delivers anything.
            for where in gained:
                del self._owned[where]
            self._seen_version = None
            raise

    def _read(self, bytes_max: int) -> list[Record]:
        wanted = [(where, owned) for where, owned in sorted(self._owned.items()) if where not in self._paused]
        ranges = self._log.ranges([owned.log for _, owned in wanted])
        for where, owned in wanted:
            if owned.position < ranges[owned.log].start:
                raise OffsetGapError(where.topic, where.partition, owned.position, ranges[owned.log].start)
        self._read_first += 1
        turn = self._read_first % max(1, len(wanted))
        records: list[Record] = []
        positions: list[tuple[_Owned, int]] = []
        left = bytes_max
        for where, owned in wanted[turn:] + wanted[:turn]:
            if owned.position < ranges[owned.log].next and (left > 0 or not records):
                found = self._log.read(where, owned.log, owned.position, left if records else max(left, 1))
                if found:
                    left -= sum(r.size_bytes for r in found)
                    records += found
                    positions.append((owned, found[-1].offset + 1))
        # Only now, so that an error on the way delivers nothing twice and skips nothing.
        for owned, position in positions:
            owned.position = position
        return records

    def _held(self, where: TopicPartition) -> _Owned:
        owned = self._owned.get(where)
        if owned is None:
            raise _fenced(where)
        return owned

    def _told(self) -> AbstractContextManager[None]:
        return told_as(BusUnavailableError, self._path)


def _fenced(where: TopicPartition) -> FencedError:
    return FencedError(f"{where.topic}/{where.partition} is not ours any more: drop the work and poll again")
