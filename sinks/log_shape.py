"""A decoded log batch as documents: their JSON text directly, because there are many and nobody on the way looks into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import orjson

from heliograph.identity import BatchId
from search.encoded import EncodedDocuments
from sinks.document_shape import NANOS_PER_S, attributes, second, shared

_NAMES: Final = (
    "time_unix_nano",
    "observed_time_unix_nano",
    "severity_number",
    "severity_text",
    "body",
    "attributes",
    "flags",
    "trace_id",
    "span_id",
    "truncated_bytes",
    "event_minute",
    "item_hash",
)
_FIELDS: Final = itemgetter(*_NAMES)
_SOURCE: Final = (
    b'{"@timestamp":"%b","observed_timestamp":"%b","severity_number":%d,"severity_text":%b,"body":{"text":%b},'
    b'"attributes":%b,"flags":%d%b,"event_minute":%d,"item_hash":%d,'
)


def log_documents(batch: Mapping[str, Any], tenant: str) -> EncodedDocuments:
    """One document per record of a log_batch."""
    fields = zip(*map(_FIELDS, batch["records"]), strict=True) if batch["records"] else [()] * len(_NAMES)
    times, observed, numbers, words, bodies, found, flags, trace_ids, span_ids, truncated, minutes, hashes = fields
    columns = zip(
        _stamps(times),
        _stamps(observed),
        numbers,
        map(_word, words),
        map(orjson.dumps, bodies),
        map(_attributes, found),
        flags,
        map(_rare, trace_ids, span_ids, truncated),
        minutes,
        hashes,
        strict=True,
    )
    form = _SOURCE + orjson.dumps(shared(batch, "logs", tenant))[1:].replace(b"%", b"%%")
    return EncodedDocuments(
        "logs",
        tenant,
        BatchId(batch["producer_id"], batch["sequence"]).text,
        range(len(times)),
        times,
        hashes,
        minutes,
        [form % values for values in columns],
        batch["resource"],
    )


def _stamps(times: Iterable[int]) -> Iterator[bytes]:
    """RFC 3339 in UTC with nine decimals; neighbours mostly share their second."""
    last: int | None = None
    text = b""
    for time_ns in times:
        seconds, nanos = divmod(time_ns, NANOS_PER_S)
        if seconds != last:
            last, text = seconds, second(seconds).encode()
        yield b"%b.%09dZ" % (text, nanos)


def _attributes(found: Mapping[str, Any]) -> bytes:
    text = orjson.dumps(found)
    # What is no number in JSON would be null.
    return text if b"null" not in text else orjson.dumps(attributes(found))


def _rare(trace_id: bytes, span_id: bytes, truncated_bytes: int) -> bytes:
    if not (trace_id or span_id or truncated_bytes):
        return b""
    parts = []
    if trace_id:
        parts.append(f',"trace_id":"{trace_id.hex()}"')
    if span_id:
        parts.append(f',"span_id":"{span_id.hex()}"')
    if truncated_bytes:
        parts.append(f',"truncated_bytes":{truncated_bytes}')
    return "".join(parts).encode()


@lru_cache(maxsize=256)
def _word(text: str) -> bytes:
    return orjson.dumps(text)
