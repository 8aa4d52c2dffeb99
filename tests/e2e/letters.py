"""Dead letters as they stand on their topics."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bus.port import Listener
from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.records import decode_batch

STORES = ("search", "archive", "tsdb")
_POLL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """What the tests look at."""

    reason: str
    detail: str
    indexes: tuple[int, ...]
    body: bytes


def letters(bus: SqliteBus, store: str) -> dict[tuple[str, int, int], Letter]:
    """Every letter of a store, by where its message stood: topic, partition, offset. A place has one letter at most."""
    found: dict[tuple[str, int, int], Letter] = {}
    for envelope in _envelopes(bus, f"telemetry.deadletters.{store}"):
        place = envelope["topic"], envelope["partition"], envelope["offset"]
        assert place not in found, f"two letters of {place}"
        found[place] = Letter(
            envelope["reason"], envelope["detail"], tuple(envelope["indexes"]), bytes(envelope["body"])
        )
    return found


def _envelopes(bus: SqliteBus, topic: str) -> list[Mapping[str, Any]]:
    listener = Listener(lambda _: None, lambda _: None)
    consumer = bus.consumer(f"e2e.{uuid.uuid4().hex}", [topic], "e2e", listener)
    schema = contracts.schema("dead_letter")
    end = sum(bus.end_offsets(topic).values())
    found: list[Mapping[str, Any]] = []
    try:
        position = 0
        while position < end:
            records = consumer.poll(1.0, _POLL_BYTES)
            found += [decode_batch(record.body, schema) for record in records]
            position = max([position, *(record.offset + 1 for record in records)])
    finally:
        consumer.close()
    return found
