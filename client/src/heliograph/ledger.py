"""Ledger facts of a producer: what became of batches that never reached the bus."""

from __future__ import annotations

import io

import fastavro
import google_crc32c

from . import contracts
from .framing import frame
from .identity import Mint
from .message import HeaderList, Headers, Message

_MS = 1_000_000


def dropped_fact(topic: str, batch: HeaderList, reason: str, time_ms: int, mint: Mint, hop: str = "client") -> Message:
    """The fact that the batch with these headers was dropped for `reason`, as a message for the ledger.

    Raises DecodeError("bad_headers").
    """
    of = Headers.decode(batch)
    schema = contracts.schema("ledger_fact")
    fact = {
        "hop": hop,
        "producer_id": of.batch_id.producer_id,
        "topic": topic,
        "sequence": of.batch_id.sequence,
        "outcome": "dropped",
        "reason": reason,
        "tenant": of.tenant,
        "service": of.service,
        "indexes": [],
        "books": [{"minute": b.minute, "count": b.count, "hash_sum": b.hash_sum} for b in of.books],
        "time_ms": time_ms,
    }
    stream = io.BytesIO()
    stream.write(frame(schema.wire_id))
    fastavro.schemaless_writer(stream, schema.parsed, fact)
    body = stream.getvalue()
    time_ns = time_ms * _MS
    crc = google_crc32c.value(body)
    headers = Headers(of.tenant, of.service, mint(), 0, 1, time_ns, time_ns, schema.fingerprint, crc, ())
    return Message(contracts.LEDGER_TOPIC, 0, headers.encode(), body)
