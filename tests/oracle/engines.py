"""What stands below the platform in a run of the oracle: how it is configured, read by its own means, and broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from archive.local import LocalObjects
from bus.port import Bus
from bus.sqlite import SqliteBus
from search.tantivy_reader import TantivyReader
from tsdb.sqlite import SqliteBlocks

from .verdict import in_blocks, in_documents, in_objects

Found: TypeAlias = Iterable[tuple[str, bool]]
"""(id, whether the content is what the id demands) of each of the oracle's records in a store."""


class Engines(Protocol):
    """The engines of one run; what they hold is that run's alone."""

    servers: Mapping[str, Callable[[], Callable[[], None]]]
    """By name: break it now; what that returns mends it, and returns when the server answers again."""

    @property
    def config(self) -> str:
        """The YAML that a platform runs with."""
        ...

    def bus(self) -> Bus:
        """A handle of one's own."""
        ...

    def documents(self) -> Found:
        """Out of the store of logs and spans."""
        ...

    def objects(self) -> Found:
        """Out of the archive, each batch once."""
        ...

    def samples(self) -> Found:
        """Out of the time-series store, to the bit."""
        ...


class EmbeddedEngines:
    """SQLite, Tantivy and files in the platform's data directory: no servers to break."""

    config = ""
    servers: Mapping[str, Callable[[], Callable[[], None]]] = {}

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir

    def bus(self) -> Bus:
        return SqliteBus(self._root / "bus" / "bus.db")

    def documents(self) -> Found:
        return in_documents(TantivyReader(self._root / "search"))

    def objects(self) -> Found:
        return in_objects(LocalObjects(self._root / "archive"))

    def samples(self) -> Found:
        return in_blocks(SqliteBlocks(self._root / "tsdb"))
