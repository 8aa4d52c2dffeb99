"""A bus in memory that fails on command."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from bus.errors import BusUnavailableError, OversizeError, UnknownTopicError
from bus.port import MESSAGE_BYTES_MAX, Consumer, Listener
from bus.registry import UnknownSchemaError
from heliograph import contracts
from heliograph.message import Headers, Message
from heliograph.records import decode_batch


class FakeBus:
    """Appends to a list. `down` fails every call; `lose_answers` counts calls that append and then fail all the same."""

    def __init__(self) -> None:
        self.log: list[Message] = []
        self.calls = 0
        self.down = False
        self.lose_answers = 0
        self._lock = threading.Lock()

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        pass

    def partitions(self, topic: str) -> int:
        return contracts.topics()[topic].partitions

    def log_id(self, topic: str) -> str:
        return "fake"

    def produce(self, messages: Sequence[Message]) -> Sequence[int]:
        with self._lock:
            self.calls += 1
            if self.down:
                raise BusUnavailableError("down")
            for message in messages:
                if message.topic not in contracts.topics():
                    raise UnknownTopicError(message.topic)
                if message.size_bytes > MESSAGE_BYTES_MAX:
                    raise OversizeError(message.topic, message.size_bytes, MESSAGE_BYTES_MAX)
            first = len(self.log)
            self.log.extend(messages)
            if self.lose_answers:
                self.lose_answers -= 1
                raise BusUnavailableError("the answer was lost")
            return range(first, len(self.log))

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        return {}

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        return {}

    def consumer(self, group: str, topics: Sequence[str], member: str, listener: Listener) -> Consumer:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def of(self, topic: str) -> list[Message]:
        with self._lock:
            return [m for m in self.log if m.topic == topic]


class FakeRegistry:
    """Knows what ships with the client."""

    def register(self, subject: str, schema: contracts.Schema) -> int:
        return schema.offline_id

    def schema(self, schema_id: int) -> contracts.Schema:
        for name in ("metric_batch", "log_batch", "span_batch", "ledger_fact"):
            if contracts.schema(name).offline_id == schema_id:
                return contracts.schema(name)
        raise UnknownSchemaError(schema_id)

    def versions(self, subject: str) -> Mapping[int, int]:
        return {}


def unique(messages: Sequence[Message]) -> list[Message]:
    """As a reader of a store sees the log: each batch once, by its identity."""
    found: dict[tuple[bytes, int], Message] = {}
    for message in messages:
        batch_id = Headers.decode(message.headers).batch_id
        key = (batch_id.producer_id, batch_id.sequence)
        assert key not in found or found[key].body == message.body, "one identity, two contents"
        found.setdefault(key, message)
    return list(found.values())


def log_bodies(messages: Sequence[Message]) -> list[str]:
    """Bodies of all log records of the batches, in order."""
    schema = contracts.schema("log_batch")
    return [r["body"] for m in unique(messages) for r in decode_batch(m.body, schema)["records"]]


def conforms(bus: FakeBus, registry: FakeRegistry) -> None:
    """Type check only: the fakes fit their ports."""
    from bus.port import Bus
    from bus.registry import Registry

    _bus: Bus = bus
    _registry: Registry = registry
