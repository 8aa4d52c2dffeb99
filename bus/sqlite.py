"""The embedded bus: an append-only log in one SQLite file, for many processes and threads of one machine."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bus import sqlite_retention
from bus.errors import BusError, BusUnavailableError, OversizeError, UnknownTopicError
from bus.port import MESSAGE_BYTES_MAX, Listener, TopicPartition
from bus.sqlite_append import Batch, append
from bus.sqlite_consumer import SqliteConsumer
from bus.sqlite_file import connect, connect_installed, query, told_as, transaction
from bus.sqlite_group import Member
from heliograph import contracts
from heliograph.message import Message

FILE_BYTES_MAX: Final = 8 * 1024**3
_HOUR_MS = 3_600_000
_RETENTION_MS_DEFAULT = 24 * _HOUR_MS
_FORMAT_VERSION = 1
_SCHEMA: Final = """
CREATE TABLE topic (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, log_id TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, append_time_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)) STRICT;
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY, count INTEGER NOT NULL, append_time_ms INTEGER NOT NULL, raw_bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE TABLE consumer_group (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE member (
    group_name TEXT NOT NULL, member TEXT NOT NULL, instance TEXT NOT NULL, topics TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL,
    PRIMARY KEY (group_name, member)) STRICT, WITHOUT ROWID;
CREATE TABLE assignment (
    group_name TEXT NOT NULL, log INTEGER NOT NULL, member TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (group_name, log)) STRICT, WITHOUT ROWID;
CREATE TABLE committed (
    group_name TEXT NOT NULL, log INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (group_name, log)) STRICT, WITHOUT ROWID;
"""


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SqliteBus:
    """The Bus port on the file `path`, which is created with its folder when missing.

    A chunk's id is its log's id and its last offset, so that the chunk that holds an offset is the first one at or after it.
    Raises BusUnavailableError when the file cannot be opened. Open one per process: not to be used across a fork.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
        session_timeout_s: float = 15.0,
        file_bytes_max: int = FILE_BYTES_MAX,
        retention_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`file_bytes_max` is what messages may take; `retention_ms` is by topic, from topics.yaml when not given."""
        self._path = path
        self._clock_ms = clock_ms
        self._session_timeout_ms = int(session_timeout_s * 1000)
        self._file_bytes_max = file_bytes_max
        self._retention_ms = _contract_retention_ms() if retention_ms is None else dict(retention_ms)
        self._logs: dict[TopicPartition, int] = {}
        self._waiting: list[Batch] = []
        self._waiting_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with self._told():
            self._writer = connect_installed(path, _SCHEMA, _FORMAT_VERSION)
            self._reader = connect(path)

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        with self._write_lock, self._told(), transaction(self._writer):
            for topic, count in partitions.items():
                found = query(self._writer, "SELECT partitions FROM topic WHERE name = ?", (topic,))
                if not found:
                    self._create_topic(topic, count)
                elif found[0][0] != count:
                    raise BusError(
                        f"topic {topic} has {found[0][0]} partitions, not {count}: partitions never change in place"
                    )

    def partitions(self, topic: str) -> int:
        count = self._read("SELECT partitions FROM topic WHERE name = ?", topic)
        if not count:
            raise _unknown(topic)
        return int(count[0][0])

    def log_id(self, topic: str) -> str:
        found = self._read("SELECT log_id FROM topic WHERE name = ?", topic)
        if not found:
            raise _unknown(topic)
        return str(found[0][0])

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        if not messages:
            return []
        for message in messages:
            if message.size_bytes > MESSAGE_BYTES_MAX:
                raise OversizeError(message.topic, message.size_bytes, MESSAGE_BYTES_MAX)
        batch = Batch.of(messages, self._log_of)
        with self._waiting_lock:
            self._waiting.append(batch)
        with self._write_lock:
            if not batch.is_done:
                self._append_waiting()
        return batch.offsets()

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        rows = self._read("SELECT partition, next_offset FROM log WHERE topic = ?", topic)
        if not rows:
            raise _unknown(topic)
        return {int(partition): int(offset) for partition, offset in rows}

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        rows = self._read(
            "SELECT l.partition, c.offset FROM committed c JOIN log l ON l.id = c.log WHERE c.group_name = ? AND l.topic = ?",
            group,
            topic,
        )
        return {int(partition): int(offset) for partition, offset in rows}

    def consumer(self, group: str, topics: Sequence[str], member: str, listener: Listener) -> SqliteConsumer:
        who = Member(group, member, uuid.uuid4().hex, tuple(topics))
        with self._told():
            return SqliteConsumer(
                self._path, connect(self._path), who, listener, self._clock_ms, self._session_timeout_ms
            )

    def trim(self, now_ms: int) -> int:
        """Drop messages older than their topic's retention and give the space back, in short transactions; how many were dropped.

        Age is taken at `now_ms` or at the bus' newest message, whichever is earlier, so that a wrong clock drops nothing early.
        """
        removed = 0
        for topic, log, newest_ms in self._read("SELECT topic, id, (SELECT max(append_time_ms) FROM log) FROM log"):
            before_ms = min(now_ms, newest_ms) - self._retention_ms.get(topic, _RETENTION_MS_DEFAULT)
            while count := self._step(partial(sqlite_retention.drop_some, self._writer, log, before_ms)):
                removed += count
        while self._step(partial(sqlite_retention.shrink_some, self._writer)):
            pass
        return removed

    def close(self) -> None:
        with self._write_lock, self._read_lock, self._told():
            self._writer.close()
            self._reader.close()

    def _create_topic(self, topic: str, count: int) -> None:
        self._writer.execute(
            "INSERT INTO topic (name, partitions, log_id) VALUES (?, ?, ?)", (topic, count, str(uuid.uuid4()))
        )
        self._writer.executemany(
            "INSERT INTO log (topic, partition) VALUES (?, ?)", [(topic, partition) for partition in range(count)]
        )

    def _append_waiting(self) -> None:
        # Whoever holds the lock writes what all waiting threads brought, so that they share one fsync.
        with self._waiting_lock:
            batches, self._waiting = self._waiting, []
        try:
            with self._told(), transaction(self._writer):
                placed = append(self._writer, batches, self._clock_ms(), self._file_bytes_max)
            for batch, offsets in zip(batches, placed, strict=True):
                batch.succeed(offsets)
        except BusUnavailableError as error:
            for batch in batches:
                batch.fail(str(error))
        finally:
            for batch in batches:
                batch.fail("the write was interrupted")

    def _log_of(self, where: TopicPartition) -> int:
        known = self._logs.get(where)
        if known is not None:
            return known
        found = self._read("SELECT id FROM log WHERE topic = ? AND partition = ?", where.topic, where.partition)
        if not found:
            raise _unknown(f"{where.topic}/{where.partition}")
        self._logs[where] = int(found[0][0])
        return self._logs[where]

    def _read(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._read_lock, self._told():
            return query(self._reader, sql, values)

    def _step(self, step: Callable[[], int]) -> int:
        with self._write_lock, self._told(), transaction(self._writer):
            return step()

    def _told(self) -> AbstractContextManager[None]:
        return told_as(BusUnavailableError, self._path)


def _contract_retention_ms() -> dict[str, int]:
    return {name: topic.retention_hours * _HOUR_MS for name, topic in contracts.topics().items()}


def _unknown(what: str) -> UnknownTopicError:
    return UnknownTopicError(f"no topic or partition {what}: it is not in topics.yaml, or not created yet")
