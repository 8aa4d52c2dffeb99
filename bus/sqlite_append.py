"""Appending: batches of messages, compressed by their own threads, get their offsets in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import apsw

from bus.errors import BusUnavailableError
from bus.port import TopicPartition
from bus.sqlite_chunk import Chunk, encode, split
from bus.sqlite_file import pragma, query
from heliograph.message import Message

OFFSET_BITS = 40
"""A chunk's id is its log's id, shifted by this, and its last offset."""


@dataclass(slots=True)
class Batch:
    """What one call of produce() brought, and what became of it."""

    chunks: list[tuple[int, Sequence[int], Chunk]] = field(default_factory=list)
    """Log id, positions in the call, messages."""
    size: int = 0
    _offsets: list[int] | None = None
    _failure: str = ""

    @classmethod
    def of(cls, messages: Sequence[Message], log_of: Callable[[TopicPartition], int]) -> Batch:
        """Compress; nothing here needs the file but `log_of`."""
        positions: dict[int, list[int]] = {}
        for i, m in enumerate(messages):
            positions.setdefault(log_of(TopicPartition(m.topic, m.partition)), []).append(i)
        batch = cls(size=len(messages))
        for log, where in positions.items():
            at = 0
            for run in split([messages[i] for i in where]):
                batch.chunks.append((log, where[at : at + len(run)], encode(run)))
                at += len(run)
        return batch

    @property
    def is_done(self) -> bool:
        return self._offsets is not None or bool(self._failure)

    def succeed(self, offsets: list[int]) -> None:
        self._offsets = offsets

    def fail(self, sentence: str) -> None:
        """Without effect once done."""
        if not self.is_done:
            self._failure = sentence

    def offsets(self) -> list[int]:
        """In the order of the call; raises BusUnavailableError when the batch failed."""
        if self._offsets is None:
            raise BusUnavailableError(self._failure)
        return self._offsets


def append(connection: apsw.Connection, batches: Sequence[Batch], now_ms: int, file_bytes_max: int) -> list[list[int]]:
    """Write all within the caller's transaction; offsets per batch. Raises BusUnavailableError when the file is full."""
    payload_bytes = sum(len(chunk.payload) for b in batches for _, _, chunk in b.chunks)
    if _used_bytes(connection) + payload_bytes > file_bytes_max:
        raise BusUnavailableError(
            f"the bus holds {file_bytes_max // 2**20} MiB, its limit: it takes messages again when old ones have expired;"
            " raise the limit or shorten retention_hours in topics.yaml"
        )
    logs = {log for b in batches for log, _, _ in b.chunks}
    heads = {log: _head(connection, log) for log in logs}
    append_time_ms = max(now_ms, *(time_ms for _, time_ms in heads.values()))
    next_offset = {log: offset for log, (offset, _) in heads.items()}
    rows: list[tuple[int | bytes, ...]] = []
    placed = [_place(batch, next_offset, append_time_ms, rows) for batch in batches]
    connection.executemany(
        "INSERT INTO chunk (id, count, append_time_ms, raw_bytes, crc, payload) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    connection.executemany(
        "UPDATE log SET next_offset = ?, append_time_ms = ? WHERE id = ?",
        [(offset, append_time_ms, log) for log, offset in next_offset.items()],
    )
    return placed


def _place(
    batch: Batch, next_offset: dict[int, int], append_time_ms: int, rows: list[tuple[int | bytes, ...]]
) -> list[int]:
    offsets = [0] * batch.size
    for log, positions, chunk in batch.chunks:
        first = next_offset[log]
        next_offset[log] = first + chunk.count
        chunk_id = log << OFFSET_BITS | (next_offset[log] - 1)
        rows.append((chunk_id, chunk.count, append_time_ms, chunk.raw_bytes, chunk.crc, chunk.payload))
        for i, position in enumerate(positions):
            offsets[position] = first + i
    return offsets


def _head(connection: apsw.Connection, log: int) -> tuple[int, int]:
    next_offset, time_ms = query(connection, "SELECT next_offset, append_time_ms FROM log WHERE id = ?", (log,))[0]
    return int(next_offset), int(time_ms)


def _used_bytes(connection: apsw.Connection) -> int:
    return (pragma(connection, "page_count") - pragma(connection, "freelist_count")) * pragma(connection, "page_size")
