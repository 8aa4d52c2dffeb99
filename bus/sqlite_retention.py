"""Retention in the file: old chunks go and free pages are given back, a bounded step at a time, each in the caller's transaction."""

from __future__ import annotations

import apsw

from bus.sqlite_append import OFFSET_BITS
from bus.sqlite_file import pragma, query

_STEP_CHUNKS = 256
_STEP_BYTES = 16 * 1024 * 1024
_STEP_PAGES = 2048
_FREE_PAGES_KEPT = 4096
"""Appends reuse these sooner than the file could shrink and grow again."""


def drop_some(connection: apsw.Connection, log: int, before_ms: int) -> int:
    """Remove the oldest chunks appended before `before_ms`; how many messages, 0 when none is left."""
    low, high = log << OFFSET_BITS, (log + 1) << OFFSET_BITS
    oldest = query(
        connection,
        "SELECT id, count, append_time_ms, length(payload) FROM chunk WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (low, high, _STEP_CHUNKS),
    )
    messages = size = 0
    last: int | None = None
    for chunk_id, count, append_time_ms, payload_bytes in oldest:
        if append_time_ms >= before_ms or (last is not None and size + payload_bytes > _STEP_BYTES):
            break
        last, messages, size = chunk_id, messages + count, size + payload_bytes
    if last is not None:
        connection.execute("DELETE FROM chunk WHERE id >= ? AND id <= ?", (low, last))
        connection.execute("UPDATE log SET start_offset = ? WHERE id = ?", (last - low + 1, log))
    return messages


def shrink_some(connection: apsw.Connection) -> int:
    """Give free pages back to the file system; how many, 0 when few enough are left."""
    free = pragma(connection, "freelist_count")
    pages = min(free - _FREE_PAGES_KEPT, _STEP_PAGES)
    if pages <= 0:
        return 0
    query(connection, f"PRAGMA incremental_vacuum({pages})")
    return max(0, free - pragma(connection, "freelist_count"))
