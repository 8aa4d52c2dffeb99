"""The embedded block store: one SQLite file per UTC day under a folder, shared by a writer and reader processes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from .day_files import DayFiles
from .errors import CorruptBlockError, StoreUnavailableError
from .port import (
    Absorbed,
    CatalogEntry,
    DayFlush,
    FlushRecord,
    Manifest,
    MergedWindow,
    NewSet,
    OffsetRange,
    RowRecord,
    Source,
    Stored,
    Version,
)

_RANGE: Final = struct.Struct(">IQQ")
_KEYS_PER_STATEMENT: Final = 500


class SqliteBlocks:
    """tsdb.port's BlockStore and BlockAudit in `root`/day-YYYYMMDD.db. Nothing is opened or made before it is needed."""

    def __init__(self, root: Path) -> None:
        self._files = DayFiles(root)

    def claim(self, tenant: str, day: int, entries: Sequence[CatalogEntry]) -> Mapping[str, CatalogEntry]:
        """See BlockWriter."""
        with self._files.writing(day) as db:
            db.executemany(
                "INSERT INTO catalog VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                ((tenant, e.metric, e.bucket, e.shards, e.kind, e.unit, e.help, e.family) for e in entries),
            )
            return {e.metric: e for e in _catalog(db, tenant, [e.metric for e in entries])}

    def write(self, flush: DayFlush) -> None:
        """See BlockWriter: one transaction."""
        log_id, ranges, writer = flush.source.log_id, encode_ranges(flush.source.ranges), flush.source.writer
        with self._files.writing(flush.day) as db:
            _put_sets(db, flush.sets)
            if flush.directory:
                db.executemany(
                    "INSERT INTO directory VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                    ((d.tenant, d.name, d.value, d.metric) for d in flush.directory),
                )
            held = sum(1 for _ in _by_keys(db, "SELECT 1 FROM sets WHERE hash IN ({})", [], list(flush.set_hashes)))
            if held != len(flush.set_hashes):
                raise StoreUnavailableError("the store lacks series sets that were written: it was emptied or replaced")
            db.executemany(
                "INSERT INTO l0 (tenant,bucket,window,log_id,ranges,writer,set_hash,samples,hash_sum,data)"
                " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                (
                    (r.tenant, r.bucket, r.window, log_id, ranges, writer, r.set_hash, r.samples, _signed(r.hash_sum), r.block)
                    for r in flush.rows
                ),
            )  # fmt: skip

    def record(self, day: int, flush: FlushRecord) -> None:
        """See BlockWriter."""
        rows = [(r.tenant, r.bucket, r.window, r.samples, r.hash_sum) for r in flush.rows]
        data = zlib.compress(orjson.dumps(rows), 1)
        with self._files.writing(day) as db:
            db.execute(
                "INSERT INTO flushes VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                (flush.source.log_id, encode_ranges(flush.source.ranges), flush.source.writer, data),
            )

    def merge(self, manifest: Manifest, blocks: Mapping[str, bytes], sets: Sequence[NewSet]) -> bool:
        """See BlockWriter: the comparison and everything written are one transaction."""
        key = (manifest.tenant, manifest.metric, manifest.shard)
        with self._files.writing(manifest.day) as db:
            found = db.execute("SELECT generation FROM manifests WHERE tenant=? AND metric=? AND shard=?", key).get
            if (found or 0) != manifest.generation - 1:
                return False
            _put_sets(db, sets)
            db.executemany(
                "INSERT INTO merged VALUES (?,?,?)",
                ((manifest.tenant, version, data) for version, data in blocks.items()),
            )
            db.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?,?,?,?,?)", (*key, manifest.generation, _dump(manifest))
            )
        return True

    def days(self) -> Sequence[int]:
        """See BlockReader."""
        return self._files.days()

    def catalog(self, tenant: str, day: int, metrics: Collection[str] | None) -> Sequence[CatalogEntry]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            return [] if db is None else _catalog(db, tenant, None if metrics is None else list(metrics))

    def metrics_with(self, tenant: str, day: int, name: str, value: str) -> Collection[str]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            if db is None:
                return []
            query = "SELECT metric FROM directory WHERE tenant=? AND name=? AND value=?"
            return [str(row[0]) for row in db.execute(query, (tenant, name, value))]

    def set_hashes(self, tenant: str, day: int, metrics: Collection[str]) -> Collection[bytes]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            if db is None:
                return []
            query = "SELECT hash FROM metric_sets WHERE tenant=? AND metric IN ({})"
            return list(dict.fromkeys(bytes(row[0]) for row in _by_keys(db, query, [tenant], list(metrics))))

    def series_set(self, day: int, set_hash: bytes) -> bytes:
        """See BlockReader."""
        with self._files.reading(day) as db:
            data = None if db is None else db.execute("SELECT data FROM sets WHERE hash=?", (set_hash,)).get
        if data is None:
            raise CorruptBlockError(f"series set {set_hash.hex()} of day {day} is missing")
        return bytes(data)

    def rows(
        self, tenant: str, day: int, buckets: Collection[str], first_window: int, last_window: int
    ) -> Sequence[Stored]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            if db is None:
                return []
            query = (
                "SELECT window,log_id,ranges,writer,set_hash,data FROM l0"
                " WHERE tenant=? AND window BETWEEN ? AND ? AND bucket IN ({})"
            )
            sources: dict[tuple[str, bytes, str], Source] = {}
            out: list[Stored] = []
            for window, log_id, ranges, writer, set_hash, data in _by_keys(
                db, query, [tenant, first_window, last_window], list(buckets)
            ):
                key = (log_id, ranges, writer)
                source = sources.get(key)
                if source is None:
                    source = sources[key] = Source(log_id, decode_ranges(ranges), writer)
                out.append(Stored(window, source, set_hash, data))
            return out

    def manifests(self, tenant: str, day: int, metrics: Collection[str]) -> Sequence[Manifest]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            if db is None or db.execute("SELECT 1 FROM manifests LIMIT 1").get is None:
                return []
            query = "SELECT metric,shard,generation,data FROM manifests WHERE tenant=? AND metric IN ({})"
            return [_load(tenant, day, *row) for row in _by_keys(db, query, [tenant], list(metrics))]

    def merged(self, tenant: str, day: int, versions: Collection[str]) -> Mapping[str, bytes]:
        """See BlockReader."""
        with self._files.reading(day) as db:
            query = "SELECT version,data FROM merged WHERE tenant=? AND version IN ({})"
            found = {} if db is None else {v: bytes(data) for v, data in _by_keys(db, query, [tenant], list(versions))}
        missing = set(versions) - set(found)
        if missing:
            raise CorruptBlockError(f"merged rows {sorted(missing)} of day {day} are missing")
        return found

    def flush_records(self, day: int) -> Sequence[FlushRecord]:
        """See BlockAudit."""
        with self._files.reading(day) as db:
            if db is None:
                return []
            return [
                FlushRecord(
                    Source(log_id, decode_ranges(ranges), writer),
                    tuple(RowRecord(*row) for row in orjson.loads(zlib.decompress(data))),
                )
                for log_id, ranges, writer, data in db.execute("SELECT log_id,ranges,writer,data FROM flushes")
            ]

    def retire(self, day: int) -> None:
        """See BlockAudit."""
        self._files.retire(day)

    def close(self) -> None:
        """See BlockStore."""
        self._files.close()


def encode_ranges(ranges: Sequence[OffsetRange]) -> bytes:
    """A key part: partition, first and next of each range, big-endian."""
    return b"".join(_RANGE.pack(r.partition, r.first, r.next) for r in sorted(ranges))


def decode_ranges(data: bytes) -> tuple[OffsetRange, ...]:
    """The inverse of encode_ranges."""
    return tuple(OffsetRange(*fields) for fields in _RANGE.iter_unpack(data))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _by_keys(db: apsw.Connection, query: str, fixed: Sequence[Any], keys: Sequence[Any]) -> Iterable[Any]:
    """Rows of a query whose `{}` takes a list of keys, some hundred at a time."""
    for at in range(0, len(keys), _KEYS_PER_STATEMENT):
        some = keys[at : at + _KEYS_PER_STATEMENT]
        yield from db.execute(query.format(",".join("?" * len(some))), (*fixed, *some))


def _catalog(db: apsw.Connection, tenant: str, metrics: Sequence[str] | None) -> list[CatalogEntry]:
    query = "SELECT metric,bucket,shards,kind,unit,help,family FROM catalog WHERE tenant=?"
    if metrics is None:
        return [CatalogEntry(*row) for row in db.execute(query, (tenant,))]
    return [CatalogEntry(*row) for row in _by_keys(db, query + " AND metric IN ({})", [tenant], metrics)]


def _put_sets(db: apsw.Connection, sets: Sequence[NewSet]) -> None:
    if not sets:
        return
    db.executemany("INSERT INTO sets VALUES (?,?) ON CONFLICT DO NOTHING", ((s.hash, s.blob) for s in sets))
    db.executemany(
        "INSERT INTO metric_sets VALUES (?,?,?) ON CONFLICT DO NOTHING",
        ((s.tenant, metric, s.hash) for s in sets for metric in s.metrics),
    )


def _dump(manifest: Manifest) -> bytes:
    return orjson.dumps({
        "versions": [(v.id, v.set_hash.hex(), v.samples, v.checksum) for v in manifest.versions],
        "windows": [
            (window, held.version, [(a.log_id, a.partition, a.first, a.next) for a in held.absorbed])
            for window, held in sorted(manifest.windows.items())
        ],
    })  # fmt: skip


def _load(tenant: str, day: int, metric: str, shard: int, generation: int, data: bytes) -> Manifest:
    document = orjson.loads(data)
    return Manifest(
        tenant,
        day,
        metric,
        shard,
        generation,
        tuple(Version(v, bytes.fromhex(h), samples, checksum) for v, h, samples, checksum in document["versions"]),
        {w: MergedWindow(v, tuple(Absorbed(*a) for a in absorbed)) for w, v, absorbed in document["windows"]},
    )
