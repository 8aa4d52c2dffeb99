"""For tests of applications: a transport that keeps batches in memory, and what they hold, decoded."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import contracts
from .errors import HeliographError
from .message import Headers, Message
from .records import decode_batch


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it was sent."""

    name: str
    labels: Mapping[str, str]
    time_ms: int
    value: float
    resource: Mapping[str, str]


class InMemoryTransport:
    """Keeps what it is sent; fails with the errors in `failures` first, one per send.

    Usage: `heliograph.configure("my-service", transport=InMemoryTransport())`, or hand it to a `Producer`.
    """

    def __init__(self, failures: Sequence[HeliographError] = ()) -> None:
        self._lock = threading.Lock()
        self._failures = list(failures)
        self._messages: list[Message] = []
        self._sends: list[tuple[Message, ...]] = []

    def send(self, messages: Sequence[Message], timeout_s: float) -> None:
        """Keep the batches, or raise the next failure."""
        with self._lock:
            self._sends.append(tuple(messages))
            if self._failures:
                raise self._failures.pop(0)
            self._messages += messages

    def close(self) -> None:
        """Nothing to let go."""

    @property
    def sends(self) -> list[tuple[Message, ...]]:
        """Every send, failed ones included."""
        with self._lock:
            return list(self._sends)

    @property
    def messages(self) -> list[Message]:
        """Every batch that was taken."""
        with self._lock:
            return list(self._messages)

    @property
    def headers(self) -> list[Headers]:
        """Headers of every batch that was taken."""
        return [Headers.decode(message.headers) for message in self.messages]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Log records as dicts of their schema, each with its batch's `resource` and `scope_name`."""
        return self._records(contracts.LOGS_TOPIC)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Spans as dicts of their schema, each with its batch's `resource` and `scope_name`."""
        return self._records(contracts.TRACES_TOPIC)

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Ledger facts as dicts of their schema."""
        return self._batches(contracts.LEDGER_TOPIC)

    @property
    def samples(self) -> list[Sample]:
        """Samples of all metric batches, in the order they came."""
        return [
            Sample(
                series["name"],
                {label["key"]: label["value"] for label in series["labels"]},
                batch["timestamp"] + (batch["time_offsets"][i] if batch["time_offsets"] else 0),
                batch["values"][i],
                batch["resource"],
            )
            for batch in self._batches(contracts.METRICS_TOPIC)
            for i, series in enumerate(batch["series"])
        ]

    def _records(self, topic: str) -> list[dict[str, Any]]:
        return [
            {**record, "resource": batch["resource"], "scope_name": batch["scope_name"]}
            for batch in self._batches(topic)
            for record in batch["records"]
        ]

    def _batches(self, topic: str) -> list[dict[str, Any]]:
        schema = contracts.schema(contracts.topics()[topic].schema)
        return [decode_batch(message.body, schema) for message in self.messages if message.topic == topic]
