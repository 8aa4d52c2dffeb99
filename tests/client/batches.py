"""Batches and a patient look, for tests of the client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from heliograph.identity import Mint
from heliograph.message import Headers, Message
from heliograph.records import LogRecord, Source, seal_logs

SOURCE = Source({"service.name": "shop"})


def log_batch(mint: Mint, body: str = "hello", time_s: int = 60) -> Message:
    """A batch of one log record."""
    record = LogRecord(
        time_unix_nano=time_s * 10**9, observed_time_unix_nano=0, severity_number=9, severity_text="INFO", body=body,
        attributes={}, trace_id=b"", span_id=b"", flags=0,
    )  # fmt: skip
    (message,) = seal_logs([record], SOURCE, mint)
    return message


def eventually(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Return when the condition holds; fail at the deadline."""
    ends_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > ends_s:
            raise AssertionError("it did not come about in time")
        threading.Event().wait(0.005)


def sequences(messages: Sequence[Message]) -> list[int]:
    """Sequence of each batch."""
    return [Headers.decode(m.headers).batch_id.sequence for m in messages]


def attempts(messages: Sequence[Message]) -> list[int]:
    """Attempt header of each batch."""
    return [Headers.decode(m.headers).attempt for m in messages]
