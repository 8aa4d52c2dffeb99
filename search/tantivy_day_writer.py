"""One open day index of the writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tantivy

from search.port import Document, SearchUnavailableError
from search.tantivy_days import has_data, sync_folder
from search.tantivy_schema import Columns, open_index

META = "meta.json"


class DayWriter:
    """Holds the engine's writer lock of one folder until close()."""

    def __init__(self, folder: Path, heap_bytes: int) -> None:
        """Raises ValueError or OSError when the index cannot be opened, or another process writes it."""
        self._folder = folder
        self._index = open_index(folder, create=True)
        self._writer: tantivy.IndexWriter | None = self._index.writer(heap_bytes, 1)
        self._index.reload()
        self._searcher: tantivy.Searcher | None = None
        self._columns = Columns()
        self.used_at_s = 0.0

    @staticmethod
    def is_unfinished(folder: Path) -> bool:
        """Whether an index was being made here when the process died: nothing was stored yet."""
        return not (folder / META).exists() and not has_data(folder)

    def is_current(self) -> bool:
        """Whether the folder that was opened is still there."""
        return self._writer is not None and (self._folder / META).exists()

    def write(self, documents: Sequence[Document], now_s: float) -> tuple[int, int]:
        """Add what is not there yet in one commit; returns how many were added and how many were there. Durable on return."""
        self.used_at_s = now_s
        if self._writer is None:
            raise SearchUnavailableError(f"{self._folder} is closed")
        seen: set[str] = set()
        for document in documents:
            # A batch may stand twice in one cut, in whatever order its attempts reached the log.
            if document.id in seen or self._holds(document.id):
                continue
            seen.add(document.id)
            self._writer.add_document(self._columns.of(document))
        if seen:
            self._writer.commit()
            self._searcher = None
            # The engine syncs the folder before it renames the new meta.json into place, not after.
            sync_folder(self._folder)
        return len(seen), len(documents) - len(seen)

    def close(self) -> None:
        """Roll back what is not committed, and release the lock. Idempotent."""
        self._searcher = None
        self._writer = None

    def _holds(self, id_: str) -> bool:
        if self._searcher is None:
            self._index.reload()
            self._searcher = self._index.searcher()
        # Documents are never deleted from a day, so the term's frequency is the number of documents.
        return self._searcher.doc_freq("id", id_) > 0
