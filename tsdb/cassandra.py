"""The block store on a Cassandra cluster; docs/formats/cassandra.md describes its tables and which request asks how many replicas."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from .cassandra_catalog import Catalog
from .cassandra_days import Days
from .cassandra_known import Known
from .cassandra_merged import Merged
from .cassandra_rows import Rows
from .cassandra_session import CassandraSession
from .cassandra_sets import Sets
from .cassandra_settings import CassandraSettings
from .port import CatalogEntry, DayFlush, FlushRecord, Manifest, NewSet, Stored


class CassandraBlocks:
    """tsdb.port's BlockStore and BlockAudit in one keyspace. Nothing is connected before it is needed.

    A writer's name must be of one process only: a row is taken for new unless this process tried to write it before.
    """

    def __init__(self, settings: CassandraSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        space = settings.space
        known = Known()
        self._session = CassandraSession(settings, clock)
        self._days = Days(self._session, space, known, settings.recheck_s, clock)
        self._catalog = Catalog(self._session, space)
        self._sets = Sets(self._session, space, known)
        self._rows = Rows(self._session, space, known, settings.read_bytes_max)
        self._merged = Merged(self._session, space)

    def check(self) -> None:
        """Connect, at start; makes keyspace and tables where they are missing.

        Raises TsdbConfigError for what the operator must change, else StoreUnavailableError.
        """
        self._session.open()

    def claim(self, tenant: str, day: int, entries: Sequence[CatalogEntry]) -> Mapping[str, CatalogEntry]:
        """See BlockWriter."""
        self._days.admit(day)
        return self._catalog.claim(tenant, day, entries)

    def write(self, flush: DayFlush) -> None:
        """See BlockWriter. Raises RowTooLargeError, before anything is written, when a row can never be taken."""
        self._days.admit(flush.day)
        self._rows.check_sizes(flush)
        self._sets.put(flush.day, flush.sets, flush.directory)
        self._sets.require(flush.day, flush.set_hashes)
        self._days.put(flush.day)
        self._rows.put(flush)

    def record(self, day: int, flush: FlushRecord) -> None:
        """See BlockWriter."""
        self._days.admit(day)
        self._days.put(day)
        self._rows.record(day, flush)

    def merge(self, manifest: Manifest, blocks: Mapping[str, bytes], sets: Sequence[NewSet]) -> bool:
        """See BlockWriter."""
        self._days.admit(manifest.day)
        if not self._merged.may_follow(manifest):
            return False
        self._sets.put(manifest.day, sets, ())
        self._days.put(manifest.day)
        self._merged.put(manifest.tenant, manifest.day, blocks)
        return self._merged.compare_and_set(manifest)

    def days(self) -> Sequence[int]:
        """See BlockReader."""
        return self._days.held()

    def catalog(self, tenant: str, day: int, metrics: Collection[str] | None) -> Sequence[CatalogEntry]:
        """See BlockReader."""
        return [] if self._days.is_retired(day) else self._catalog.entries(tenant, day, metrics)

    def metrics_with(self, tenant: str, day: int, name: str, value: str) -> Collection[str]:
        """See BlockReader."""
        return [] if self._days.is_retired(day) else self._sets.metrics_with(tenant, day, name, value)

    def set_hashes(self, tenant: str, day: int, metrics: Collection[str]) -> Collection[bytes]:
        """See BlockReader."""
        return [] if self._days.is_retired(day) else self._sets.of_metrics(tenant, day, metrics)

    def series_set(self, day: int, set_hash: bytes) -> bytes:
        """See BlockReader."""
        return self._sets.blob(day, set_hash)

    def rows(
        self, tenant: str, day: int, buckets: Collection[str], first_window: int, last_window: int
    ) -> Sequence[Stored]:
        """See BlockReader."""
        if self._days.is_retired(day):
            return []
        return self._rows.read(tenant, day, buckets, first_window, last_window)

    def manifests(self, tenant: str, day: int, metrics: Collection[str]) -> Sequence[Manifest]:
        """See BlockReader."""
        return [] if self._days.is_retired(day) else self._merged.manifests(tenant, day, metrics)

    def merged(self, tenant: str, day: int, versions: Collection[str]) -> Mapping[str, bytes]:
        """See BlockReader."""
        return self._merged.blocks(tenant, day, versions)

    def flush_records(self, day: int) -> Sequence[FlushRecord]:
        """See BlockAudit."""
        return [] if self._days.is_retired(day) else self._rows.records(day)

    def retire(self, day: int) -> None:
        """See BlockAudit: a mark; what the day held goes by the tables' TTL."""
        self._days.retire(day)

    def close(self) -> None:
        """See BlockStore."""
        self._session.close()
