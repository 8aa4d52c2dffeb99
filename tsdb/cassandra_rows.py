"""L0 rows and flush records."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Final, TypeAlias

from .cassandra_cells import decode_flush, decode_ranges, decode_row, encode_flush, encode_ranges, encode_row, slot_of
from .cassandra_known import Known
from .cassandra_schema import SLOTS
from .cassandra_session import CassandraSession
from .cassandra_spreads import Spreads
from .errors import RowTooLargeError, StoreUnavailableError
from .port import WINDOWS_PER_DAY, DayFlush, FlushRecord, L0Row, Source, Stored

_KEY: Final = "space = ? AND tenant = ? AND window = ? AND slot = ? AND bucket = ?"
_PUT: Final = "INSERT INTO l0 (space, tenant, window, slot, bucket, log_id, ranges, writer, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ROWS: Final = f"SELECT log_id, ranges, writer, data FROM l0 WHERE {_KEY}"
_STORED: Final = f"SELECT data FROM l0 WHERE {_KEY} AND log_id = ? AND ranges = ? AND writer = ?"
_PUT_FLUSH: Final = "INSERT INTO flushes (space, day, slot, log_id, ranges, writer, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
_FLUSHES: Final = "SELECT log_id, ranges, writer, data FROM flushes WHERE space = ? AND day = ? AND slot = ?"
_OVERHEAD_BYTES: Final = 4096
"""What a mutation has besides the block: keys, lengths, what the server adds; ranges come on top."""

_Placed: TypeAlias = tuple[tuple[str, str, int, int], L0Row]
"""A row with its partition: space, tenant, window and slot."""


class Rows:
    """The rows of one space."""

    def __init__(self, session: CassandraSession, space: str, known: Known, read_bytes_max: int) -> None:
        self._session = session
        self._space = space
        self._known = known
        self._spreads = Spreads(session, space, known)
        self._read_bytes_max = read_bytes_max

    def check_sizes(self, flush: DayFlush) -> None:
        """Before anything is written. Raises RowTooLargeError."""
        bytes_max = self._session.row_bytes_max - _OVERHEAD_BYTES - 20 * len(flush.source.ranges)
        for row in flush.rows:
            if len(row.block) > bytes_max:
                raise RowTooLargeError(f"a row of bucket {row.bucket}", len(row.block), bytes_max)

    def put(self, flush: DayFlush) -> None:
        """A key holds its writer, so only what this process tried before is looked for first: what is there keeps its content, and is
        written again, because a try that failed may have reached one replica only.
        """
        source = flush.source
        key = (source.log_id, encode_ranges(source.ranges), source.writer)
        slots = self._spreads.put(flush.day, flush.rows)
        places = [(self._space, r.tenant, r.window, slot_of(r.bucket, slots[r.tenant, r.window])) for r in flush.rows]
        # Rows of one partition follow each other, so that they go together.
        rows: list[_Placed] = sorted(zip(places, flush.rows, strict=True), key=itemgetter(0))
        contents: Iterable[bytes] = (encode_row(row) for _, row in rows)
        if not self._known.first_try(flush.day, source):
            keys = ((*place, row.bucket, *key) for place, row in rows)
            stored = [
                found[0][0] if found else None for _, found in self._session.read(_STORED, keys, "looking for rows")
            ]
            contents = (was or new for was, new in zip(stored, contents, strict=True))
        size_bytes = len(key[1]) + 200
        writes = (
            ((*place, row.bucket, *key, data), len(row.block) + size_bytes)
            for (place, row), data in zip(rows, contents, strict=True)
        )
        self._session.write(_PUT, writes, "writing rows")

    def read(
        self, tenant: str, day: int, buckets: Collection[str], first_window: int, last_window: int
    ) -> list[Stored]:
        """See BlockReader."""
        first = max(first_window, day * WINDOWS_PER_DAY)
        following = min(last_window + 1, (day + 1) * WINDOWS_PER_DAY)
        keys = (
            (self._space, tenant, window, slot, bucket)
            for bucket, slots in self._spreads.slots_of(tenant, day, buckets).items()
            for window in range(first, following)
            for slot in slots
        )
        sources: dict[tuple[str, bytes, str], Source] = {}
        found: dict[tuple[str, int, tuple[str, bytes, str]], Stored] = {}
        size = 0
        for (_, _, window, _, bucket), rows in self._session.read(_ROWS, keys, "reading rows"):
            for log_id, ranges, writer, data in rows:
                key = (log_id, ranges, writer)
                source = sources.get(key)
                if source is None:
                    source = sources[key] = Source(log_id, decode_ranges(ranges), writer)
                # A row that was tried twice may be in two slots.
                found.setdefault((bucket, window, key), decode_row(window, source, data))
                size += len(data)
            if size > self._read_bytes_max:
                raise StoreUnavailableError(
                    f"a query of more than {self._read_bytes_max:,} bytes of rows: ask for less at once"
                )
        return list(found.values())

    def record(self, day: int, flush: FlushRecord) -> None:
        """See BlockWriter."""
        source = flush.source
        ranges, data = encode_ranges(flush.source.ranges), encode_flush(flush)
        values = (self._space, day, _flush_slot(ranges), source.log_id, ranges, source.writer, data)
        self._session.write(_PUT_FLUSH, [(values, len(data) + len(ranges) + 200)], "writing a flush record")

    def records(self, day: int) -> list[FlushRecord]:
        """See BlockAudit; sorted by source."""
        keys = [(self._space, day, slot) for slot in range(SLOTS)]
        found = [row for _, rows in self._session.read(_FLUSHES, keys, "reading flush records") for row in rows]
        return [
            decode_flush(Source(log_id, decode_ranges(ranges), writer), data)
            for log_id, ranges, writer, data in sorted(found, key=lambda row: row[:3])
        ]


def _flush_slot(ranges: bytes) -> int:
    return slot_of(ranges.hex())
