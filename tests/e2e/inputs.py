"""Sealed batches of one record or of a few samples, and the ways in which they can be bad."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

import google_crc32c

from heliograph.framing import FRAME_BYTES, frame
from heliograph.identity import ProducerIdentity
from heliograph.message import Message
from heliograph.metrics import Layout, Series, seal_metrics
from heliograph.records import LogRecord, Source, seal_logs

_identity = ProducerIdentity()


def logs(service: str, bodies: Sequence[str], times_ns: Sequence[int] = ()) -> Message:
    """A batch of log records on partition 0."""
    now = time.time_ns()
    records = [
        LogRecord(
            time_unix_nano=times_ns[i] if times_ns else now + i, observed_time_unix_nano=now, severity_number=9,
            severity_text="INFO", body=body, attributes={}, trace_id=b"", span_id=b"", flags=0,
        )
        for i, body in enumerate(bodies)
    ]  # fmt: skip
    (message,) = seal_logs(records, Source({"service.name": service}), _identity.mint)
    return replace(message, partition=0)


def samples(job: str, values: Mapping[str, float], time_ms: int = 0, name: str = "e2e_value") -> Message:
    """A batch of one sample for each value of the label `case`, on partition 0."""
    cases = sorted(values)
    layout = Layout.of([Series(name, (("case", case), ("job", job)), "gauge") for case in cases])
    column = array("d", [values[case] for case in cases])
    stamp = time_ms or time.time_ns() // 1_000_000
    message = seal_metrics(Source({"service.name": job}), layout, stamp, column, _identity.mint)
    return replace(message, partition=0)


def with_body(message: Message, body: bytes) -> Message:
    """The message with another body and the CRC of it."""
    crc = google_crc32c.value(body).to_bytes(4, "big")
    return replace(message, body=body, headers=tuple((k, crc if k == "hg.crc32c" else v) for k, v in message.headers))


def not_avro(message: Message) -> Message:
    """Bytes that are no framed Avro at all."""
    return with_body(message, b"\xffthis is not Avro")


def cut(message: Message) -> Message:
    """Without its last bytes."""
    return with_body(message, message.body[:-3])


def of_schema(message: Message, schema_id: int) -> Message:
    """The same bytes under another schema's id, as a producer of that schema would name it."""
    headers = tuple((k, v if k != "hg.schema" else b"\7" * 16) for k, v in message.headers)
    return with_body(replace(message, headers=headers), frame(schema_id) + message.body[FRAME_BYTES:])


def crc_broken(message: Message) -> Message:
    """A bit was turned after sealing."""
    body = bytearray(message.body)
    body[-2] ^= 1
    return replace(message, body=bytes(body))
