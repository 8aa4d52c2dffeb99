"""Which files are followed: globs, rotation by rename, files that are held until they are spent."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collectors.file_journal import Position
from collectors.file_tail import Tail, generation, is_at

GRACE_RENAMED_S = 30.0
"""A file whose path leads elsewhere is held until nothing was written for so long: its writer may not know yet."""
GRACE_DELETED_S = 5.0
"""The same for a file without a name, which takes up disk as long as it is held."""
FILES_MAX = 1000
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
_CLOCK_GRAIN_NS = 20_000_000  # files are stamped by a clock that ticks every few milliseconds


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """Files to follow."""

    glob: str
    """With ** for any number of directories."""
    service: str = ""
    """service.name; empty means the file's name without its ending."""
    start: Literal["beginning", "end"] = "beginning"
    """Where to start in files that are there at the first start and were never read."""


class Follower:
    """The open files. A file is who it is by device, inode and fingerprint, not by name. Used by one thread."""

    def __init__(self, follow: Sequence[FollowConfig], known: Sequence[Position], files_max: int = FILES_MAX) -> None:
        self._follow = follow
        self._known: dict[tuple[int, int], Position] = {(p.device, p.inode): p for p in known}
        self._files_max = files_max
        self._tails: dict[tuple[int, int], Tail] = {}
        self._is_first_look = True
        self._looked_ns = 0
        self.refused: dict[str, str] = {}
        """Paths that a glob names and that cannot be followed, with the reason."""
        self.closed_truncations = 0

    @property
    def tails(self) -> Mapping[tuple[int, int], Tail]:
        return self._tails

    def look(self, now_s: float, wall_ns: int) -> list[Tail]:
        """Expand the globs and open what is new; returns those that must be remembered before they are read."""
        refused: dict[str, str] = {}
        at_end: list[Tail] = []
        for path, config in self._named():
            try:
                key = _identity(path)
                if key is None or key in self._tails:
                    continue
                tail = self._open(path, config, key, now_s, from_end=self._is_first_look and config.start == "end")
            except OSError as error:
                refused[path] = error.strerror or str(error)
                continue
            if tail is None:
                refused[path] = f"more than {self._files_max} files are followed already"
            elif self._is_first_look and config.start == "end":
                at_end.append(tail)
        self.refused = refused
        self._is_first_look = False
        self.check(now_s, wall_ns)
        return at_end

    def check(self, now_s: float, wall_ns: int) -> None:
        """See whether paths lead to other files now, open those at once, and close what is spent."""
        since_ns, self._looked_ns = self._looked_ns, wall_ns
        for key, tail in list(self._tails.items()):
            try:
                at_path = _identity(tail.path)
            except OSError:
                at_path = None
            if at_path == key:
                tail.orphan_since_s = None
                continue
            if tail.orphan_since_s is None:
                tail.orphan_since_s = now_s
                self._open_successors(tail, since_ns - _CLOCK_GRAIN_NS, now_s)
            if tail.is_spent(now_s, GRACE_RENAMED_S, GRACE_DELETED_S):
                self._forget(key, tail)

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()

    def _named(self) -> Iterator[tuple[str, FollowConfig]]:
        seen: set[str] = set()
        for config in self._follow:
            for path in sorted(glob.glob(config.glob, recursive=True)):  # noqa: PTH207 - a pattern may be absolute
                whole = os.path.abspath(path)  # noqa: PTH100 - pathlib would be slower and keeps ".."
                if whole not in seen and not whole.endswith(_COMPRESSED):
                    seen.add(whole)
                    yield whole, config

    def _open(
        self, path: str, config: FollowConfig, key: tuple[int, int], now_s: float, from_end: bool = False
    ) -> Tail | None:
        if len(self._tails) >= self._files_max:
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            key = (found.st_dev, found.st_ino)  # the path may lead elsewhere since it was looked at
            if not stat.S_ISREG(found.st_mode) or key in self._tails:
                os.close(fd)
                return self._tails.get(key)
            offset = self._start(fd, path, found.st_size if from_end else 0)
            tail = Tail(fd, path, config.service or Path(path).stem, offset, now_s)
        except BaseException:
            os.close(fd)
            raise
        self._tails[key] = tail
        return tail

    def _start(self, fd: int, path: str, otherwise: int) -> int:
        found = os.fstat(fd)
        known = self._known.get((found.st_dev, found.st_ino))
        if known is not None:
            return known.offset if known.generation == generation(fd) and is_at(fd, known) else 0
        for position in self._originals(path):
            if position.offset and is_at(fd, position):
                return position.offset
        return otherwise

    def _originals(self, path: str) -> Iterator[Position]:
        """Positions in files that this path may be a rotation's copy of: what was read there need not be read again."""
        for position in self._known.values():
            if path.startswith((position.path + ".", position.path + "-")):
                yield position
        for tail in self._tails.values():
            if path.startswith((tail.path + ".", tail.path + "-")):
                yield tail.position(0)
                if tail.truncated_from is not None:
                    yield tail.truncated_from

    def _open_successors(self, tail: Tail, since_ns: int, now_s: float) -> None:
        """The file that now has the path; and files that had it for a moment only, and were renamed before we saw them."""
        config = FollowConfig(tail.path, tail.service)
        folder, name = os.path.split(tail.path)
        candidates = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(name) or entry.name.endswith(_COMPRESSED):
                        continue
                    if entry.name == name or (
                        entry.name[len(name)] in ".-" and entry.stat().st_mtime_ns >= since_ns and entry.is_file()
                    ):
                        candidates.append((entry.stat().st_mtime_ns, entry.path))
        except OSError:
            return
        for _, path in sorted(candidates):
            try:
                key = _identity(path)
                if key is None or key in self._tails or (path != tail.path and key in self._known):
                    continue
                opened = self._open(path, config, key, now_s)
            except OSError:
                continue
            if opened is not None:
                opened.path = tail.path

    def _forget(self, key: tuple[int, int], tail: Tail) -> None:
        self._known[key] = tail.position(0)
        self.closed_truncations += tail.truncations
        tail.close()
        del self._tails[key]


def _identity(path: str) -> tuple[int, int] | None:
    found = os.stat(path)  # noqa: PTH116 - paths are strings here, a stat is all it takes
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
