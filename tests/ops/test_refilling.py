"""A store whose folder was removed is filled from the log's start, a store that is whole from where its group is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.sqlite import SqliteBus
from heliograph import contracts
from ops.refilling import Refilling
from sinks.memory import MemorySink
from sinks.port import Cut, StoreUnavailableError, Written
from tests.routers.running import GROUP, LIMITS, eventually, log_message, running

COUNT = 6


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    """A bus whose messages a group has brought into the store in `store`, and committed."""
    bus = SqliteBus(tmp_path / "bus.db")
    bus.create_topics({topic.name: topic.partitions for topic in contracts.topics().values()})
    bus.produce([log_message(f"first {n}", partition=0) for n in range(COUNT)])
    with running(bus, Refilling(MemorySink(LIMITS), tmp_path / "store")):
        eventually(lambda: committed(bus) == COUNT)
    yield bus
    bus.close()


def committed(bus: SqliteBus) -> int:
    return bus.committed(GROUP, contracts.LOGS_TOPIC).get(0, 0)


def offsets(sink: MemorySink) -> list[int]:
    return sorted(offset for _, _, offset in sink.records)


def test_a_whole_store_is_read_into_from_the_commit(bus: SqliteBus, tmp_path: Path) -> None:
    sink = MemorySink(LIMITS)
    bus.produce([log_message("later", partition=0)])
    with running(bus, Refilling(sink, tmp_path / "store")):
        eventually(lambda: committed(bus) == COUNT + 1)
    assert offsets(sink) == [COUNT]


def test_a_removed_store_is_filled_from_the_start(bus: SqliteBus, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    sink = MemorySink(LIMITS)
    with running(bus, Refilling(sink, tmp_path / "store")):
        eventually(lambda: len(sink.records) == COUNT)
    assert offsets(sink) == list(range(COUNT))
    assert all(cut.maybe_written(record) for cut in sink.cuts for record in cut.records)


def test_a_refill_that_is_broken_off_begins_again(bus: SqliteBus, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    full = MemorySink(LIMITS)

    class Full:
        """Fails every write, after the partitions were listed."""

        name, topics, limits = full.name, full.topics, full.limits
        resume = full.resume
        close = full.close

        def write(self, cut: Cut) -> Written:
            raise StoreUnavailableError("the disk is full")

    with running(bus, Refilling(Full(), tmp_path / "store")):
        eventually(lambda: (tmp_path / "store").exists())
    assert committed(bus) == 0
    sink = MemorySink(LIMITS)
    with running(bus, Refilling(sink, tmp_path / "store")):
        eventually(lambda: committed(bus) == COUNT)
    assert offsets(sink) == list(range(COUNT))
