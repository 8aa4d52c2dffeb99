"""From a record's bytes to its batch, by the writer's schema; every failure is a DecodeError whose reason is the dead letter's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import fastavro
import google_crc32c

from bus.port import Record
from bus.registry import Registry, UnknownSchemaError
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import schema_id_of
from heliograph.records import decode_batch

SCHEMA_HEADER = "hg.schema"
_MISSES_NEEDED = 2


class WriterSchemas:
    """Writers' schemas by id, checked once against the schema that this program reads with.

    An unknown id is the record's fault only after two answers of the registry, `recheck_s` apart: the registry may lag behind a
    producer. Until then RegistryUnavailableError is what it raises, as for a registry that is away, and the caller tries again.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic, recheck_s: float = 5.0) -> None:
        self._registry = registry
        self._clock = clock
        self._recheck_s = recheck_s
        self._usable: dict[tuple[int, str], contracts.Schema] = {}
        self._missed_at: dict[int, list[float]] = {}

    def of(self, schema_id: int, reader_name: str, fingerprint: bytes | None = None) -> contracts.Schema:
        """The writer's schema; `fingerprint` is what the message's header says of it, which needs no registry when it is ours.

        Raises DecodeError(unknown_schema | incompatible_schema), SchemaPendingError, RegistryUnavailableError.
        """
        reader = contracts.schema(reader_name)
        if schema_id == reader.offline_id or fingerprint == reader.fingerprint:
            return reader
        key = (schema_id, reader_name)
        known = self._usable.get(key)
        if known is not None:
            return known
        writer = self._ask(schema_id)
        if writer.parsed.get("name") != reader.parsed["name"]:
            raise DecodeError(
                "incompatible_schema", f"schema {schema_id} is {writer.parsed.get('name')}, not {reader_name}"
            )
        self._usable[key] = writer
        return writer

    def _ask(self, schema_id: int) -> contracts.Schema:
        try:
            return self._registry.schema(schema_id)
        except UnknownSchemaError as error:
            misses = self._missed_at.setdefault(schema_id, [])
            if not misses or self._clock() - misses[-1] >= self._recheck_s:
                misses.append(self._clock())
            if len(misses) >= _MISSES_NEEDED:
                raise DecodeError("unknown_schema", f"the registry has no schema {schema_id}") from error
            raise SchemaPendingError(schema_id) from error


class SchemaPendingError(Exception):
    """The registry does not know the id yet; ask again after the cache time before calling it the record's fault."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"schema {schema_id} is not registered yet")
        self.schema_id = schema_id


def check_crc(record: Record) -> bool:
    """Whether the record carries a CRC; raises DecodeError("crc_mismatch") when the body does not match it."""
    expected = record.header("hg.crc32c")
    if expected is None:
        return False
    if google_crc32c.value(record.body) != int.from_bytes(expected, "big"):
        raise DecodeError("crc_mismatch", "the body does not match its CRC32C")
    return True


def decode_records(record: Record, reader_name: str, schemas: WriterSchemas) -> dict[str, Any]:
    """A log or span batch as a dict of our schema; raises DecodeError, SchemaPendingError, RegistryUnavailableError."""
    check_crc(record)
    writer = schemas.of(schema_id_of(record.body), reader_name, record.header(SCHEMA_HEADER))
    batch = decode_batch(record.body, writer)
    reader = contracts.schema(reader_name)
    if writer.fingerprint != reader.fingerprint:
        batch = _resolve(batch, writer, reader)
    return batch


def _resolve(batch: dict[str, Any], writer: contracts.Schema, reader: contracts.Schema) -> dict[str, Any]:
    import io

    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, writer.parsed, batch)
    stream.seek(0)
    try:
        resolved = fastavro.schemaless_reader(stream, writer.parsed, reader.parsed)
    except Exception as error:  # fastavro has no common base for resolution errors
        raise DecodeError("incompatible_schema", f"{reader.name}: {error}") from error
    if not isinstance(resolved, dict):
        raise DecodeError("incompatible_schema", f"{reader.name}: not a record")
    return resolved
