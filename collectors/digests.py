"""Which OTLP bodies were taken lately, on disk: a sender whose 200 was lost sends the same body again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import apsw

from collectors.errors import DigestsError

KEEP_S = 600
ROWS_MAX = 500_000
_SCHEMA = "CREATE TABLE IF NOT EXISTS digests (digest BLOB PRIMARY KEY, time_s INTEGER NOT NULL) STRICT, WITHOUT ROWID"
SWEEP_EVERY = 1000


class Digests:
    """Safe from any thread. `remember` is durable on return, and threads that call it together share one fsync.

    It only ever saves from duplicates, so a damaged file is set aside and begun anew.
    """

    def __init__(
        self, database: apsw.Connection, clock_s: Callable[[], float], rows_max: int, sweep_every: int
    ) -> None:
        self._db = database
        self._clock_s = clock_s
        self._rows_max = rows_max
        self._pending: list[bytes] = []
        self._pending_lock = threading.Lock()
        self._lock = threading.Lock()
        self._sweep_every = sweep_every
        self._writes = 0

    @classmethod
    def open(
        cls, path: Path, clock_s: Callable[[], float], rows_max: int = ROWS_MAX, sweep_every: int = SWEEP_EVERY
    ) -> Self:
        """Make or open it; raises DigestsError when the folder cannot be written."""
        with _told():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls._open(path, clock_s, rows_max, sweep_every)

    @classmethod
    def _open(cls, path: Path, clock_s: Callable[[], float], rows_max: int, sweep_every: int) -> Self:
        try:
            return cls(_connect(path), clock_s, rows_max, sweep_every)
        except (apsw.CorruptError, apsw.NotADBError):
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.replace(path.with_name(path.name + ".damaged"))
            return cls(_connect(path), clock_s, rows_max, sweep_every)

    def has(self, digest: bytes) -> bool:
        """Whether this body was remembered within the last ten minutes; raises DigestsError."""
        with self._lock, _told():
            since = int(self._clock_s()) - KEEP_S
            found = self._db.execute("SELECT 1 FROM digests WHERE digest = ? AND time_s >= ?", (digest, since))
            return found.fetchone() is not None

    def remember(self, digest: bytes) -> None:
        """Durable on return; raises DigestsError when the disk does not take it."""
        with self._pending_lock:
            self._pending.append(digest)
        with self._lock:
            with self._pending_lock:
                pending, self._pending = self._pending, []
            if not pending:
                return  # another thread has written it along with its own
            now = int(self._clock_s())
            with _told(), self._db:
                self._db.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?)", [(d, now) for d in pending])
                self._writes += len(pending)
                if self._writes >= self._sweep_every:
                    self._writes = 0
                    self._sweep(now)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _sweep(self, now: int) -> None:
        self._db.execute("DELETE FROM digests WHERE time_s < ?", (now - KEEP_S,))
        surplus = int(self._db.execute("SELECT count(*) FROM digests").get) - self._rows_max
        if surplus > 0:
            self._db.execute(
                "DELETE FROM digests WHERE digest IN (SELECT digest FROM digests ORDER BY time_s LIMIT ?)", (surplus,)
            )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise DigestsError(f"the memory of taken requests cannot be used: {error}") from error


def _connect(path: Path) -> apsw.Connection:
    database = apsw.Connection(str(path))
    try:
        database.set_busy_timeout(5000)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
