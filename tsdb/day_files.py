"""One SQLite file per UTC day: opening, making, setting aside and retiring them; connections are pooled per file."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from .errors import StoreUnavailableError
from .port import RetiredDayError

_LOG = logging.getLogger(__name__)
_EPOCH_ORDINAL: Final = 719_163
_BUSY_TIMEOUT_MS: Final = 5_000
_CACHE_KIB: Final = 4_096
_POOLED_MAX: Final = 8

_SCHEMA: Final = """
CREATE TABLE catalog (tenant TEXT, metric TEXT, bucket TEXT, shards INTEGER, kind TEXT, unit TEXT, help TEXT, family TEXT,
  PRIMARY KEY (tenant, metric)) WITHOUT ROWID;
CREATE TABLE sets (hash BLOB PRIMARY KEY, data BLOB);
CREATE TABLE metric_sets (tenant TEXT, metric TEXT, hash BLOB, PRIMARY KEY (tenant, metric, hash)) WITHOUT ROWID;
CREATE TABLE directory (tenant TEXT, name TEXT, value TEXT, metric TEXT,
  PRIMARY KEY (tenant, name, value, metric)) WITHOUT ROWID;
CREATE TABLE l0 (id INTEGER PRIMARY KEY, tenant TEXT, bucket TEXT, window INTEGER, log_id TEXT, ranges BLOB, writer TEXT,
  set_hash BLOB, samples INTEGER, hash_sum INTEGER, data BLOB);
CREATE UNIQUE INDEX l0_key ON l0 (tenant, bucket, window, log_id, ranges, writer);
CREATE TABLE flushes (log_id TEXT, ranges BLOB, writer TEXT, data BLOB, PRIMARY KEY (log_id, ranges, writer));
CREATE TABLE manifests (tenant TEXT, metric TEXT, shard INTEGER, generation INTEGER, data BLOB,
  PRIMARY KEY (tenant, metric, shard));
CREATE TABLE merged (tenant TEXT, version TEXT, data BLOB, PRIMARY KEY (tenant, version));
"""


class _Open:
    """A connection and the file it was opened on: the path may name another file by now."""

    __slots__ = ("connection", "identity")

    def __init__(self, path: Path) -> None:
        self.identity = _identity(path)
        self.connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self.connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        self.connection.execute(f"PRAGMA synchronous=FULL; PRAGMA cache_size=-{_CACHE_KIB}")


class DayFiles:
    """The files under one folder; safe from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._pool: dict[int, list[_Open]] = {}
        self._made = 0

    def days(self) -> list[int]:
        """Days that have a file, sorted."""
        try:
            names = [path.name for path in self._root.glob("day-????????.db")]
        except OSError as error:
            raise _unavailable(error) from error
        return sorted(day for name in names if (day := _day_of(name)) is not None)

    @contextlib.contextmanager
    def reading(self, day: int) -> Iterator[apsw.Connection | None]:
        """A connection, or None when the day has no file. Raises StoreUnavailableError for whatever SQLite says."""
        try:
            found = self._take(day)
        except FileNotFoundError:
            found = None
        except (apsw.Error, OSError) as error:
            raise _unavailable(error) from error
        if found is None:
            yield None
            return
        try:
            yield found.connection
        except (apsw.Error, UnicodeDecodeError) as error:
            found.connection.close()
            raise _unavailable(error) from error
        except BaseException:
            found.connection.close()
            raise
        self._give_back(day, found)

    @contextlib.contextmanager
    def writing(self, day: int) -> Iterator[apsw.Connection]:
        """A connection inside BEGIN IMMEDIATE, committed at the end; the file is made when it is missing.

        Raises RetiredDayError; StoreUnavailableError for whatever SQLite says. A file that is no database any more is set aside.
        """
        found = self._take_or_make(day)
        try:
            found.connection.execute("BEGIN IMMEDIATE")
            if self._mark(day).exists():
                raise RetiredDayError(day)
            yield found.connection
            if _identity(self.path(day)) != found.identity:
                raise StoreUnavailableError(f"{self.path(day)} was replaced while it was written")
            found.connection.execute("COMMIT")
        except (apsw.Error, OSError) as error:
            found.connection.close()
            if _beyond_use(error):
                self._set_aside(day, found, error)
            raise _unavailable(error) from error
        except BaseException:
            found.connection.close()
            raise
        self._give_back(day, found)

    def retire(self, day: int) -> None:
        """A mark that writers refuse, a barrier for those already writing, then the file goes. Idempotent."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._mark(day).touch()
            _sync_folder(self._root)
            with contextlib.suppress(RetiredDayError), self._barrier(day):
                pass
            self._drop_pool(day)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path(day)}{suffix}").unlink(missing_ok=True)
            _sync_folder(self._root)
        except OSError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close every pooled connection. Idempotent."""
        for day in list(self._pool):
            self._drop_pool(day)

    def path(self, day: int) -> Path:
        """The file of a day."""
        return self._root / f"day-{_date(day)}.db"

    def _mark(self, day: int) -> Path:
        return self._root / f"day-{_date(day)}.retired"

    @contextlib.contextmanager
    def _barrier(self, day: int) -> Iterator[None]:
        if self.path(day).exists():
            with self.writing(day):
                yield
        else:
            yield

    def _take(self, day: int) -> _Open:
        path = self.path(day)
        identity = _identity(path)
        with self._lock:
            pooled = self._pool.get(day, [])
            while pooled:
                found = pooled.pop()
                if found.identity == identity:
                    return found
                found.connection.close()
        return _Open(path)

    def _give_back(self, day: int, found: _Open) -> None:
        with self._lock:
            self._pool.setdefault(day, []).append(found)
            spare = None
            if sum(map(len, self._pool.values())) > _POOLED_MAX:
                oldest = next(key for key, pooled in self._pool.items() if pooled)
                spare = self._pool[oldest].pop(0)
            self._pool = {key: pooled for key, pooled in self._pool.items() if pooled}
        if spare is not None:
            spare.connection.close()

    def _drop_pool(self, day: int) -> None:
        with self._lock:
            for found in self._pool.pop(day, []):
                found.connection.close()

    def _take_or_make(self, day: int) -> _Open:
        try:
            try:
                return self._take(day)
            except FileNotFoundError:
                if self._mark(day).exists():
                    raise RetiredDayError(day) from None
                self._make(day)
                return self._take(day)
        except (apsw.Error, OSError) as error:
            if _beyond_use(error):
                self._set_aside(day, None, error)
            raise _unavailable(error) from error

    def _make(self, day: int) -> None:
        """Under another name first, so that a file of this name is always a whole one."""
        self._root.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._made += 1
            new = self._root / f".day-{_date(day)}-{os.getpid()}-{self._made}.new"
        new.unlink(missing_ok=True)
        connection = apsw.Connection(str(new))
        try:
            connection.execute("PRAGMA page_size=16384; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=FULL")
            connection.execute(f"BEGIN; {_SCHEMA} COMMIT; PRAGMA journal_mode=WAL")
        finally:
            connection.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{new}{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            self.path(day).hardlink_to(new)
        new.unlink()
        _sync_folder(self._root)

    def _set_aside(self, day: int, found: _Open | None, error: Exception) -> None:
        path = self.path(day)
        with self._lock:
            if found is not None and path.exists() and _identity(path) != found.identity:
                return
            number = len(list(self._root.glob(f"{path.name}.corrupt-*")))
            aside = self._root / f"{path.name}.corrupt-{number + 1}"
            for suffix in ("-wal", "-shm", ""):
                source = Path(f"{path}{suffix}")
                if source.exists():
                    source.rename(f"{aside}{suffix}")
        _LOG.error(
            "%s is not a usable database (%s): set aside as %s; replay the day to restore it", path, error, aside
        )


def _date(day: int) -> str:
    return datetime.date.fromordinal(_EPOCH_ORDINAL + day).strftime("%Y%m%d")


def _day_of(name: str) -> int | None:
    try:
        return datetime.datetime.strptime(name[4:12], "%Y%m%d").toordinal() - _EPOCH_ORDINAL
    except ValueError:
        return None


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _beyond_use(error: Exception) -> bool:
    """Whether the file is no database of ours any more; a file cut to nothing is a database without tables."""
    return isinstance(error, apsw.NotADBError | apsw.CorruptError) or "no such table" in str(error)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unavailable(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(f"the time-series store cannot be used now: {type(error).__name__}: {error}")
