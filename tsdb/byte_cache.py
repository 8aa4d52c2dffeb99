"""A cache that is limited in bytes and drops what was used longest ago."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Safe from several threads. A value larger than the whole cache is not kept."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the last to go; None when it is not here."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value that takes about `size_bytes`."""
        with self._lock:
            former = self._held.pop(key, None)
            if former is not None:
                self._bytes -= former[1]
            if size_bytes > self._bytes_max:
                return
            self._held[key] = (value, size_bytes)
            self._bytes += size_bytes
            while self._bytes > self._bytes_max:
                _, (_, size) = self._held.popitem(last=False)
                self._bytes -= size
