"""Reading logs of the file by offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from bus.errors import BusUnavailableError, OffsetGapError
from bus.port import Record, TopicPartition
from bus.sqlite_append import OFFSET_BITS
from bus.sqlite_chunk import Chunk, DamagedChunkError, decode
from bus.sqlite_file import query


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """What a log holds: [start, next)."""

    start: int
    next: int


class LogReader:
    """Reads through one connection; keeps the chunk that each log was last read from, at most 1 MiB each."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._chunk_of: dict[int, list[Record]] = {}

    def starts(self, group: str, logs: Sequence[int]) -> dict[TopicPartition, tuple[int, int]]:
        """Log id and the offset that the group has committed, 0 without one, by partition."""
        rows = query(
            self._connection,
            "SELECT l.topic, l.partition, l.id, coalesce(c.offset, 0) FROM log l"
            f" LEFT JOIN committed c ON c.log = l.id AND c.group_name = ? WHERE l.id IN ({_marks(logs)})",
            (group, *logs),
        )
        return {TopicPartition(topic, partition): (log, offset) for topic, partition, log, offset in rows}

    def ranges(self, logs: Sequence[int]) -> dict[int, OffsetRange]:
        """By log id."""
        rows = query(
            self._connection, f"SELECT id, start_offset, next_offset FROM log WHERE id IN ({_marks(logs)})", logs
        )
        return {log: OffsetRange(start, after) for log, start, after in rows}

    def read(self, where: TopicPartition, log: int, position: int, bytes_max: int) -> list[Record]:
        """Records from `position` on, one at least if there is one; raises OffsetGapError, BusUnavailableError when damaged."""
        records: list[Record] = []
        size = 0
        while size < bytes_max:
            chunk = self._chunk_at(where, log, position)
            if not chunk:
                break
            for record in chunk[position - chunk[0].offset :]:
                if records and size + record.size_bytes > bytes_max:
                    return records
                records.append(record)
                size += record.size_bytes
            position = chunk[-1].offset + 1
        return records

    def forget(self, log: int) -> None:
        """Drop what is kept of a log."""
        self._chunk_of.pop(log, None)

    def _chunk_at(self, where: TopicPartition, log: int, position: int) -> list[Record]:
        kept = self._chunk_of.get(log)
        if kept and kept[0].offset <= position <= kept[-1].offset:
            return kept
        low = log << OFFSET_BITS
        rows = query(
            self._connection,
            "SELECT id, count, append_time_ms, raw_bytes, crc, payload FROM chunk WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
            (low | position, low + (1 << OFFSET_BITS)),
        )
        if not rows:
            return []
        chunk_id, count, append_time_ms, raw_bytes, crc, payload = rows[0]
        first = chunk_id - low - count + 1
        if first > position:
            raise OffsetGapError(where.topic, where.partition, position, first)
        chunk = Chunk(count, raw_bytes, crc, payload)
        try:
            records = decode(chunk, where.topic, where.partition, first, append_time_ms)
        except DamagedChunkError as error:
            raise BusUnavailableError(
                f"{where.topic}/{where.partition} is damaged at offset {first} ({error}): seek past {chunk_id - low} to go on"
            ) from error
        self._chunk_of[log] = records
        return records


def _marks(values: Sequence[int]) -> str:
    return ",".join("?" * len(values))
