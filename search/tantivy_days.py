"""Where day indexes live: <root>/<stream>/<UTC day>/; and how a folder leaves: retired, or set aside because it is broken."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from search.port import Stream

STREAMS: Final[tuple[Stream, ...]] = ("logs", "traces")
NANOS_PER_DAY: Final = 86_400_000_000_000
_EPOCH: Final = date(1970, 1, 1)
_RETIRED: Final = ".retired-"
_log = structlog.stdlib.get_logger("search")


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """One index: the documents of a stream whose event time falls on a UTC day."""

    stream: Stream
    date: date

    def folder(self, root: Path) -> Path:
        return root / self.stream / self.date.isoformat()

    @property
    def start_ns(self) -> int:
        return (self.date - _EPOCH).days * NANOS_PER_DAY

    @property
    def end_ns(self) -> int:
        """Exclusive."""
        return self.start_ns + NANOS_PER_DAY


def date_of(time_ns: int) -> date:
    """The UTC day of a time; every signed 64-bit count of nanoseconds has one."""
    return _EPOCH + timedelta(days=time_ns // NANOS_PER_DAY)


def days(root: Path, stream: Stream) -> list[Day]:
    """The days that have a folder, newest first."""
    try:
        names = [folder.name for folder in (root / stream).iterdir()]
    except FileNotFoundError:
        return []
    return sorted((Day(stream, found) for name in names if (found := _date_from(name)) is not None), reverse=True)


def set_aside(root: Path, day: Day, reason: str) -> None:
    """Rename a broken day's folder, so that a fresh one can take its place; a replay from the archive fills it again."""
    folder = day.folder(root)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = folder.with_name(f"{folder.name}.broken-{stamp}")
    folder.rename(aside)
    sync_folder(folder.parent)
    _log.error("day_index_set_aside", folder=str(folder), moved_to=str(aside), reason=reason)


def remove(root: Path, day: Day) -> None:
    """Retire a day: gone at once for readers, whatever happens while its files are unlinked."""
    folder = day.folder(root)
    doomed = folder.with_name(f"{_RETIRED}{folder.name}")
    folder.rename(doomed)
    sync_folder(folder.parent)
    shutil.rmtree(doomed)


def sweep(root: Path) -> None:
    """Unlink what a killed remove() has left."""
    for stream in STREAMS:
        for doomed in (root / stream).glob(f"{_RETIRED}*"):
            shutil.rmtree(doomed)


def make_folder(root: Path, day: Day) -> Path:
    """The day's folder, durable together with those above it."""
    folder = day.folder(root)
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for parent in (folder, folder.parent, root, root.parent):
            sync_folder(parent)
    return folder


def sync_folder(folder: Path) -> None:
    """Make names within a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def has_data(folder: Path) -> bool:
    """Whether there is any file of an index: a creation that was killed has left none."""
    return any(not path.name.startswith(".") for path in list(folder.iterdir()))


def _date_from(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if len(name) == 10 else None
    except ValueError:
        return None
