"""The embedded document store's writing side: one Tantivy index per stream and UTC day, one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

import structlog

from search.port import Batch, Document, SearchUnavailableError, StoreWritten, Stream
from search.tantivy_day_writer import DayWriter
from search.tantivy_days import NANOS_PER_DAY, STREAMS, Day, date_of, days, make_folder, remove, set_aside, sweep
from search.tantivy_faults import is_broken, is_full, is_panic, store_faults
from search.tantivy_retention import RetiredMark
from search.tantivy_schema import open_index, probe

HEAP_BYTES = 32 * 1024 * 1024
_OPEN_MAX = 4
_log = structlog.stdlib.get_logger("search")


class TantivyWriter:
    """A DocumentWriter over a folder, used by one thread.

    Each day index commits on its own: after a crash or a failure between two commits the caller brings the same documents again, and
    those found under their id are skipped. The look-up is exact, because the engine's file lock lets nobody else write; the kernel
    releases that lock when the process dies, whatever the way. It costs 1.5 µs, so every document is looked up, marked or not: a
    second attempt that reaches the log before the first is then stored once too.
    """

    def __init__(
        self,
        root: Path,
        heap_bytes: int = HEAP_BYTES,
        idle_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`heap_bytes` is what one open day may gather before it is flushed; a day without writes for `idle_s` is closed.

        Raises SearchUnavailableError when the folder cannot be read or made.
        """
        self._root = root
        self._heap_bytes = heap_bytes
        self._idle_s = idle_s
        self._clock = clock
        self._open: dict[Day, DayWriter] = {}
        with store_faults(f"open the document store {root}"):
            root.mkdir(parents=True, exist_ok=True)
            sweep(root)
            self._retired = RetiredMark(root)
            for stream in STREAMS:
                for day in days(root, stream):
                    self._check(day)

    def write(self, batches: Iterable[Batch]) -> StoreWritten:
        """See DocumentWriter. Documents of days that retention has removed are skipped, and counted as neither."""
        by_day: dict[tuple[Stream, int], list[Document]] = {}
        for batch in batches:
            for document in batch.documents:
                by_day.setdefault((document.stream, document.time_ns // NANOS_PER_DAY), []).append(document)
        created = duplicates = 0
        for (stream, number), of_day in by_day.items():
            day = Day(stream, date_of(number * NANOS_PER_DAY))
            if self._retired.covers(day.date):
                _log.warning("documents_past_retention", day=day.date.isoformat(), stream=day.stream, count=len(of_day))
                continue
            added, found = self._write_day(day, of_day)
            created += added
            duplicates += found
        self._close_idle()
        return StoreWritten(created, duplicates)

    def retire(self, before_day: date, days_max: int = 2) -> int:
        """Remove the day indexes older than `before_day`, the oldest first and at most `days_max` days in one run, so that a wrong
        clock cannot empty the store; returns how many folders went. A later write to such a day is skipped.

        Raises SearchUnavailableError.
        """
        old = [day for stream in STREAMS for day in days(self._root, stream) if day.date < before_day]
        dates = sorted({day.date for day in old})[:days_max]
        if not dates:
            return 0
        with store_faults("retire old days"):
            self._retired.raise_to(dates[-1])
            doomed = [day for day in old if day.date <= dates[-1]]
            for day in doomed:
                self._drop(day)
                remove(self._root, day)
        return len(doomed)

    def close(self) -> None:
        for day in list(self._open):
            self._drop(day)

    def _write_day(self, day: Day, documents: Sequence[Document]) -> tuple[int, int]:
        try:
            with store_faults(f"write the {day.stream} of {day.date}"):
                writer = self._day(day)
                return writer.write(documents, self._clock())
        except SearchUnavailableError as error:
            # A writer that has failed may be dead inside; a new one starts from the last commit.
            self._drop(day)
            if is_broken(error):
                self._check(day)
            if is_full(self._root):
                raise SearchUnavailableError(f"the disk is full: free some space for {self._root}") from error
            raise

    def _day(self, day: Day) -> DayWriter:
        found = self._open.get(day)
        if found is not None and found.is_current():
            return found
        self._drop(day)
        while len(self._open) >= _OPEN_MAX:
            self._drop(min(self._open, key=lambda d: self._open[d].used_at_s))
        self._check(day)
        writer = DayWriter(make_folder(self._root, day), self._heap_bytes)
        self._open[day] = writer
        return writer

    def _check(self, day: Day) -> None:
        """Set the day's folder aside when its index cannot be opened for being broken."""
        folder = day.folder(self._root)
        if not folder.is_dir() or DayWriter.is_unfinished(folder):
            return
        try:
            probe(open_index(folder))
        except BaseException as error:
            if not (is_panic(error) or (isinstance(error, ValueError) and is_broken(error))):
                raise
            set_aside(self._root, day, str(error))

    def _close_idle(self) -> None:
        now = self._clock()
        for day, writer in list(self._open.items()):
            if now - writer.used_at_s >= self._idle_s:
                self._drop(day)

    def _drop(self, day: Day) -> None:
        writer = self._open.pop(day, None)
        if writer is not None:
            writer.close()
