"""The pieces of the embedded platform in one process, so that its CPU is counted whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bus.embedded_registry import EmbeddedRegistry
from bus.port import Listener, Record, TopicPartition
from bus.sqlite import SqliteBus
from heliograph import contracts
from heliograph.message import Message
from sinks.decode import WriterSchemas
from sinks.port import Cut, Range

from .load import START_NS

PRODUCE_BYTES = 4 * 1024 * 1024


class Stack:
    """A bus and a registry in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The load's own time, so that no store finds it too old.
        self.bus = SqliteBus(folder / "bus" / "bus.db", clock_ms=lambda: START_NS // 1_000_000)
        self.bus.create_topics({name: topic.partitions for name, topic in contracts.topics().items()})
        self.schemas = WriterSchemas(EmbeddedRegistry(folder / "bus" / "registry.db"))

    def produce(self, messages: Sequence[Message]) -> None:
        """Append in fat transactions, as the agent's outbox does."""
        pack: list[Message] = []
        size = 0
        for message in messages:
            pack.append(message)
            size += message.size_bytes
            if size >= PRODUCE_BYTES:
                self.bus.produce(pack)
                pack, size = [], 0
        if pack:
            self.bus.produce(pack)

    def cuts(self, group: str, topics: Sequence[str], bytes_max: int) -> Iterator[Cut]:
        """Everything on the bus, in cuts, as a router gathers them."""
        listener = Listener(lambda partitions: None, lambda partitions: None)
        consumer = self.bus.consumer(group, topics, "bench", listener)
        first = {TopicPartition(t, p): at for t in topics for p, at in self.bus.committed(group, t).items()}
        while True:
            records: list[Record] = []
            size = 0
            while size < bytes_max:
                found = consumer.poll(0.0, 4 * 1024 * 1024)
                if not found:
                    break
                records += found
                size += sum(r.size_bytes for r in found)
            if not records:
                break
            after = {where: consumer.position(where) for where in {r.where for r in records}}
            ranges = tuple(
                Range(where, self.bus.log_id(where.topic), first.get(where, 0), next_)
                for where, next_ in sorted(after.items())
            )
            first |= after
            yield Cut(ranges, records, {})
            consumer.commit(after)
        consumer.close()
