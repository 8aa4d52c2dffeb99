"""Samples: from the producer's columns over the bus into the time-series store's rows, layouts known."""

from __future__ import annotations

from pathlib import Path

from heliograph import contracts
from heliograph.message import Message
from sinks.samples import SampleSink
from tsdb.metric_message import MetricMessages
from tsdb.sqlite import SqliteBlocks

from .line import Line, Spent
from .load import scrapes, targets
from .stack import Stack

TARGETS, SERIES = 200, 500
LEARN_ROUNDS, ROUNDS = 2, 40
RATE_TO_REACH = 1_500_000


def run(folder: Path) -> list[Line]:
    """CPU of sealing, appending, reading, and writing rows; the ceiling is reading the messages' columns alone."""
    stack = Stack(folder / "metrics")
    blocks = SqliteBlocks(folder / "metrics" / "tsdb")
    sink = SampleSink(blocks, stack.schemas, "bench")
    of = targets(TARGETS, SERIES)
    for messages in scrapes(4, of, LEARN_ROUNDS):
        stack.produce(messages)
    for cut in stack.cuts("bench", (contracts.METRICS_TOPIC,), sink.limits.bytes_max):
        sink.write(cut)
    load = [message for messages in scrapes(4, of, ROUNDS, LEARN_ROUNDS) for message in messages]
    with Spent() as spent:
        stack.produce(load)
        items = 0
        for cut in stack.cuts("bench", (contracts.METRICS_TOPIC,), sink.limits.bytes_max):
            items += sink.write(cut).items
    sink.close()
    size = sum(f.stat().st_size for f in (folder / "metrics" / "tsdb").rglob("*") if f.is_file())
    stored = TARGETS * SERIES * (LEARN_ROUNDS + ROUNDS)
    return [
        Line("metrics, bus to SQLite rows, layouts known", items / spent.cpu_s, "samples/core-s", _ceiling(stack, load), "decode alone",
             f"to reach: {RATE_TO_REACH:,}"),
        Line("metrics, files of the store", size / stored, "bytes/sample"),
    ]  # fmt: skip


def _ceiling(stack: Stack, load: list[Message]) -> float:
    reader = MetricMessages()
    schema = contracts.schema("metric_batch")
    for message in load[:TARGETS]:
        reader.read(message.body, schema)
    with Spent() as spent:
        for message in load:
            reader.read(message.body, schema)
    return TARGETS * SERIES * ROUNDS / spent.cpu_s
