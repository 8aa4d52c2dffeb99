"""What the store is known to hold because it said so, and which flushes were tried: filled by acknowledgements only, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from .byte_cache import ByteCache
from .port import DirectoryEntry, Source

_KEYS_BYTES_MAX: Final = 8 * 1024 * 1024
_KEY_BYTES: Final = 200
_LABEL_ENTRIES_MAX: Final = 400_000
_TRIED_MAX: Final = 512

TenantDay = tuple[str, int]
Label = tuple[str, str]


class Known:
    """Belief about one keyspace; safe from several threads. Forgetting costs only that things are written again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tried: OrderedDict[tuple[int, Source], None] = OrderedDict()
        self.forget()

    def forget(self) -> None:
        """The store was emptied, or may have been."""
        with self._lock:
            self.days: set[int] = set()
            self.sets: ByteCache[tuple[int, bytes], bool] = ByteCache(_KEYS_BYTES_MAX)
            self.indexed: ByteCache[tuple[str, int, bytes], bool] = ByteCache(_KEYS_BYTES_MAX)
            self.spreads: ByteCache[tuple[str, int, int], bool] = ByteCache(_KEYS_BYTES_MAX)
            self._labels: dict[TenantDay, dict[Label, set[str]]] = {}
            self._label_entries = 0

    def add_set(self, day: int, set_hash: bytes) -> None:
        """The set is there."""
        self.sets.put((day, set_hash), True, _KEY_BYTES)

    def add_index(self, tenant: str, day: int, set_hash: bytes) -> None:
        """The set is found by its metrics."""
        self.indexed.put((tenant, day, set_hash), True, _KEY_BYTES)

    def add_spread(self, tenant: str, day: int, slots: int) -> None:
        """Readers look for the day's rows in so many slots."""
        self.spreads.put((tenant, day, slots), True, _KEY_BYTES)

    def new_labels(self, day: int, entries: Iterable[DirectoryEntry]) -> dict[TenantDay, dict[Label, set[str]]]:
        """What of these entries is not known to be there."""
        new: dict[TenantDay, dict[Label, set[str]]] = {}
        with self._lock:
            for e in entries:
                key, label = (e.tenant, day), (e.name, e.value)
                if e.metric not in self._labels.get(key, {}).get(label, ()):
                    new.setdefault(key, {}).setdefault(label, set()).add(e.metric)
        return new

    def add_labels(self, new: dict[TenantDay, dict[Label, set[str]]]) -> None:
        """They are there."""
        with self._lock:
            for key, labels in new.items():
                held = self._labels.setdefault(key, {})
                for label, metrics in labels.items():
                    held.setdefault(label, set()).update(metrics)
                    self._label_entries += len(metrics)
            if self._label_entries > _LABEL_ENTRIES_MAX:
                self._labels.clear()
                self._label_entries = 0

    def first_try(self, day: int, source: Source) -> bool:
        """Whether rows of this source were never tried by this process; they are tried from now on."""
        with self._lock:
            key = (day, source)
            first = key not in self._tried
            self._tried[key] = None
            self._tried.move_to_end(key)
            if len(self._tried) > _TRIED_MAX:
                self._tried.popitem(last=False)
            return first
