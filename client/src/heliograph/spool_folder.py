"""The spool's folder: its lock, the segments in it, and the file that is appended to (docs/formats/spool.md)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import SpoolTakenError, SpoolUnavailableError
from .spool_segment import HEADER, scan

BAD: Final = ".bad"
"""Added to the name of a damaged segment."""

_NAME: Final = re.compile(r"(\d{12,})-(\d{13,})\.seg(\.bad)?")


@dataclass(frozen=True, slots=True)
class Owner:
    """The lock on a folder."""

    descriptor: int
    pid: int

    def release(self) -> None:
        """Give it free."""
        with contextlib.suppress(OSError):  # the descriptor is closed in any case
            # A forked child that only closes its copy leaves the lock to its parent.
            if self.pid == os.getpid():
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def own(folder: Path) -> Owner:
    """Make the folder if need be, and be the one process that owns it; raises SpoolUnavailableError."""
    try:
        _make(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpoolUnavailableError(f"the spool {folder} cannot be made: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise SpoolTakenError(f"another process uses the spool {folder}: give this one its own") from error
        raise SpoolUnavailableError(f"the spool {folder} cannot be locked: {error}") from error
    return Owner(descriptor, os.getpid())


def _make(folder: Path) -> None:
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in made:
        sync_folder(path.parent)


@dataclass(slots=True)
class Held:
    """A segment as it is known without being read."""

    name: str
    number: int
    time_ms: int
    """When its first batch came; milliseconds since the epoch."""
    bytes: int
    batches: int | None = None
    """None until it is read."""


def new_segment(number: int, time_ms: int) -> Held:
    """A segment to be begun."""
    return Held(f"{number:012d}-{max(0, time_ms):013d}.seg", number, time_ms, 0, 0)


def list_segments(folder: Path) -> list[Held]:
    """The segments of a folder, oldest first, the ones set aside too; raises OSError."""
    found: list[Held] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name:
                with contextlib.suppress(FileNotFoundError):  # its owner may be removing it just now
                    found.append(Held(entry.name, int(name[1]), int(name[2]), entry.stat().st_size))
    return sorted(found, key=lambda held: held.number)


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """What a look at a segment finds."""

    name: str
    bytes: int
    batches: int
    """Those that can be read."""
    torn_bytes: int
    bad_frames: int
    is_headed: bool

    @property
    def time_ms(self) -> int:
        """When its first batch came; milliseconds since the epoch."""
        return int(self.name.partition("-")[2].partition(".")[0])

    @property
    def is_damaged(self) -> bool:
        """Whether there is more wrong than a torn end, or was when it was sent."""
        return self.bad_frames > 0 or not self.is_headed or self.name.endswith(BAD)


def figures_of(folder: Path) -> list[SegmentFigures]:
    """Of each segment, oldest first; reads them all. Raises OSError."""
    figures: list[SegmentFigures] = []
    for held in list_segments(folder):
        with contextlib.suppress(FileNotFoundError):
            data = (folder / held.name).read_bytes()
            found = scan(data)
            figures.append(
                SegmentFigures(
                    held.name, len(data), len(found.messages), found.torn_bytes, found.bad_frames, found.is_headed
                )
            )
    return figures


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SegmentFile:
    """The file that is appended to. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        """Makes the file, durably; raises FileExistsError when it is there already."""
        self._path = path
        self.length = 0
        """Bytes that are durable and whole."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            sync_folder(path.parent)
        except OSError:
            self.discard()
            raise

    def append(self, frames: bytes) -> int:
        """Write the frames, the header before the first; durable on return. Returns the bytes by which the file grew.

        When it raises, part of them may be in the file: see `cut_back`.
        """
        data = memoryview(frames if self.length else HEADER + frames)
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self.length + written)
        _sync_data(self._descriptor)
        self.length += written
        return written

    def cut_back(self) -> bool:
        """Remove what a failed append left; False when that fails, and then nothing may be appended any more."""
        try:
            os.ftruncate(self._descriptor, self.length)
        except OSError:
            return False
        return True

    def discard(self) -> None:
        """Close and remove it."""
        self.close()
        with contextlib.suppress(OSError):  # a file without a whole frame harms nobody
            self._path.unlink()

    def close(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # what counts was synced before
                os.close(descriptor)


def _sync_data(descriptor: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:  # macOS
        os.fsync(descriptor)
