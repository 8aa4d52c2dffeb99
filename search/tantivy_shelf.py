"""The day indexes as a reader sees them: opened when asked for, reloaded when their meta file changed. Safe from several threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import tantivy

from search.port import SearchUnavailableError, Stream
from search.tantivy_days import Day, days
from search.tantivy_faults import is_broken, store_faults
from search.tantivy_schema import open_index, probe

_log = structlog.stdlib.get_logger("search")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day index as of one commit."""

    day: Day
    index: tantivy.Index
    searcher: tantivy.Searcher
    stamp: _Stamp
    facts: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """Answers that hold until the next commit."""


class Shelf:
    """Every reader of one store shares one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._open: dict[Day, OpenDay] = {}
        self._broken: dict[Day, _Stamp] = {}

    def days(self, stream: Stream, start_ns: int | None = None, end_ns: int | None = None) -> list[OpenDay]:
        """Days that overlap [start, end), newest first, each as of its last commit. A broken day is left out with an error in the
        log, once; the writer sets it aside at its next start. Raises SearchUnavailableError.
        """
        with store_faults(f"list the {stream} in {self._root}"):
            found = days(self._root, stream)
        with self._lock:
            for day in [d for d in self._open if d.stream == stream and d not in found]:
                del self._open[day]
            wanted = (
                d
                for d in found
                if (end_ns is None or d.start_ns < end_ns) and (start_ns is None or d.end_ns > start_ns)
            )
            return [opened for day in wanted if (opened := self._day(day)) is not None]

    def _day(self, day: Day) -> OpenDay | None:
        folder = day.folder(self._root)
        stamp = _stamp(folder)
        if stamp is None or self._broken.get(day) == stamp:
            return None
        known = self._open.get(day)
        if known is not None and known.stamp == stamp:
            return known
        try:
            opened = self._load(day, folder, stamp, known)
        except SearchUnavailableError as error:
            if _stamp(folder) != stamp:
                # It was retired, set aside or committed to just now.
                return self._day(day)
            if not is_broken(error):
                raise
            self._broken[day] = stamp
            _log.error("day_index_unreadable", folder=str(folder), reason=str(error))
            return None
        self._open[day] = opened
        return opened

    def _load(self, day: Day, folder: Path, stamp: _Stamp, known: OpenDay | None) -> OpenDay:
        with store_faults(f"open {folder}"):
            if known is None:
                index = open_index(folder)
                probe(index)
            else:
                index = known.index
                index.reload()
            return OpenDay(day, index, index.searcher(), stamp)


def _stamp(folder: Path) -> _Stamp | None:
    """What changes with every commit: the engine replaces the meta file by a new one. None: there is no index (yet)."""
    try:
        stat = (folder / "meta.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SearchUnavailableError(f"cannot read {folder}: {error}") from error
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
