"""The catalog: put-if-absent by compare-and-set, so that of racing claims one holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from .cassandra_connect import QUORUM, SERIAL
from .cassandra_session import CassandraSession
from .errors import StoreUnavailableError
from .port import CatalogEntry

_COLUMNS: Final = "metric, bucket, shards, kind, unit, help, family"
_ALL: Final = f"SELECT {_COLUMNS} FROM catalog WHERE space = ? AND tenant = ? AND day = ?"
_SOME: Final = f"{_ALL} AND metric IN ?"
_PUT: Final = (
    f"INSERT INTO catalog (space, tenant, day, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
)
_METRICS_PER_READ: Final = 100
_METRICS_OF_ALL: Final = 2_000
"""From so many metrics on the whole catalog is read."""
_BATCH_MAX: Final = 50
_BATCH_BYTES_MAX: Final = 20 * 1024
_TRIES: Final = 20


class Catalog:
    """The entries of one space."""

    def __init__(self, session: CassandraSession, space: str) -> None:
        self._session = session
        self._space = space

    def entries(
        self, tenant: str, day: int, metrics: Collection[str] | None, level: object = QUORUM
    ) -> list[CatalogEntry]:
        """Of some metrics, or of all."""
        key = (self._space, tenant, day)
        doing = "reading the catalog"
        if metrics is None or len(metrics) > _METRICS_OF_ALL:
            rows = self._session.read_one(_ALL, key, doing, level)
            return [CatalogEntry(*row) for row in rows if metrics is None or row[0] in metrics]
        wanted = sorted(metrics)
        keys = [(*key, wanted[at : at + _METRICS_PER_READ]) for at in range(0, len(wanted), _METRICS_PER_READ)]
        return [CatalogEntry(*row) for _, rows in self._session.read(_SOME, keys, doing, level) for row in rows]

    def claim(self, tenant: str, day: int, entries: Sequence[CatalogEntry]) -> Mapping[str, CatalogEntry]:
        """See BlockWriter. A batch is put whole or not at all; what became of it is read before anything is concluded."""
        wanted = {entry.metric: entry for entry in entries}
        held: dict[str, CatalogEntry] = {}
        level: object = QUORUM
        for _ in range(_TRIES):
            absent = wanted.keys() - held.keys()
            held.update({e.metric: e for e in self.entries(tenant, day, absent, level)} if absent else {})
            absent = wanted.keys() - held.keys()
            if not absent:
                return held
            for batch in _batches([wanted[metric] for metric in sorted(absent)]):
                changes = [(_PUT, (self._space, tenant, day, *_values(entry))) for entry in batch]
                if not self._session.change(changes, "claiming metrics"):
                    break
                held.update({entry.metric: entry for entry in batch})
            level = SERIAL
        raise StoreUnavailableError(
            f"{len(wanted) - len(held)} metrics could not be claimed: Cassandra did not decide in time"
        )


def _values(e: CatalogEntry) -> tuple[str, str, int, str, str, str, str]:
    return e.metric, e.bucket, e.shards, e.kind, e.unit, e.help, e.family


def _batches(entries: Sequence[CatalogEntry]) -> Iterator[list[CatalogEntry]]:
    batch: list[CatalogEntry] = []
    size = 0
    for entry in entries:
        bytes_ = 100 + sum(4 * len(value) for value in _values(entry) if isinstance(value, str))
        if batch and (len(batch) == _BATCH_MAX or size + bytes_ > _BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += bytes_
    if batch:
        yield batch
