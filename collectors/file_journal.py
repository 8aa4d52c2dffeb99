"""What the file source must not forget: its identity, how far each file was read, and which batches may be on their way.

SQLite, in exclusive mode: a second agent on the same directory would mint the same identities.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

import apsw

from collectors.errors import JournalError
from collectors.file_records import Intent
from heliograph.message import HeaderList, decode_headers, encode_headers

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (producer_id BLOB NOT NULL, next_sequence INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS configs (version TEXT PRIMARY KEY, resource TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS files (
    device INTEGER NOT NULL, inode INTEGER NOT NULL, generation INTEGER NOT NULL, path TEXT NOT NULL,
    offset INTEGER NOT NULL, fingerprint BLOB NOT NULL, seen_s INTEGER NOT NULL, PRIMARY KEY (device, inode)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (
    sequence INTEGER PRIMARY KEY, partition INTEGER NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
    path TEXT NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL, observed_ns INTEGER NOT NULL,
    schema_id INTEGER NOT NULL, config_version TEXT NOT NULL, headers BLOB NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file was read: everything before `offset` is on the bus or in an intent."""

    device: int
    inode: int
    generation: int
    path: str
    offset: int
    fingerprint: bytes
    """Over the file's head and the bytes before `offset`; empty at offset 0."""
    seen_s: int
    """When the file was last there; seconds since the epoch."""


class Journal:
    """Every method that changes something is durable on return. Used by one thread."""

    def __init__(self, database: apsw.Connection, producer_id: bytes, next_sequence: int) -> None:
        self._db = database
        self.producer_id = producer_id
        self.next_sequence = next_sequence

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make or open it; raises JournalError when it is damaged or in use."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            database = apsw.Connection(str(path))
        except apsw.Error as error:
            raise JournalError(f"{path} cannot be opened: {error}") from error
        try:
            database.set_busy_timeout(2000)
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            with database:
                database.execute(_SCHEMA)
                if database.execute("SELECT count(*) FROM identity").get == 0:
                    database.execute("INSERT INTO identity VALUES (?, 0)", (os.urandom(16),))
                ((producer_id, next_sequence),) = database.execute("SELECT producer_id, next_sequence FROM identity")
            return cls(database, bytes(producer_id), int(next_sequence))
        except apsw.BusyError as error:
            database.close()
            raise JournalError(
                f"another agent uses {path}: stop it, or give this one its own data directory"
            ) from error
        except (apsw.CorruptError, apsw.NotADBError) as error:
            database.close()
            raise JournalError(
                f"{path} is damaged ({error}): move it away, and followed files are read again from their start"
            ) from error
        except apsw.Error as error:
            database.close()
            raise JournalError(f"{path} cannot be used: {error}") from error

    def positions(self) -> list[Position]:
        """Of every file that is remembered."""
        rows = self._db.execute("SELECT device, inode, generation, path, offset, fingerprint, seen_s FROM files")
        return [Position(*row) for row in rows]

    def unfinished(self) -> list[tuple[Intent, HeaderList]]:
        """Intents whose batches are not known to be on the bus, in the order of their sequence, with their batches' headers."""
        rows = self._db.execute(
            "SELECT sequence, partition, device, inode, path, first, next, observed_ns, schema_id, config_version, headers"
            " FROM intents ORDER BY sequence"
        )
        return [(Intent(*row[:-1]), decode_headers(bytes(row[-1]))) for row in rows]

    def resource(self, config_version: str) -> dict[str, str]:
        """The resource that this configuration gave; raises KeyError."""
        row = self._db.execute("SELECT resource FROM configs WHERE version = ?", (config_version,)).fetchone()
        if row is None:
            raise KeyError(config_version)
        return {str(k): str(v) for k, v in json.loads(row[0]).items()}

    def remember_config(self, version: str, resource: Mapping[str, str]) -> None:
        """Keep what a config version stands for. Raises JournalError when the disk does not take it."""
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO configs VALUES (?, ?)", (version, json.dumps(dict(resource))))

    def commit(
        self, finished: Iterable[int], intents: Sequence[tuple[Intent, HeaderList]], positions: Iterable[Position]
    ) -> None:
        """In one transaction: batches that are on the bus, batches that are about to go, and how far that reads.

        Raises JournalError when the disk does not take it; then nothing of it holds.
        """
        with self._writing():
            self._commit(finished, intents, positions)

    def _commit(
        self, finished: Iterable[int], intents: Sequence[tuple[Intent, HeaderList]], positions: Iterable[Position]
    ) -> None:
        with self._db:
            self._db.executemany("DELETE FROM intents WHERE sequence = ?", [(s,) for s in finished])
            self._db.executemany(
                "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*astuple(intent), encode_headers(headers)) for intent, headers in intents],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", [astuple(p) for p in positions]
            )
            if intents:
                self.next_sequence = max(intent.sequence for intent, _ in intents) + 1
                self._db.execute("UPDATE identity SET next_sequence = ?", (self.next_sequence,))

    def forget(self, unseen_since_s: int) -> None:
        """Drop files that have not been there since, and configurations that no intent needs. Raises JournalError."""
        with self._writing(), self._db:
            self._db.execute("DELETE FROM files WHERE seen_s < ?", (unseen_since_s,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise JournalError(f"{self._db.filename} cannot be written, followed files wait: {error}") from error
