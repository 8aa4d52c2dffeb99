"""The spool: a bounded queue on disk of sealed batches that the bus cannot take now.

The bytes are described in docs/formats/spool.md.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import SpoolFullError, SpoolUnavailableError
from .message import Message
from .spool_folder import BAD, Held, Owner, SegmentFigures, SegmentFile, figures_of, list_segments, new_segment, own
from .spool_segment import HEADER, UNREADABLE, Contents, encode_frames, scan

BAD_FILES_MAX: Final = 8
"""Damaged segments that are kept for a look."""

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Segment:
    """The oldest batches, to be sent and then reported as done."""

    name: str
    messages: tuple[Message, ...]
    """In the order of their coming, attempts counted up."""
    torn_bytes: int
    is_damaged: bool
    """Whether batches of it may be missing here; its file is then set aside, not removed."""


def inspect(folder: Path) -> list[SegmentFigures]:
    """A look at each segment, oldest first, those set aside (.bad) too; reads everything, changes and locks nothing.

    Under an owner that writes, the newest may seem torn. Raises SpoolUnavailableError when the folder cannot be read.
    """
    try:
        return figures_of(folder)
    except OSError as error:
        raise SpoolUnavailableError(f"the spool {folder} cannot be read: {error}") from error


def _disk_free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Spool:
    """Batches on disk, in order, in segments; the oldest are dropped when there is no room. Safe from any thread.

    One process owns a folder. Making a Spool touches no disk, so that starting up never depends on one.

    A forked child must call `forget` before anything else: it shares the parent's descriptors, and the lock with them.

    Args:
        bytes_max: of all files in the folder, the damaged ones that are kept included.
        segment_bytes: where a segment ends and the next begins; a larger append has a segment of its own.
        free_bytes_min: what others on the disk are left.
        dropped: told which batches are given up and why ("spool_full"), before they are gone. It must not call the spool, which
            is locked, nor wait; what it raises comes out of `append`, and nothing is gone then.
        free_bytes: of the disk that holds the folder.
        time_ns: since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bytes_max: int,
        segment_bytes: int = 4 * 1024 * 1024,
        free_bytes_min: int = 64 * 1024 * 1024,
        dropped: Callable[[Sequence[Message], str], None],
        free_bytes: Callable[[Path], int] = _disk_free_bytes,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._free_bytes_min = free_bytes_min
        self._dropped = dropped
        self._free_bytes = free_bytes
        self._time_ns = time_ns
        self._lock = threading.Lock()
        self._owner: Owner | None = None
        self._tail: SegmentFile | None = None
        self._segments: deque[Held] = deque()
        self._bad: deque[Held] = deque()
        self._next_number = 1
        self.bytes_held = 0
        """On disk, damaged segments that are kept included."""
        self.batches_held = 0
        """In segments that this process wrote or has read."""
        self.segments_unread = 0
        """Segments of earlier processes whose batches nobody has counted yet."""
        self.torn_bytes = 0
        """Cut off from ends of segments, since the start."""
        self.bad_segments = 0
        """Found damaged, since the start."""

    @property
    def oldest_time(self) -> float | None:
        """When the oldest segment was begun, in seconds since the epoch; None when there is none."""
        try:
            return self._segments[0].time_ms / 1000
        except IndexError:
            return None

    def open(self) -> None:
        """Own the folder, which is made if need be. Idempotent. Raises SpoolUnavailableError."""
        with self._lock:
            if self._owner is not None:
                return
            owner = own(self._folder)
            try:
                found = list_segments(self._folder)
            except OSError as error:
                owner.release()
                raise SpoolUnavailableError(f"the spool {self._folder} cannot be read: {error}") from error
            self._take(found)
            self._owner = owner

    def _take(self, found: Sequence[Held]) -> None:
        self._segments = deque(held for held in found if not held.name.endswith(BAD))
        self._bad = deque(held for held in found if held.name.endswith(BAD))
        self._next_number = max((held.number for held in found), default=0) + 1
        self.bytes_held = sum(held.bytes for held in found)
        self.batches_held = 0
        self.segments_unread = len(self._segments)

    def close(self) -> None:
        """Give the folder free; what it holds stays. Idempotent."""
        with self._lock:
            self._seal()
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.release()

    def forget(self) -> None:
        """In a forked child: close its copies of the parent's files. The parent goes on undisturbed."""
        self._lock = threading.Lock()  # a thread that the child does not have may hold the old one
        self.close()

    def append(self, messages: Sequence[Message]) -> None:
        """All or none of the batches; durable on return. Where room is wanting, the oldest segments are dropped for it.

        Raises SpoolFullError when dropping does not help, SpoolUnavailableError when the disk cannot be used, and OversizeError
        for a batch of more than FRAME_BYTES_MAX.
        """
        frames = encode_frames(messages)
        if not frames:
            return
        with self._owned():
            if len(HEADER) + len(frames) > self._bytes_max:
                raise SpoolFullError(len(frames), self.bytes_held, self._bytes_max)
            while not self._try_append(frames, len(messages)):
                if not self._give_way():
                    raise SpoolFullError(len(frames), self.bytes_held, self._bytes_max)

    def oldest(self) -> Segment | None:
        """The oldest batches, with attempts counted up, since they may be on the bus already; the same ones until they are done.

        None when there are none. Raises SpoolUnavailableError.
        """
        with self._owned():
            while self._segments:
                held = self._segments[0]
                found = self._read(held)
                if found.messages:
                    again = tuple(message.again() for message in found.messages)
                    return Segment(held.name, again, found.torn_bytes, found.is_damaged)
                self._retire(held, found.torn_bytes, found.is_damaged)
            return None

    def done(self, segment: Segment) -> None:
        """Its batches are on the bus: remove it. Nothing happens when it was dropped meanwhile.

        Raises SpoolUnavailableError when the file cannot be removed: then it comes again, once, after the next start.
        """
        with self._owned():
            for held in self._segments:
                if held.name == segment.name:
                    self._retire(held, segment.torn_bytes, segment.is_damaged)
                    return

    @contextmanager
    def _owned(self) -> Iterator[None]:
        with self._lock:
            if self._owner is None or self._owner.pid != os.getpid():
                raise SpoolUnavailableError(f"the spool {self._folder} is not open in this process")
            try:
                yield
            except OSError as error:
                raise SpoolUnavailableError(f"the spool {self._folder} cannot be used: {error}") from error

    def _try_append(self, frames: bytes, batches: int) -> bool:
        """False when there is no room."""
        size = len(HEADER) + len(frames)
        if self.bytes_held + size > self._bytes_max or self._free_bytes(self._folder) - size < self._free_bytes_min:
            return False
        try:
            self._write(frames, batches)
        except BaseException as error:  # an interrupt leaves half a frame too
            is_full = isinstance(error, OSError) and error.errno in _DISK_FULL
            self._cut_back(is_full)
            if not is_full:
                raise
            return False
        return True

    def _write(self, frames: bytes, batches: int) -> None:
        if self._tail is not None and self._tail.length + len(frames) > self._segment_bytes:
            self._seal()
        if self._tail is not None:
            held = self._segments[-1]
            grown = self._tail.append(frames)
        else:
            held = new_segment(self._next_number, self._time_ns() // 1_000_000)
            self._next_number += 1
            self._tail = SegmentFile(self._folder / held.name)
            grown = self._tail.append(frames)
            self._segments.append(held)
        held.bytes += grown
        self.bytes_held += grown
        self._count(held, (held.batches or 0) + batches)

    def _count(self, held: Held, batches: int) -> None:
        if held.batches is None:
            self.segments_unread -= 1
        self.batches_held += batches - (held.batches or 0)
        held.batches = batches

    def _cut_back(self, is_full: bool) -> None:
        tail = self._tail
        if tail is None:
            return
        if tail.length == 0:
            self._tail = None
            tail.discard()
        elif not tail.cut_back() or not is_full:
            self._seal()  # a half-written frame must not precede a good one, and a disk that errs gets a fresh file

    def _seal(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            tail.close()

    def _give_way(self) -> bool:
        """Drop the oldest there is, damaged files first; False when there is nothing."""
        if self._bad:
            self._remove(self._bad.popleft())
            return True
        if not self._segments:
            return False
        held = self._segments[0]
        found = self._read(held)
        if found.messages:
            self._dropped(found.messages, "spool_full")
        self._retire(held, found.torn_bytes, found.is_damaged)
        return True

    def _read(self, held: Held) -> Contents:
        """What the segment holds, sealed before if need be; raises OSError when it may be readable another time."""
        if self._tail is not None and held is self._segments[-1]:
            self._seal()
        try:
            # What lies behind the known length was never acknowledged.
            found = scan((self._folder / held.name).read_bytes()[: held.bytes])
        except FileNotFoundError:
            found = UNREADABLE
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            found = UNREADABLE  # one bad sector must not hold up what is behind it
        self._count(held, len(found.messages))
        return found

    def _retire(self, held: Held, torn_bytes: int, is_damaged: bool) -> None:
        # It leaves the queue first: a file that cannot be removed must not be delivered over and over.
        self._segments.remove(held)
        self._count(held, 0)
        self.torn_bytes += torn_bytes
        if is_damaged:
            self.bad_segments += 1
            self._set_aside(held)
        else:
            self._remove(held)

    def _set_aside(self, held: Held) -> None:
        path = self._folder / held.name
        held.name += BAD
        with suppress(FileNotFoundError):  # somebody took it away; as a file that is gone it leaves by and by
            path.rename(self._folder / held.name)
        self._bad.append(held)
        while len(self._bad) > BAD_FILES_MAX:
            self._remove(self._bad.popleft())

    def _remove(self, held: Held) -> None:
        (self._folder / held.name).unlink(missing_ok=True)
        self.bytes_held -= held.bytes
