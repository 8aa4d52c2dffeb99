"""The embedded schema registry: subjects and versions in one SQLite file, for many processes and threads of one machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from bus.compatibility import incompatibilities
from bus.registry import IncompatibleSchemaError, RegistryUnavailableError, UnknownSchemaError
from bus.sqlite_file import connect_installed, query, told_as, transaction
from heliograph.contracts import Schema, schema_from_text

_ID_MAX = 0x7FFFFFFF
_FORMAT_VERSION = 1
_SCHEMA: Final = """
CREATE TABLE schema (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, text TEXT NOT NULL) STRICT;
CREATE TABLE version (
    subject TEXT NOT NULL, version INTEGER NOT NULL, schema INTEGER NOT NULL REFERENCES schema (id),
    PRIMARY KEY (subject, version), UNIQUE (subject, schema)) STRICT, WITHOUT ROWID;
"""


class EmbeddedRegistry:
    """The Registry port on the file `path`, created when missing. A schema's id is its offline id, or the next free one.

    Raises RegistryUnavailableError when the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[int, Schema] = {}
        with self._told():
            self._connection = connect_installed(path, _SCHEMA, _FORMAT_VERSION)

    def register(self, subject: str, schema: Schema) -> int:
        with self._lock, self._told():
            found = self._id_under(subject, schema)
            if found is not None:
                return found
            with transaction(self._connection):
                return self._id_under(subject, schema) or self._add(subject, schema)

    def schema(self, schema_id: int) -> Schema:
        with self._lock, self._told():
            return self._schema(schema_id)

    def versions(self, subject: str) -> Mapping[int, int]:
        with self._lock, self._told():
            rows = query(
                self._connection, "SELECT version, schema FROM version WHERE subject = ? ORDER BY version", (subject,)
            )
        return {int(version): int(schema_id) for version, schema_id in rows}

    def close(self) -> None:
        """Release the file. Idempotent."""
        with self._lock, self._told():
            self._connection.close()

    def _id_under(self, subject: str, schema: Schema) -> int | None:
        rows = query(
            self._connection,
            "SELECT s.id FROM version v JOIN schema s ON s.id = v.schema WHERE v.subject = ? AND s.fingerprint = ?",
            (subject, schema.fingerprint),
        )
        return int(rows[0][0]) if rows else None

    def _add(self, subject: str, schema: Schema) -> int:
        rows = query(
            self._connection, "SELECT version, schema FROM version WHERE subject = ? ORDER BY version", (subject,)
        )
        for version, earlier_id in rows:
            reasons = incompatibilities(self._schema(earlier_id).parsed, schema.parsed)
            if reasons:
                raise IncompatibleSchemaError(f"{subject}: not compatible with version {version}: {'; '.join(reasons)}")
        schema_id = self._stored_id(schema)
        self._connection.execute(
            "INSERT INTO version (subject, version, schema) VALUES (?, ?, ?)",
            (subject, rows[-1][0] + 1 if rows else 1, schema_id),
        )
        return schema_id

    def _stored_id(self, schema: Schema) -> int:
        rows = query(self._connection, "SELECT id FROM schema WHERE fingerprint = ?", (schema.fingerprint,))
        if rows:
            return int(rows[0][0])
        schema_id: int = schema.offline_id
        while query(self._connection, "SELECT 1 FROM schema WHERE id = ?", (schema_id,)):
            schema_id = schema_id % _ID_MAX + 1
        self._connection.execute(
            "INSERT INTO schema (id, fingerprint, text) VALUES (?, ?, ?)", (schema_id, schema.fingerprint, schema.text)
        )
        return schema_id

    def _schema(self, schema_id: int) -> Schema:
        known = self._known.get(schema_id)
        if known is not None:
            return known
        rows = query(self._connection, "SELECT text FROM schema WHERE id = ?", (schema_id,))
        if not rows:
            raise UnknownSchemaError(schema_id)
        text = str(rows[0][0])
        self._known[schema_id] = schema_from_text(json.loads(text)["name"], text)
        return self._known[schema_id]

    def _told(self) -> AbstractContextManager[None]:
        return told_as(RegistryUnavailableError, self._path)
