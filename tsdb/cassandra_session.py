"""Requests to the cluster: prepared, bounded in number and bytes, waited for in order, with the driver's errors told as the store's."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cassandra.query import BatchStatement, BatchType

from .cassandra_connect import ONE, QUORUM, SERIAL, connect
from .cassandra_errors import FAULTS, UNDECIDED, too_few_replicas, unavailable
from .cassandra_settings import CassandraSettings
from .errors import StoreUnavailableError, TsdbConfigError

_LOG = logging.getLogger(__name__)
_READS_MAX: Final = 16
_PAGE_ROWS: Final = 32
"""Of blobs: a page is answered, and held by the server, as a whole."""
_DEGRADED_S: Final = 10.0
"""How long reads ask one replica at once after a quorum was not to be had."""
_ONE_TRIES: Final = 3
"""Of a read at ONE: until the cluster has noticed that a node is dead, the one replica that is asked may be that one."""
_BATCH_ROWS_MAX: Final = 64
_BATCH_BYTES_MAX: Final = 128 * 1024
"""Of rows that are sent together; far below what the server takes at once, which is 512 KiB where its segments are smallest."""

Row: TypeAlias = tuple[Any, ...]


@dataclass(slots=True)
class _Connected:
    cluster: Any
    session: Any
    mutation_bytes_max: int
    prepared: dict[str, Any] = field(default_factory=dict)


class CassandraSession:
    """A connection that is made when it is first needed, and kept. Safe from several threads."""

    def __init__(self, settings: CassandraSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Connected | None = None
        self._closed = False
        self._degraded_until: float | None = None

    def open(self) -> None:
        """Connect, and make the tables where they are missing. Raises TsdbConfigError, StoreUnavailableError."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError("the connection to Cassandra is closed")
            if self._held is None:
                self._held = _Connected(*connect(self._settings))

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            held, self._held, self._closed = self._held, None, True
        if held is not None:
            held.cluster.shutdown()

    @property
    def row_bytes_max(self) -> int:
        """The most that a row may have, keys and what the server adds included."""
        return min(self._settings.row_bytes_max, self._connected().mutation_bytes_max)

    def write(self, cql: str, rows: Iterable[tuple[Row, int]], doing: str) -> None:
        """Write rows of (values, about how many bytes), durable on a quorum on return; of one partition they should follow each other.

        Raises StoreUnavailableError when one was not acknowledged; the others may be there or not.
        """
        held = self._connected()
        waiting: deque[tuple[Any, int]] = deque()
        in_flight = 0
        try:
            for request, size_bytes in self._requests(_prepared(held, cql), rows):
                while waiting and (
                    len(waiting) >= self._settings.in_flight_max
                    or in_flight + size_bytes > self._settings.in_flight_bytes_max
                ):
                    in_flight -= _settled(waiting)
                waiting.append((held.session.execute_async(request), size_bytes))
                in_flight += size_bytes
            while waiting:
                _settled(waiting)
        except FAULTS as error:
            # Nothing of this call is under way any more when it has failed.
            for future, _ in waiting:
                with contextlib.suppress(*FAULTS):
                    future.result()
            raise unavailable(error, doing) from error

    def read(
        self, cql: str, keys: Iterable[Row], doing: str, level: object = QUORUM
    ) -> Iterator[tuple[Row, list[Row]]]:
        """For each key its rows, in order, some keys at once; rows come in small pages.

        A quorum that is not to be had is done without, and a warning is logged once. Raises StoreUnavailableError.
        """
        held = self._connected()
        waiting: deque[tuple[Row, Any, object]] = deque()
        try:
            statement = _prepared(held, cql)
            for key in keys:
                if len(waiting) >= _READS_MAX:
                    yield self._answer(held, statement, *waiting.popleft())
                asked = self._level(level)
                waiting.append((key, held.session.execute_async(statement, key, execution_profile=asked), asked))
            while waiting:
                yield self._answer(held, statement, *waiting.popleft())
        except FAULTS as error:
            raise unavailable(error, doing) from error

    def read_one(self, cql: str, key: Row, doing: str, level: object = QUORUM) -> list[Row]:
        """The rows of one key."""
        ((_, rows),) = self.read(cql, [key], doing, level)
        return rows

    def change(self, changes: Sequence[tuple[str, Row]], doing: str) -> bool | None:
        """Compare-and-set rows of one partition, all or none: True done, False not, None when nobody knows.

        After None the rows must be read at SERIAL, which settles it.
        """
        held = self._connected()
        try:
            statements = [_prepared(held, cql).bind(values) for cql, values in changes]
            for statement in statements:
                statement.is_idempotent = False
            if len(statements) == 1:
                (request,) = statements
            else:
                request = BatchStatement(BatchType.UNLOGGED)
                for statement in statements:
                    request.add(statement)
            return bool(held.session.execute(request).one()[0])
        except UNDECIDED as error:
            _LOG.warning("Cassandra: %s", unavailable(error, doing))
            return None
        except FAULTS as error:
            raise unavailable(error, doing) from error

    def _requests(self, statement: Any, rows: Iterable[tuple[Row, int]]) -> Iterator[tuple[Any, int]]:
        """Rows of one partition that follow each other go together: most of what a write costs the server is per mutation."""
        bytes_max = min(_BATCH_BYTES_MAX, self._settings.in_flight_bytes_max)
        together: list[Any] = []
        size = 0
        for values, size_bytes in rows:
            bound = statement.bind(values)
            full = len(together) == _BATCH_ROWS_MAX or size + size_bytes > bytes_max
            if together and (full or bound.routing_key != together[0].routing_key):
                yield _request(together), size
                together, size = [], 0
            together.append(bound)
            size += size_bytes
        if together:
            yield _request(together), size

    def _connected(self) -> _Connected:
        """In flight nobody can be asked to mend settings: whatever it is, it is tried again."""
        held = self._held
        if held is not None:
            return held
        try:
            self.open()
        except TsdbConfigError as error:
            raise StoreUnavailableError(str(error)) from error
        return self._connected()

    def _level(self, wanted: object) -> object:
        if wanted == QUORUM and self._degraded_until is not None and self._clock() < self._degraded_until:
            return ONE
        return wanted

    def _answer(self, held: _Connected, statement: Any, key: Row, future: Any, asked: object) -> tuple[Row, list[Row]]:
        try:
            rows = list(future.result())
        except FAULTS as error:
            if asked == SERIAL or not too_few_replicas(error):
                raise
            if asked == ONE:
                return key, _of_one(held, statement, key, _ONE_TRIES - 1)
            if self._degraded_until is None:
                _LOG.warning("Cassandra: reading from one replica until a quorum is there again: %s", error)
            self._degraded_until = self._clock() + _DEGRADED_S
            return key, _of_one(held, statement, key, _ONE_TRIES)
        if asked == QUORUM and self._degraded_until is not None:
            self._degraded_until = None
            _LOG.info("Cassandra: reading from a quorum again")
        return key, rows


def _prepared(held: _Connected, cql: str) -> Any:
    statement = held.prepared.get(cql)
    if statement is None:
        statement = held.session.prepare(cql)
        # Every write gives a row its one content, and may be sent again.
        statement.is_idempotent = True
        statement.fetch_size = _PAGE_ROWS if "data" in cql else 5_000
        held.prepared[cql] = statement
    return statement


def _request(bound: Sequence[Any]) -> Any:
    """One mutation of rows of one partition."""
    if len(bound) == 1:
        return bound[0]
    batch = BatchStatement(BatchType.UNLOGGED)
    for statement in bound:
        batch.add(statement)
    # The driver does not conclude it from the statements.
    batch.is_idempotent = True
    return batch


def _of_one(held: _Connected, statement: Any, key: Row, tries: int) -> list[Row]:
    """Asks one replica, and again; the driver goes to any of them each time."""
    try:
        return list(held.session.execute(statement, key, execution_profile=ONE))
    except FAULTS as error:
        if tries <= 1 or not too_few_replicas(error):
            raise
    return _of_one(held, statement, key, tries - 1)


def _settled(waiting: deque[tuple[Any, int]]) -> int:
    """Wait for the oldest request; how many bytes it had."""
    future, size_bytes = waiting.popleft()
    future.result()
    return size_bytes
