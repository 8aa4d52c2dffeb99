"""Megabytes of bodies: from the bus into the archive."""

from __future__ import annotations

from pathlib import Path

import cramjam

from archive.local import LocalObjects
from heliograph import contracts
from sinks.objects import ObjectSink

from .line import Line, Spent
from .load import log_messages
from .stack import Stack

COUNT = 200_000


def run(folder: Path) -> list[Line]:
    """The ceiling is zstd alone over the same bodies."""
    messages = log_messages(2, COUNT)
    size = sum(len(m.body) for m in messages)
    stack = Stack(folder / "archive")
    stack.produce(messages)
    sink = ObjectSink(LocalObjects(folder / "archive" / "objects"), stack.schemas, "bench")
    with Spent() as spent:
        for cut in stack.cuts("bench", (contracts.LOGS_TOPIC,), sink.limits.bytes_max):
            sink.write(cut)
    sink.close()
    with Spent() as alone:
        for message in messages:
            cramjam.zstd.compress(message.body, level=3)
    return [
        Line(
            "router archive, bus to local files",
            size / spent.cpu_s / 1e6,
            "MB/core-s",
            size / alone.cpu_s / 1e6,
            "zstd alone",
        )
    ]
