"""One SQLite file of the bus: opened durably, written in immediate transactions, its failures told in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

BUSY_TIMEOUT_MS = 10_000
PAGE_BYTES = 8192
_CHECKPOINT_BYTES = 32 * 1024 * 1024
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)


def connect(path: Path) -> apsw.Connection:
    """A connection in WAL mode with synchronous=FULL; the file is created when missing. Raises apsw.Error or OSError."""
    is_new = not path.exists()
    if is_new:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        for setting in (
            f"page_size={PAGE_BYTES}",
            "auto_vacuum=INCREMENTAL",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={_CHECKPOINT_BYTES // PAGE_BYTES}",
            f"journal_size_limit={_WAL_KEPT_BYTES}",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    if is_new:
        sync_directory(path.parent)
        sync_directory(path.parent.parent)
    return connection


def connect_installed(path: Path, schema_sql: str, format_version: int) -> apsw.Connection:
    """connect(), and the tables made when they are missing; raises apsw.FormatError when the file is of another format."""
    connection = connect(path)
    try:
        _install(connection, schema_sql, format_version)
    except BaseException:
        connection.close()
        raise
    return connection


def query(connection: apsw.Connection, sql: str, values: Sequence[str | int | bytes] = ()) -> list[tuple[Any, ...]]:
    """All rows; what type a column has is said by its STRICT table."""
    return [tuple(row) for row in connection.execute(sql, values).fetchall()]


def pragma(connection: apsw.Connection, name: str) -> int:
    """A number that SQLite keeps about the file or the connection."""
    return int(query(connection, f"PRAGMA {name}")[0][0])


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT; rolled back when anything raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        raise


@contextmanager
def told_as(unavailable: type[Exception], path: Path) -> Iterator[None]:
    """Raise what SQLite and the file system say as `unavailable`, with what to do."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise unavailable(sentence(error, path)) from error


def sentence(error: Exception, path: Path) -> str:
    """What has happened to the file, and what to do about it."""
    if isinstance(error, _DAMAGED):
        return f"{path} is damaged or not ours ({error}): stop Heliograph, move {path.parent} away and start again"
    if isinstance(error, apsw.FullError):
        return f"the disk is full: free some space for {path}"
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return f"{path} is locked by another process for more than {BUSY_TIMEOUT_MS // 1000} s: try again"
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError | PermissionError):
        return f"{path} cannot be opened for writing: check that its folder exists and belongs to this user"
    if isinstance(error, apsw.ConnectionClosedError):
        return f"{path} has been closed"
    return f"{path} cannot be read or written ({error}): check the disk"


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _install(connection: apsw.Connection, schema_sql: str, format_version: int) -> None:
    if pragma(connection, "user_version") == format_version:
        return
    with transaction(connection):
        found = pragma(connection, "user_version")
        if found == 0:
            connection.execute(schema_sql).fetchall()
            connection.execute(f"PRAGMA user_version={format_version}").fetchall()
        elif found != format_version:
            raise apsw.FormatError(f"format {found}, this program reads format {format_version}")
