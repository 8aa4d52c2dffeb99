"""One open log file: what stands after our offset, and whether it is still the file it was."""

from __future__ import annotations

import fcntl
import hashlib
import os
from array import array

from collectors.file_journal import Position
from collectors.file_lines import Cut, cut_lines
from collectors.file_records import batch_bytes

_HEAD_BYTES = 1024
_TAIL_BYTES = 64
_IDLE_S = 1.0
_FS_IOC_GETVERSION = 0x80087601


class Tail:
    """Reads from `offset` on; notices truncation by size and by the bytes before the offset. Used by one thread.

    `path` stays what it was when the file was found: a rotated file's last lines belong to its old name.
    """

    def __init__(self, fd: int, path: str, service: str, offset: int, now_s: float) -> None:
        stat = os.fstat(fd)
        self._fd = fd
        self.path = path
        self.service = service
        self.device = stat.st_dev
        self.inode = stat.st_ino
        self._generation = generation(fd)
        self.offset = offset
        self.truncations = 0
        self.orphan_since_s: float | None = None
        """When the path was first seen to lead elsewhere, or nowhere."""
        self.truncated_from: Position | None = None
        """The last position before the last truncation: a copy that the rotation made of the file holds it."""
        self._last_position: Position | None = None
        self._bytes_max, self._line_cost = batch_bytes(path)
        self._before = self._pread(max(0, offset - _TAIL_BYTES), min(offset, _TAIL_BYTES))
        self._searched = 0
        self._size = -1
        self._mtime_ns = -1
        self._changed_s = now_s
        self._must_check = True

    def read(self, now_s: float) -> Cut | None:
        """The next lines, at most a batch of them, or none; moves `offset` behind them. A last line without newline counts
        once the file has rested for a second."""
        stat = os.fstat(self._fd)
        if (stat.st_size, stat.st_mtime_ns) != (self._size, self._mtime_ns):
            self._size, self._mtime_ns = stat.st_size, stat.st_mtime_ns
            self._changed_s = now_s
            self._must_check = True
        if self._must_check and not self._is_same():
            self._restart()
        self._must_check = False
        if self._size == self.offset:
            return None
        flush = now_s - self._changed_s >= _IDLE_S
        try:
            cut = cut_lines(
                self._read_at,
                self.offset,
                self._size,
                flush=flush,
                bytes_max=self._bytes_max,
                line_cost=self._line_cost,
                searched=self._searched,
            )
        except _TruncatedError:
            self._restart()
            return None
        self._searched = cut.searched
        if cut.next == self.offset:
            return None
        self._move(cut.next)
        return cut

    def is_spent(self, now_s: float, grace_renamed_s: float, grace_deleted_s: float) -> bool:
        """Whether nothing will come any more: the path has led elsewhere and nothing was written for the grace time."""
        if self.orphan_since_s is None:
            return False
        stat = os.fstat(self._fd)
        rested_s = now_s - max(self._changed_s, self.orphan_since_s)
        return rested_s >= (grace_renamed_s if stat.st_nlink else grace_deleted_s) and self.offset >= stat.st_size

    def position(self, seen_s: int) -> Position:
        """For the journal."""
        mark = fingerprint(self._fd, self.offset)
        self._last_position = Position(self.device, self.inode, self._generation, self.path, self.offset, mark, seen_s)
        return self._last_position

    def close(self) -> None:
        os.close(self._fd)

    def _move(self, offset: int) -> None:
        self.offset = offset
        self._searched = offset
        self._before = self._pread(max(0, offset - _TAIL_BYTES), min(offset, _TAIL_BYTES))

    def _restart(self) -> None:
        self.truncations += 1
        self.truncated_from = self._last_position
        self._move(0)
        self._must_check = True

    def _is_same(self) -> bool:
        size = len(self._before)
        return self._size >= self.offset and self._pread(self.offset - size, size) == self._before

    def _read_at(self, offset: int, size: int) -> bytes:
        if offset != self.offset:
            return self._pread(offset, size)
        # One read for both, so that a truncation between check and read cannot slip in other bytes.
        before = len(self._before)
        data = self._pread(offset - before, before + size)
        if data[:before] != self._before:
            raise _TruncatedError
        return data[before:]

    def _pread(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset) if size else b""


class _TruncatedError(Exception):
    pass


def generation(fd: int) -> int:
    """What tells two files apart that had the same inode one after the other; 0 where the file system does not say."""
    buffer = array("l", [0])
    try:
        fcntl.ioctl(fd, _FS_IOC_GETVERSION, buffer)
    except OSError:
        return 0
    return buffer[0] & 0xFFFFFFFF


def fingerprint(fd: int, offset: int) -> bytes:
    """32 bytes over the head of a file and what stands before an offset; empty at offset 0."""
    if offset == 0:
        return b""
    head = os.pread(fd, min(_HEAD_BYTES, offset), 0)
    before = os.pread(fd, min(_TAIL_BYTES, offset), max(0, offset - _TAIL_BYTES))
    return hashlib.sha256(head + before).digest()


def is_at(fd: int, position: Position) -> bool:
    """Whether the open file is the one of the position, and still holds what was read of it."""
    return os.fstat(fd).st_size >= position.offset and fingerprint(fd, position.offset) == position.fingerprint
