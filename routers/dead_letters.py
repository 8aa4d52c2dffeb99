"""Dead letters: what a store can never take, with the original bytes, on the store's own topic (dead_letter.avsc)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import fastavro
import google_crc32c

from bus.port import MESSAGE_BYTES_MAX, Bus, Record, TopicPartition
from heliograph import contracts
from heliograph.errors import DecodeError
from heliograph.framing import frame
from heliograph.identity import BatchId
from heliograph.message import HeaderList, Headers, Message
from sinks.port import Cut, RecordFault

_ENVELOPE_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 8 * 1024  # room for the envelope's own fields and headers
_HEADER_BYTES_MAX: Final = 64 * 1024
_DETAIL_CHARACTERS_MAX: Final = 500
_NAME_CHARACTERS_MAX: Final = 256
_COUNT_MAX: Final = 2**32 - 1
_INDEXES_MAX: Final = 20_000
_MESSAGES_PER_PRODUCE: Final = 16


@dataclass(frozen=True, slots=True)
class Fault:
    """All that is wrong with one record."""

    record: Record
    reason: str
    detail: str
    indexes: tuple[int, ...]
    """Items concerned, ascending; empty means the whole batch."""


class DeadLetters:
    """Puts faults on `telemetry.deadletters.<store>`.

    A letter's identity comes from the place of its message in the log, so that one produced again is the same letter:
    its producer id is a hash of store, log and partition, its sequence the message's offset.
    """

    def __init__(self, bus: Bus, store: str, now_ms: Callable[[], int], schema_id: int | None = None) -> None:
        self._bus = bus
        self._store = store
        self._now_ms = now_ms
        self._schema = contracts.schema("dead_letter")
        self._schema_id = schema_id

    def produce(self, faults: Sequence[RecordFault], cut: Cut, attempts: int) -> int:
        """One letter per record of the cut, durable on return; how many. Raises BusError."""
        log_ids = {r.where: r.log_id for r in cut.ranges}
        messages = [
            self._message(fault, log_ids[fault.record.where], attempts, cut.maybe_written(fault.record))
            for fault in merge(faults)
        ]
        for at in range(0, len(messages), _MESSAGES_PER_PRODUCE):
            self._bus.produce(messages[at : at + _MESSAGES_PER_PRODUCE])
        return len(messages)

    def _message(self, fault: Fault, log_id: str, attempts: int, again: bool) -> Message:
        envelope = self._envelope(fault, log_id, attempts)
        stream = io.BytesIO()
        stream.write(frame(self._schema.wire_id if self._schema_id is None else self._schema_id))
        fastavro.schemaless_writer(stream, self._schema.parsed, envelope)
        body = stream.getvalue()
        headers = self._headers(fault, log_id, again, body)
        return Message(f"telemetry.deadletters.{self._store}", 0, headers.encode(), body)

    def _envelope(self, fault: Fault, log_id: str, attempts: int) -> dict[str, Any]:
        record = fault.record
        headers, detail = _kept_headers(record.headers), _text(fault.detail)
        room = _ENVELOPE_BYTES_MAX - sum(len(k.encode()) + len(v) + 16 for k, v in headers) - 4 * len(fault.indexes)
        body = record.body[:room]
        if len(headers) < len(record.headers):
            detail += f" [{len(record.headers) - len(headers)} headers left out]"
        if len(body) < len(record.body):
            detail += f" [body cut from {len(record.body)} to {len(body)} bytes]"
        return {
            "store": self._store, "reason": fault.reason, "detail": detail, "topic": record.topic, "log_id": log_id,
            "partition": record.partition, "offset": record.offset, "append_time_ms": record.append_time_ms,
            "indexes": list(fault.indexes), "attempts": attempts, "dead_time_ms": self._now_ms(),
            "headers": [{"key": k, "value": v} for k, v in headers], "body": body,
        }  # fmt: skip

    def _headers(self, fault: Fault, log_id: str, again: bool, body: bytes) -> Headers:
        record = fault.record
        place = "\0".join(("dead letter", self._store, record.topic, log_id, str(record.partition)))
        batch_id = BatchId(hashlib.sha256(place.encode()).digest()[:16], record.offset)
        append_time_ns = record.append_time_ms * 1_000_000
        ours = Headers(
            "default", "unknown_service", batch_id, int(again), len(fault.indexes) or 1, append_time_ns, append_time_ns,
            self._schema.fingerprint, google_crc32c.value(body), (),
        )  # fmt: skip
        try:
            original = Headers.decode(record.headers)
        except DecodeError:
            return ours
        return replace(
            ours, tenant=original.tenant[:_NAME_CHARACTERS_MAX], service=original.service[:_NAME_CHARACTERS_MAX],
            count=len(fault.indexes) or min(original.count, _COUNT_MAX),
            time_min_ns=_int64(original.time_min_ns), time_max_ns=_int64(original.time_max_ns),
        )  # fmt: skip


def merge(faults: Sequence[RecordFault]) -> list[Fault]:
    """One fault per record, in the order of their first mention.

    Where reasons differ the first one counts, and the detail names the others; a fault of the whole batch covers those of items.
    """
    found: dict[tuple[TopicPartition, int], list[RecordFault]] = {}
    for fault in faults:
        found.setdefault((fault.record.where, fault.record.offset), []).append(fault)
    return [_merged(of_record) for of_record in found.values()]


def _merged(faults: Sequence[RecordFault]) -> Fault:
    whole = [f for f in faults if not f.indexes]
    head = (whole or list(faults))[0]
    others = sorted({f.reason for f in faults} - {head.reason})
    detail = f"{head.detail} (also: {', '.join(others)})" if others else head.detail
    indexes = () if whole else tuple(sorted({i for f in faults for i in f.indexes}))
    # So many items are all but the whole batch, and their list would leave no room for the body.
    if len(indexes) > _INDEXES_MAX:
        detail, indexes = f"{len(indexes)} items: {detail}", ()
    return Fault(head.record, head.reason, detail, indexes)


def _kept_headers(headers: HeaderList) -> HeaderList:
    """Headers while they fit, our own first."""
    room = _HEADER_BYTES_MAX
    kept = set()
    for i, (key, value) in sorted(enumerate(headers), key=lambda item: not item[1][0].startswith("hg.")):
        room -= len(key.encode()) + len(value) + 16
        if room < 0:
            break
        kept.add(i)
    return tuple(pair for i, pair in enumerate(headers) if i in kept)


def _text(detail: str) -> str:
    """The detail, shortened, with what no UTF-8 can hold replaced: a letter must never fail for its own text."""
    return detail[:_DETAIL_CHARACTERS_MAX].encode("utf-8", "replace").decode()


def _int64(value: int) -> int:
    return max(-(2**63), min(2**63 - 1, value))
