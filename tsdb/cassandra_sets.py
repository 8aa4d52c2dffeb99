"""Series sets, how metrics find them, and the directory of labels: a few fat rows, because every row costs a request."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from .cassandra_cells import (
    decode_directory,
    decode_names,
    decode_set,
    encode_directory,
    encode_names,
    encode_set,
    label_slot,
    slot_of,
)
from .cassandra_connect import ONE, QUORUM
from .cassandra_known import Known
from .cassandra_session import CassandraSession, Row
from .errors import CorruptBlockError, StoreUnavailableError
from .port import DirectoryEntry, NewSet

_PUT_PART: Final = "INSERT INTO sets (space, day, hash, part, data) VALUES (?, ?, ?, ?, ?)"
_PARTS: Final = "SELECT part, data FROM sets WHERE space = ? AND day = ? AND hash = ?"
_IS_THERE: Final = "SELECT part FROM sets WHERE space = ? AND day = ? AND hash = ? AND part = 0"
_PUT_METRICS: Final = "INSERT INTO metric_sets (space, tenant, day, slot, hash, data) VALUES (?, ?, ?, ?, ?, ?)"
_BY_METRIC: Final = "SELECT hash, data FROM metric_sets WHERE space = ? AND tenant = ? AND day = ? AND slot = ?"
_PUT_LABELS: Final = "INSERT INTO directory (space, tenant, day, slot, hash, data) VALUES (?, ?, ?, ?, ?, ?)"
_BY_LABEL: Final = "SELECT data FROM directory WHERE space = ? AND tenant = ? AND day = ? AND slot = ?"
_KEY_BYTES: Final = 150


class Sets:
    """The sets of one space."""

    def __init__(self, session: CassandraSession, space: str, known: Known) -> None:
        self._session = session
        self._space = space
        self._known = known

    def put(self, day: int, sets: Sequence[NewSet], directory: Sequence[DirectoryEntry]) -> None:
        """Store what is not known to be there. Part 0 of a set is written last: where it is, all else of the set is."""
        new = self._known.new_labels(day, directory)
        if new:
            rows = (row for (tenant, _), labels in new.items() for row in self._label_rows(tenant, day, labels))
            self._session.write(_PUT_LABELS, rows, "writing the label directory")
            self._known.add_labels(new)
        unindexed = [s for s in sets if self._known.indexed.get((s.tenant, day, s.hash)) is None]
        if unindexed:
            rows = (row for new_set in unindexed for row in self._metric_rows(day, new_set))
            self._session.write(_PUT_METRICS, rows, "writing the metrics of series sets")
        absent = {s.hash: encode_set(s.blob) for s in sets if self._known.sets.get((day, s.hash)) is None}
        for first in (False, True):
            parts = (
                ((self._space, day, key, part, cell), len(cell) + _KEY_BYTES)
                for key, cells in absent.items()
                for part, cell in enumerate(cells)
                if (part == 0) is first
            )
            self._session.write(_PUT_PART, parts, "writing series sets")
        for key in absent:
            self._known.add_set(day, key)
        for s in unindexed:
            self._known.add_index(s.tenant, day, s.hash)

    def require(self, day: int, hashes: Collection[bytes]) -> None:
        """Raises StoreUnavailableError when one of these sets is not there."""
        unsure = [(self._space, day, key) for key in hashes if self._known.sets.get((day, key)) is None]
        missing = 0
        for (_, _, key), rows in self._session.read(_IS_THERE, unsure, "looking for series sets"):
            if rows:
                self._known.add_set(day, key)
            else:
                missing += 1
        if missing:
            raise StoreUnavailableError("the store lacks series sets that were written: it was emptied or replaced")

    def blob(self, day: int, set_hash: bytes) -> bytes:
        """See BlockReader.series_set. One replica is asked first: whether it has all of the set can be told."""
        for level in (ONE, QUORUM):
            rows = self._session.read_one(_PARTS, (self._space, day, set_hash), "reading a series set", level)
            blob = decode_set(dict(rows))
            if blob is not None:
                return blob
        damaged = "damaged" if rows else "missing"
        raise CorruptBlockError(f"series set {set_hash.hex()} of day {day} is {damaged}")

    def of_metrics(self, tenant: str, day: int, metrics: Collection[str]) -> list[bytes]:
        """See BlockReader.set_hashes."""
        wanted = set(metrics)
        keys = [(self._space, tenant, day, slot) for slot in sorted({slot_of(metric) for metric in wanted})]
        found: dict[bytes, None] = {}
        for _, rows in self._session.read(_BY_METRIC, keys, "reading which sets hold a metric"):
            found.update((key, None) for key, data in rows if not wanted.isdisjoint(decode_names(data)))
        return list(found)

    def metrics_with(self, tenant: str, day: int, name: str, value: str) -> list[str]:
        """See BlockReader."""
        key = (self._space, tenant, day, label_slot(name, value))
        rows = self._session.read_one(_BY_LABEL, key, "reading the label directory")
        return sorted({metric for (data,) in rows for metric in decode_directory(data, name, value)})

    def _metric_rows(self, day: int, new: NewSet) -> Iterator[tuple[Row, int]]:
        by_slot: dict[int, list[str]] = {}
        for metric in new.metrics:
            by_slot.setdefault(slot_of(metric), []).append(metric)
        for slot, metrics in by_slot.items():
            data = encode_names(metrics)
            yield (self._space, new.tenant, day, slot, new.hash, data), len(data) + _KEY_BYTES

    def _label_rows(self, tenant: str, day: int, labels: dict[tuple[str, str], set[str]]) -> Iterator[tuple[Row, int]]:
        by_slot: dict[int, dict[tuple[str, str], set[str]]] = {}
        for label, metrics in labels.items():
            by_slot.setdefault(label_slot(*label), {})[label] = metrics
        for slot, some in by_slot.items():
            for key, data in encode_directory(some):
                yield (self._space, tenant, day, slot, key, data), len(data) + _KEY_BYTES
