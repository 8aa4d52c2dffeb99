"""Merged rows and the manifests that name them, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from .cassandra_cells import decode_manifest, decode_merged, encode_manifest, encode_merged, slot_of
from .cassandra_connect import ONE, QUORUM, SERIAL
from .cassandra_session import CassandraSession
from .errors import CorruptBlockError, RowTooLargeError, StoreUnavailableError
from .port import Manifest

_PUT: Final = "INSERT INTO merged (space, tenant, day, version, data) VALUES (?, ?, ?, ?, ?)"
_BLOCK: Final = "SELECT data FROM merged WHERE space = ? AND tenant = ? AND day = ? AND version = ?"
_SLOT: Final = "space = ? AND tenant = ? AND day = ? AND slot = ?"
_MANIFEST: Final = f"SELECT generation, data FROM manifests WHERE {_SLOT} AND metric = ? AND shard = ?"
_OF_SLOT: Final = f"SELECT metric, shard, generation, data FROM manifests WHERE {_SLOT}"
_OF_METRIC: Final = f"{_OF_SLOT} AND metric IN ?"
_SET: Final = (
    f"UPDATE manifests SET generation = ?, data = ? WHERE {_SLOT} AND metric = ? AND shard = ? IF generation = ?"
)
_METRICS_PER_READ: Final = 50
_OVERHEAD_BYTES: Final = 4096
_TRIES: Final = 5


class Merged:
    """The merged rows of one space."""

    def __init__(self, session: CassandraSession, space: str) -> None:
        self._session = session
        self._space = space

    def put(self, tenant: str, day: int, blocks: Mapping[str, bytes]) -> None:
        """Under fresh version ids."""
        bytes_max = self._session.row_bytes_max - _OVERHEAD_BYTES
        for version, block in blocks.items():
            if len(block) > bytes_max:
                raise RowTooLargeError(f"merged row {version}", len(block), bytes_max)
        rows = (((self._space, tenant, day, v, encode_merged(block)), len(block) + 200) for v, block in blocks.items())
        self._session.write(_PUT, rows, "writing merged rows")

    def may_follow(self, manifest: Manifest) -> bool:
        """Whether it could be the next one, or is the present one: what is beaten already need not be written."""
        generation, data = self._present(manifest, SERIAL)
        return generation == manifest.generation - 1 or (generation, data) == _content(manifest)

    def compare_and_set(self, manifest: Manifest) -> bool:
        """See BlockWriter.merge. What a change that nobody answered for came to is read at SERIAL."""
        content = _content(manifest)
        # A row that is not there has no generation.
        before = manifest.generation - 1 or None
        for _ in range(_TRIES):
            done = self._session.change([(_SET, (*content, *self._key(manifest), before))], "changing a manifest")
            if done:
                return True
            # The driver may have asked twice, so that a refusal can be our own success.
            present = self._present(manifest, SERIAL)
            if present == content:
                return True
            if done is False or present[0] != manifest.generation - 1:
                return False
        raise StoreUnavailableError(
            f"the manifest of {manifest.metric} was not changed: Cassandra did not decide in time"
        )

    def manifests(self, tenant: str, day: int, metrics: Collection[str]) -> list[Manifest]:
        """See BlockReader."""
        by_slot: dict[int, list[str]] = {}
        for metric in sorted(metrics):
            by_slot.setdefault(slot_of(metric), []).append(metric)
        few = [
            (*self._slot(tenant, day, slot), names)
            for slot, names in by_slot.items()
            if len(names) <= _METRICS_PER_READ
        ]
        many = [self._slot(tenant, day, slot) for slot, names in by_slot.items() if len(names) > _METRICS_PER_READ]
        wanted = set(metrics)
        return [
            decode_manifest(tenant, day, *row)
            for cql, keys in ((_OF_METRIC, few), (_OF_SLOT, many))
            for _, rows in self._session.read(cql, keys, "reading manifests")
            for row in rows
            if row[0] in wanted
        ]

    def blocks(self, tenant: str, day: int, versions: Collection[str]) -> dict[str, bytes]:
        """See BlockReader.merged. One replica is asked first: a row that it lacks or has damaged is read again from a quorum."""
        found: dict[str, bytes] = {}
        for level in (ONE, QUORUM):
            keys = [(self._space, tenant, day, version) for version in sorted(set(versions) - found.keys())]
            for (*_, version), rows in self._session.read(_BLOCK, keys, "reading merged rows", level):
                block = decode_merged(rows[0][0]) if rows else None
                if block is not None:
                    found[version] = block
        lacking = sorted(set(versions) - found.keys())
        if lacking:
            raise CorruptBlockError(f"merged rows {lacking} of day {day} are missing or damaged")
        return found

    def _present(self, manifest: Manifest, level: object) -> tuple[int, bytes]:
        rows = self._session.read_one(_MANIFEST, self._key(manifest), "reading a manifest", level)
        return (rows[0][0] or 0, rows[0][1]) if rows else (0, b"")

    def _slot(self, tenant: str, day: int, slot: int) -> tuple[str, str, int, int]:
        return self._space, tenant, day, slot

    def _key(self, m: Manifest) -> tuple[str, str, int, int, str, int]:
        return (*self._slot(m.tenant, m.day, slot_of(m.metric)), m.metric, m.shard)


def _content(manifest: Manifest) -> tuple[int, bytes]:
    return manifest.generation, encode_manifest(manifest)
