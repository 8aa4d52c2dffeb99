"""Where a newly assigned partition begins: what the store says, else what the group committed, else the log's start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bus.errors import BusError
from bus.port import Bus, TopicPartition
from sinks.port import Sink, StoreUnavailableError


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition that may be read from `start` on."""

    where: TopicPartition
    log_id: str
    start: int
    end: int
    """The log's end now: records below it may have been written by whoever had the partition before."""
    committed: int | None


@dataclass(frozen=True, slots=True)
class NotOpened:
    """A partition that cannot be read yet."""

    where: TopicPartition
    fault: str
    """Whose: store or bus."""
    reason: str


def open_partitions(bus: Bus, sink: Sink, group: str, wanted: Iterable[TopicPartition]) -> list[Opened | NotOpened]:
    """Ask bus and store about each partition; one that fails does not hold up the others."""
    return [_open(bus, sink, group, where) for where in wanted]


def _open(bus: Bus, sink: Sink, group: str, where: TopicPartition) -> Opened | NotOpened:
    try:
        log_id = bus.log_id(where.topic)
        committed = bus.committed(group, where.topic).get(where.partition)
        resumed = sink.resume(log_id, where)
        # Read last, so that it is above everything that a former owner can have read.
        end = bus.end_offsets(where.topic)[where.partition]
    except StoreUnavailableError as error:
        return NotOpened(where, "store", str(error))
    except BusError as error:
        return NotOpened(where, "bus", str(error))
    start = resumed if resumed is not None else committed or 0
    if start > end:
        detail = (
            f"the {sink.name} store holds {where.topic}/{where.partition} up to offset {start}, the log ends at {end}"
        )
        return NotOpened(where, "bus", f"{detail}: was the bus restored from a copy? Give its topics new log ids")
    return Opened(where, log_id, start, end, committed)
