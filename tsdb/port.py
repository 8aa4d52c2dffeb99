"""The block store: write-once rows in partitions, a put-if-absent catalog and compare-and-set manifests.

Times are milliseconds since the epoch, days and windows are counted from the epoch. A partition is (tenant, day, bucket, window);
a bucket holds some thousand series. Rows are never changed: writing a row that is there already changes nothing.
Every method may raise StoreUnavailableError. Safe from several threads and processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from .errors import TsdbError

DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 1_800_000
WINDOWS_PER_DAY: Final = DAY_MS // WINDOW_MS
SHARD_SERIES: Final = 1000
"""About how many series of one metric make a shard."""
SHARDS_PER_BUCKET: Final = 4


class RetiredDayError(TsdbError):
    """The day is past retention: its rows are never taken again."""

    def __init__(self, day: int) -> None:
        super().__init__(f"day {day} is retired")
        self.day = day


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Where a metric's series of one tenant and day are, fixed when the metric is first seen that day."""

    metric: str
    bucket: str
    """Shared by small metrics; one of its own for a metric of SHARD_SERIES series or more."""
    shards: int
    kind: str
    unit: str
    help: str
    family: str
    """The metric family that the metric belongs to (histogram x for x_bucket); empty when it is its own."""

    def bucket_of(self, shard: int) -> str:
        """The bucket that holds all samples of a shard."""
        return self.bucket if self.shards <= SHARDS_PER_BUCKET else f"{self.bucket}/{shard // SHARDS_PER_BUCKET}"

    @property
    def buckets(self) -> tuple[str, ...]:
        """Every bucket of the metric."""
        return tuple(dict.fromkeys(self.bucket_of(shard) for shard in range(self.shards)))


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Offsets [first, next) of one partition of a log."""

    partition: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Source:
    """The part of the log that a flush holds exactly, and who wrote it."""

    log_id: str
    ranges: tuple[OffsetRange, ...]
    """Sorted by partition."""
    writer: str


@dataclass(frozen=True, slots=True)
class L0Row:
    """The samples of one partition key out of one flush."""

    tenant: str
    bucket: str
    window: int
    """Windows of 30 minutes since the epoch; the day follows from it."""
    set_hash: bytes
    block: bytes
    samples: int
    hash_sum: int
    """Order-free sum modulo 2^64 of the samples' hashes over (series, timestamp, value)."""


@dataclass(frozen=True, slots=True)
class NewSet:
    """A series set to store, with the metrics it is found by."""

    tenant: str
    hash: bytes
    blob: bytes
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """That a metric has a series with this label: for selectors that name no metric."""

    tenant: str
    name: str
    value: str
    metric: str


@dataclass(frozen=True, slots=True)
class DayFlush:
    """What a flush writes to one day; stored in this order, all of it before write() returns."""

    day: int
    source: Source
    sets: tuple[NewSet, ...]
    directory: tuple[DirectoryEntry, ...]
    rows: tuple[L0Row, ...]
    set_hashes: frozenset[bytes]
    """Every set that `rows` refer to: the store refuses rows whose set it does not hold."""


@dataclass(frozen=True, slots=True)
class RowRecord:
    """What a flush record says of one row."""

    tenant: str
    bucket: str
    window: int
    samples: int
    hash_sum: int


@dataclass(frozen=True, slots=True)
class FlushRecord:
    """That these offsets are stored, and in which rows."""

    source: Source
    rows: tuple[RowRecord, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row as read back."""

    window: int
    source: Source
    set_hash: bytes
    block: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """A merged row of one (metric, shard): 30 minutes or a day."""

    id: str
    set_hash: bytes
    samples: int
    checksum: int
    """CRC32 of the block."""


@dataclass(frozen=True, slots=True)
class Absorbed:
    """Offsets [first, next) of one partition of one log whose samples a version holds."""

    log_id: str
    partition: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class MergedWindow:
    """Which version holds a window, and what of the log is in it. Intervals are sorted and do not touch."""

    version: str
    absorbed: tuple[Absorbed, ...]

    def holds(self, source: Source) -> bool:
        """Whether a row of this window is wholly inside the absorbed intervals."""
        return all(
            any(
                a.log_id == source.log_id and a.partition == r.partition and a.first <= r.first and r.next <= a.next
                for a in self.absorbed
            )
            for r in source.ranges
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is merged of one (tenant, metric, shard, day)."""

    tenant: str
    day: int
    metric: str
    shard: int
    generation: int
    """1 for the first; each change adds 1."""
    versions: tuple[Version, ...] = ()
    windows: Mapping[int, MergedWindow] = field(default_factory=dict)
    """By window since the epoch; a window that is absent is not merged."""


class BlockWriter(Protocol):
    """What routers and mergers need."""

    def claim(self, tenant: str, day: int, entries: Sequence[CatalogEntry]) -> Mapping[str, CatalogEntry]:
        """Put catalog entries that are absent; returns for each metric the entry that holds from now on.

        Raises RetiredDayError.
        """
        ...

    def write(self, flush: DayFlush) -> None:
        """Store sets, directory and rows; durable on return. What is there already stays as it is.

        Raises RetiredDayError; StoreUnavailableError also when a set of `set_hashes` is neither given nor there, which
        happens when the store was emptied: the caller must then give every set again.
        """
        ...

    def record(self, day: int, flush: FlushRecord) -> None:
        """Store the flush record, under the day of the log's clock, after all its rows."""
        ...

    def merge(self, manifest: Manifest, blocks: Mapping[str, bytes], sets: Sequence[NewSet]) -> bool:
        """Store merged rows by version id, then set the manifest if its generation is the present one plus 1.

        False when another merger was first: nothing of it is then visible.
        """
        ...


class BlockReader(Protocol):
    """What queries need. A reader sees a row as soon as write() has returned in any process."""

    def days(self) -> Sequence[int]:
        """Days that hold something, sorted."""
        ...

    def catalog(self, tenant: str, day: int, metrics: Collection[str] | None) -> Sequence[CatalogEntry]:
        """Entries of some metrics or of all."""
        ...

    def metrics_with(self, tenant: str, day: int, name: str, value: str) -> Collection[str]:
        """Metrics that have a series with this label, by the directory."""
        ...

    def set_hashes(self, tenant: str, day: int, metrics: Collection[str]) -> Collection[bytes]:
        """Every set that holds a series of one of these metrics."""
        ...

    def series_set(self, day: int, set_hash: bytes) -> bytes:
        """The blob of a set; raises CorruptBlockError when it is missing although something refers to it."""
        ...

    def rows(
        self, tenant: str, day: int, buckets: Collection[str], first_window: int, last_window: int
    ) -> Sequence[Stored]:
        """Every L0 row of these buckets and windows, both bounds inclusive."""
        ...

    def manifests(self, tenant: str, day: int, metrics: Collection[str]) -> Sequence[Manifest]:
        """Manifests of these metrics; most have none until they are merged."""
        ...

    def merged(self, tenant: str, day: int, versions: Collection[str]) -> Mapping[str, bytes]:
        """Blocks of versions by id; raises CorruptBlockError when one that a manifest named is missing."""
        ...


class BlockStore(BlockWriter, BlockReader, Protocol):
    """Both sides."""

    def close(self) -> None:
        """Release files and connections. Idempotent."""
        ...


class BlockAudit(Protocol):
    """What the auditor and retention need."""

    def flush_records(self, day: int) -> Sequence[FlushRecord]:
        """Every flush record under a day."""
        ...

    def retire(self, day: int) -> None:
        """Refuse every later write to the day, then remove it. Idempotent."""
        ...


class AuditedBlockStore(BlockStore, BlockAudit, Protocol):
    """Everything: what an adapter is."""
