"""The mark below which days are gone for good, so that a replay does not bring them back."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import structlog

from search.tantivy_days import sync_folder

_NAME = "retired_through"
_log = structlog.stdlib.get_logger("search")


class RetiredMark:
    """The last retired day, kept in a small file; it only ever rises."""

    def __init__(self, root: Path) -> None:
        """Raises OSError."""
        self._path = root / _NAME
        self._through = date.min
        if self._path.exists():
            self._through = self._read()

    def covers(self, day: date) -> bool:
        """Whether the day is past retention."""
        return day <= self._through

    def raise_to(self, day: date) -> None:
        """Durable on return; raises OSError."""
        if day <= self._through:
            return
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(day.isoformat())
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        sync_folder(self._path.parent)
        self._through = day

    def _read(self) -> date:
        text = self._path.read_text("utf-8", "replace").strip()
        try:
            return date.fromisoformat(text)
        except ValueError:
            _log.error("retired_mark_unreadable", file=str(self._path), text=text[:40])
            return date.min
