"""The object store port: whole objects under slash-separated keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class ArchiveError(Exception):
    """Anything this package raises."""


class ArchiveUnavailableError(ArchiveError):
    """The store's fault: it cannot be read or written now."""


class ArchiveConfigError(ArchiveError):
    """The store's fault that waiting does not mend: somebody must change the settings or the store. Raised at a start only."""


class ObjectExistsError(ArchiveError):
    """put_if_absent found an object under the key; it is unchanged."""


class NoSuchObjectError(ArchiveError):
    """No object has this key."""


class CorruptArchiveError(ArchiveError):
    """An object or a manifest entry is not what was written; `key` says which."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"{key}: {detail}")
        self.key = key


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """Objects are written whole and never changed. Durable on return. Every method may raise ArchiveUnavailableError."""

    def put(self, key: str, data: bytes) -> None:
        """Write or replace. A reader sees the old object, the new one, or none: never a part."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write unless there is one; raises ObjectExistsError. Of two at once exactly one succeeds."""
        ...

    def get(self, key: str) -> bytes:
        """Raises NoSuchObjectError."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix` and is greater than `after`, by key in byte order."""
        ...

    def delete(self, key: str) -> None:
        """Gone on return; no error when it was not there."""
        ...
