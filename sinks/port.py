"""The sink port: how a router hands a store what the log holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bus.port import Record, TopicPartition


class StoreUnavailableError(Exception):
    """The store's fault: it did not take the cut, or is not known to have; the same cut comes again."""


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets [first, next) of one partition of one log: `first` is the former range's `next`, so that no offset falls between."""

    where: TopicPartition
    log_id: str
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What a router writes at once: ranges of the log and all their records, in offset order per partition."""

    ranges: tuple[Range, ...]
    records: Sequence[Record]
    tried_below: Mapping[TopicPartition, int]
    """Records below these offsets may have been written before (the end offsets at assignment, or a cut that is tried again)."""

    def maybe_written(self, record: Record) -> bool:
        """Whether an earlier try may have stored this record: by its offset, or because its producer sent it more than once."""
        attempt = record.header("hg.attempt")
        return record.offset < self.tried_below.get(record.where, 0) or (attempt is not None and any(attempt))


@dataclass(frozen=True, slots=True)
class RecordFault:
    """A record, or items of it, that this store can never take."""

    record: Record
    reason: str
    """A stable word: not_avro, crc_mismatch, unknown_schema, incompatible_schema, bad_headers, layout_mismatch, oversize, mapping, …"""
    detail: str
    indexes: tuple[int, ...] = ()
    """Items concerned; empty means the whole batch."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a cut."""

    items: int
    """Log records, spans or samples that are now in the store (or were already)."""
    faults: tuple[RecordFault, ...] = ()
    duplicates: int = 0
    """Of `items`, those recognised as already stored; 0 where the store does not tell."""


@dataclass(frozen=True, slots=True)
class CutLimits:
    """When a router stops gathering and writes."""

    age_s: float
    """After the first record of the cut, at the latest."""
    first_age_s: float
    """The same, for the first cut after a start or an assignment."""
    bytes_max: int


class Sink(Protocol):
    """One store's adapter, used by one thread.

    write() is idempotent over re-delivery: whatever ranges a record comes back in, a reader of the store sees its items once.
    """

    name: str
    """search, archive or tsdb."""
    topics: tuple[str, ...]
    limits: CutLimits

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        """Where the store itself says that reading goes on; None: at the group's committed offset.

        Raises StoreUnavailableError.
        """
        ...

    def write(self, cut: Cut) -> Written:
        """Store every record of the cut but the faults it returns; durable on return. May block.

        Raises StoreUnavailableError for everything that is not a record's own fault; the caller keeps the cut and tries again.
        """
        ...

    def close(self) -> None:
        """Release files. Idempotent."""
        ...
