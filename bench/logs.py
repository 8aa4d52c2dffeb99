"""Log records: from the bus into the search store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from heliograph import contracts
from search.port import Batch, StoreWritten
from search.tantivy_writer import TantivyWriter
from sinks.documents import DocumentSink

from .line import Line, Spent
from .load import log_messages, log_records
from .stack import Stack

COUNT = 60_000


def run(folder: Path) -> list[Line]:
    """Sealing, and consuming into Tantivy; the ceiling is Tantivy handed ready documents."""
    with Spent() as made:
        log_records(1, COUNT)
    with Spent() as sealed:
        messages = log_messages(1, COUNT)
    stack = Stack(folder / "logs")
    with Spent() as produced:
        stack.produce(messages)
    writer = TantivyWriter(folder / "logs" / "search")
    sink = DocumentSink(writer, stack.schemas)
    items = 0
    with Spent() as routed:
        for cut in stack.cuts("bench", (contracts.LOGS_TOPIC,), sink.limits.bytes_max):
            items += sink.write(cut).items
    sink.close()
    alone = _tantivy_alone(stack, folder)
    size = sum(len(m.body) for m in messages)
    return [
        Line("client: log records sealed", COUNT / max(1e-9, sealed.cpu_s - made.cpu_s), "records/core-s"),
        Line("bus: log bodies appended", size / produced.cpu_s / 1e6, "MB/core-s"),
        Line("router search, bus to Tantivy", items / routed.cpu_s, "records/core-s", COUNT / alone, "Tantivy alone"),
    ]


class _Keep:
    """A document writer that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def write(self, batches: Iterable[Batch]) -> StoreWritten:
        """Documents as a store takes them apart."""
        taken = [Batch(list(batch.documents), batch.maybe_written) for batch in batches]
        self.batches += taken
        return StoreWritten(sum(len(batch.documents) for batch in taken), 0)

    def close(self) -> None:
        return


def _tantivy_alone(stack: Stack, folder: Path) -> float:
    keep = _Keep()
    sink = DocumentSink(keep, stack.schemas)
    for cut in stack.cuts("ceiling", (contracts.LOGS_TOPIC,), sink.limits.bytes_max):
        sink.write(cut)
    writer = TantivyWriter(folder / "logs" / "alone")
    with Spent() as spent:
        for i in range(0, len(keep.batches), 20):
            writer.write(keep.batches[i : i + 20])
    writer.close()
    return spent.cpu_s
