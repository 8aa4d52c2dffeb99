"""What the archive must know of a message, from its headers alone where they carry a CRC32C."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import quote

from archive.manifest import Chain
from bus.port import Record
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import schema_id_of
from heliograph.records import decode_batch
from sinks.decode import SCHEMA_HEADER, WriterSchemas, check_crc

TENANT_BYTES_MAX: Final = 64
_HOUR_NS: Final = 3_600_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Archivable:
    """A message that the archive takes."""

    record: Record
    tenant: str
    schema_id: int
    schema_text: str
    time_min_ns: int
    time_max_ns: int
    count: int
    """Log records, spans or samples."""

    @property
    def event_hour(self) -> int:
        """Hours since the epoch of the earliest event."""
        return self.time_min_ns // _HOUR_NS


def judge(record: Record, schemas: WriterSchemas) -> Archivable | DecodeError:
    """The message's place in the archive, or why it can never have one.

    A body without a CRC is decoded whole; without times it goes by its append time. Raises SchemaPendingError,
    RegistryUnavailableError.
    """
    try:
        checked = check_crc(record)
        schema_id = schema_id_of(record.body)
        writer = schemas.of(schema_id, contracts.topics()[record.topic].schema, record.header(SCHEMA_HEADER))
        count = count_of(record)
        if not checked:
            batch = decode_batch(record.body, writer)
            count = len(batch.get("records", batch.get("values", ())))
        time_min_ns = _time_ns(record, "hg.time_min_ns")
        time_max_ns = max(time_min_ns, _time_ns(record, "hg.time_max_ns"))
        return Archivable(record, _tenant(record), schema_id, writer.text, time_min_ns, time_max_ns, count)
    except DecodeError as error:
        return error


def count_of(record: Record) -> int:
    """Items of the message as its header says; 0 where it does not."""
    value = record.header("hg.count")
    return int.from_bytes(value, "big") if value is not None and len(value) == 4 else 0


def object_folder(message: Archivable, chain: Chain) -> str:
    """`<tenant>/<topic>/<yyyy>/<mm>/<dd>/<hh>/<log id>/<partition>`."""
    hour = _EPOCH + timedelta(hours=message.event_hour)
    when = f"{hour.year:04d}/{hour.month:02d}/{hour.day:02d}/{hour.hour:02d}"
    return f"{tenant_folder(message.tenant)}/{chain.topic}/{when}/{chain.log_id}/{chain.partition:05d}"


def tenant_folder(tenant: str) -> str:
    """A tenant as one part of a key: percent-encoded, a leading dot or underscore too, for those names are the archive's own."""
    folder = quote(tenant, safe="")
    return f"%{ord(folder[0]):02X}{folder[1:]}" if folder[0] in "._" else folder


def _tenant(record: Record) -> str:
    value = record.header("hg.tenant")
    if value is None:
        return "default"
    try:
        tenant = value.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("bad_headers", f"hg.tenant: {error}") from error
    if not 0 < len(value) <= TENANT_BYTES_MAX:
        raise DecodeError("bad_headers", f"hg.tenant has {len(value)} bytes; a tenant has 1 to {TENANT_BYTES_MAX}")
    return tenant


def _time_ns(record: Record, header: str) -> int:
    value = record.header(header)
    if value is None:
        return record.append_time_ms * 1_000_000
    if len(value) != 8:
        raise DecodeError("bad_headers", f"{header} has {len(value)} bytes, not 8")
    return int.from_bytes(value, "big", signed=True)
