"""Log and span batches: records are encoded one by one, packed by size and partition, then sealed with an identity.

A record's content is its Avro bytes without the last field; `item_hash` is over identity and content, and is appended.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypedDict

import fastavro
import google_crc32c

from . import contracts
from .errors import DecodeError, EncodeError, OversizeError
from .framing import FRAME_BYTES, frame, schema_id_of, zigzag
from .identity import BatchId, Mint, item_hash
from .message import BookEntry, Headers, Message, partition_of

AttributeValue: TypeAlias = "str | int | float | bool"
Attributes: TypeAlias = Mapping[str, AttributeValue]

NANOS_PER_MINUTE = 60_000_000_000
_TIME_NS_MAX = 2**63 - 1
_RECORD_OVERHEAD_BYTES = 2048  # envelope, headers and array framing of a batch that holds one record
RECORD_BYTES_MAX = contracts.BATCH_BYTES_MAX - 64 * 1024


class LogRecord(TypedDict):
    """One log record of log_batch.avsc, without the fields that sealing mints."""

    time_unix_nano: int
    observed_time_unix_nano: int
    severity_number: int
    severity_text: str
    body: str
    attributes: Attributes
    trace_id: bytes
    span_id: bytes
    flags: int


class SpanEvent(TypedDict):
    """Something that happened within a span."""

    time_unix_nano: int
    name: str
    attributes: Attributes


class SpanLink(TypedDict):
    """Another span that this one is about."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes


class Span(TypedDict):
    """One span of span_batch.avsc, without the fields that sealing mints."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    trace_state: str
    name: str
    kind: int
    start_time_unix_nano: int
    end_time_unix_nano: int
    status_code: int
    status_message: str
    attributes: Attributes
    events: Sequence[SpanEvent]
    links: Sequence[SpanLink]
    flags: int


@dataclass(frozen=True, slots=True)
class Source:
    """Whose records a batch holds."""

    resource: Mapping[str, str]
    """Resource attributes, service.name included."""
    scope_name: str = ""
    scope_version: str = ""
    tenant: str = "default"

    @property
    def service(self) -> str:
        return self.resource.get("service.name", "unknown_service")

    @property
    def key(self) -> bytes:
        """What records without a trace are partitioned by."""
        return "\0".join(f"{k}={v}" for k, v in sorted(self.resource.items())).encode()


@dataclass(frozen=True, slots=True)
class _Signal:
    topic: str
    schema: contracts.Schema
    content: Any  # the record's schema without item_hash, as fastavro parsed it
    time_field: str


def _signal(topic: str, schema_name: str, time_field: str) -> _Signal:
    schema = contracts.schema(schema_name)
    records = next(f for f in schema.parsed["fields"] if f["name"] == "records")
    item = records["type"]["items"]
    if item["fields"][-1]["name"] != "item_hash":
        raise AssertionError(f"{schema_name}: item_hash must stand last in a record")
    return _Signal(topic, schema, fastavro.parse_schema({**item, "fields": item["fields"][:-1]}), time_field)


LOGS: Final = _signal(contracts.LOGS_TOPIC, "log_batch", "time_unix_nano")
SPANS: Final = _signal(contracts.TRACES_TOPIC, "span_batch", "start_time_unix_nano")


def event_minute(time_ns: int) -> int:
    """The ledger's bucket of a time: minutes since the epoch; 0 for all before it."""
    return max(0, time_ns // NANOS_PER_MINUTE)


def seal_logs(records: Iterable[LogRecord], source: Source, mint: Mint, schema_id: int | None = None) -> list[Message]:
    """Batches of log records, about 256 KiB each, never more than 900 KiB; a body too long is cut with a mark.

    Raises EncodeError when a record does not fit the schema, OversizeError when its attributes alone are too large.
    """
    return _seal(LOGS, [_encode_log(r) for r in records], source, mint, schema_id)


def seal_spans(spans: Iterable[Span], source: Source, mint: Mint, schema_id: int | None = None) -> list[Message]:
    """Batches of spans; sizes and errors as in seal_logs."""
    return _seal(SPANS, [_encode_span(s) for s in spans], source, mint, schema_id)


def decode_batch(message: bytes, schema: contracts.Schema) -> dict[str, Any]:
    """A framed log or span batch as a dict of its schema; raises DecodeError("not_avro")."""
    schema_id_of(message)
    stream = io.BytesIO(message)
    stream.seek(FRAME_BYTES)
    try:
        batch = fastavro.schemaless_reader(stream, schema.parsed, None)
    except Exception as error:  # fastavro raises whatever its reader stumbles over: EOFError, IndexError, struct.error…
        raise DecodeError("not_avro", f"{schema.name}: {type(error).__name__}: {error}") from error
    if stream.read(1):
        raise DecodeError("not_avro", f"{schema.name}: bytes after the end of the record")
    if not isinstance(batch, dict):
        raise DecodeError("not_avro", f"{schema.name}: not a record")
    return batch


@dataclass(frozen=True, slots=True)
class _Encoded:
    content: bytes
    time_ns: int
    trace_id: bytes


def _checked_time(time_ns: int) -> int:
    if not -_TIME_NS_MAX - 1 <= time_ns <= _TIME_NS_MAX:
        raise EncodeError("bad_record", f"the time {time_ns} ns does not fit 64 bits")
    return time_ns


def _encode_log(record: LogRecord) -> _Encoded:
    _checked_time(record["observed_time_unix_nano"])
    whole = {"truncated_bytes": 0, **record, "event_minute": event_minute(record["time_unix_nano"])}
    content = _content(LOGS, whole)
    if len(content) > RECORD_BYTES_MAX:
        body = record["body"].encode("utf-8", "replace")
        keep = len(body) - (len(content) - RECORD_BYTES_MAX)
        if keep < 0:
            raise OversizeError(f"a log record of {len(content)} bytes whose attributes alone exceed the limit")
        cut = body[:keep].decode("utf-8", "ignore")
        whole |= {"body": cut, "truncated_bytes": len(body) - len(cut.encode())}
        content = _content(LOGS, whole)
    return _Encoded(content, _checked_time(record["time_unix_nano"]), record["trace_id"])


def _encode_span(span: Span) -> _Encoded:
    _checked_time(span["end_time_unix_nano"])
    whole = {**span, "event_minute": event_minute(span["start_time_unix_nano"])}
    content = _content(SPANS, whole)
    if len(content) > RECORD_BYTES_MAX:
        raise OversizeError(f"a span of {len(content)} bytes")
    return _Encoded(content, _checked_time(span["start_time_unix_nano"]), span["trace_id"])


def _content(signal: _Signal, record: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    try:
        fastavro.schemaless_writer(stream, signal.content, record)
    except Exception as error:  # fastavro raises whatever its writer stumbles over: ValueError, KeyError, TypeError…
        raise EncodeError("bad_record", f"{signal.schema.name}: {type(error).__name__}: {error}") from error
    return stream.getvalue()


def _seal(
    signal: _Signal, encoded: Sequence[_Encoded], source: Source, mint: Mint, schema_id: int | None
) -> list[Message]:
    partitions = contracts.topics()[signal.topic].partitions
    home = partition_of(source.key, partitions)
    groups: dict[int, list[_Encoded]] = {}
    for item in encoded:
        partition = partition_of(item.trace_id, partitions) if item.trace_id else home
        groups.setdefault(partition, []).append(item)
    framed = frame(signal.schema.wire_id if schema_id is None else schema_id)
    return [
        _message(signal, pack, source, mint(), partition, framed)
        for partition, items in sorted(groups.items())
        for pack in _packs(items)
    ]


def _packs(items: Sequence[_Encoded]) -> Iterator[list[_Encoded]]:
    pack: list[_Encoded] = []
    size = _RECORD_OVERHEAD_BYTES
    for item in items:
        if pack and size + len(item.content) > contracts.BATCH_BYTES_TARGET:
            yield pack
            pack, size = [], _RECORD_OVERHEAD_BYTES
        pack.append(item)
        size += len(item.content) + 5
    if pack:
        yield pack


def _message(
    signal: _Signal, pack: Sequence[_Encoded], source: Source, batch_id: BatchId, partition: int, framed: bytes
) -> Message:
    hashes = [item_hash(batch_id, i, item.content) for i, item in enumerate(pack)]
    books: dict[int, tuple[int, int]] = {}
    parts = [framed, batch_id.producer_id, zigzag(batch_id.sequence), string_map(source.resource)]
    parts += (string(source.scope_name), string(source.scope_version), zigzag(len(pack)))
    for item, hashed in zip(pack, hashes, strict=True):
        minute = event_minute(item.time_ns)
        count, total = books.get(minute, (0, 0))
        books[minute] = (count + 1, total + hashed)
        parts += (item.content, zigzag(hashed))
    parts.append(b"\0")
    body = b"".join(parts)
    if len(body) > contracts.BATCH_BYTES_MAX:
        raise OversizeError(f"{signal.schema.name} of {len(body)} bytes: the resource is too large")
    times = [item.time_ns for item in pack]
    headers = Headers(
        source.tenant, source.service, batch_id, 0, len(pack), min(times), max(times), signal.schema.fingerprint,
        google_crc32c.value(body), tuple(BookEntry(m, c, h) for m, (c, h) in sorted(books.items())),
    )  # fmt: skip
    return Message(signal.topic, partition, headers.encode(), body)


def string(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return zigzag(len(data)) + data


def string_map(pairs: Mapping[str, str]) -> bytes:
    if not pairs:
        return b"\0"
    return zigzag(len(pairs)) + b"".join(string(k) + string(v) for k, v in sorted(pairs.items())) + b"\0"
