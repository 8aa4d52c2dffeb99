"""Objects in memory: for tests, and for trying the archive without a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from archive.port import NoSuchObjectError, ObjectExistsError, ObjectInfo


class MemoryObjects:
    """An ObjectStore. `before_put` sees each key before it is written; it may raise ArchiveUnavailableError, or write itself."""

    def __init__(self, before_put: Callable[[str], None] = lambda key: None) -> None:
        self.before_put = before_put
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        self.before_put(key)
        with self._lock:
            self.objects[key] = data

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.before_put(key)
        with self._lock:
            if key in self.objects:
                raise ObjectExistsError(key)
            self.objects[key] = data

    def get(self, key: str) -> bytes:
        found = self.objects.get(key)
        if found is None:
            raise NoSuchObjectError(key)
        return found

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted((k, len(v)) for k, v in self.objects.items() if k.startswith(prefix) and k > after)
        return (ObjectInfo(key, size) for key, size in found)

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(key, None)
