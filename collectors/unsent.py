"""Batches of requests that were answered 503: if the same body comes again, the same batches go, not new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from collectors.taken import Taken
from heliograph.message import Message

KEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    taken: Taken
    size_bytes: int
    until_s: float


class Unsent:
    """By digest of the body, bounded in bytes and time. What is given up is handed to `dropped`. Used by one thread.

    The bus may hold these batches already, when only its answer was lost; and delta points in them are counted in the totals.
    """

    def __init__(self, dropped: Callable[[Sequence[Message]], None], bytes_max: int = 32 * 1024 * 1024) -> None:
        self._dropped = dropped
        self._bytes_max = bytes_max
        self._kept: dict[bytes, _Kept] = {}
        self._bytes = 0

    def take(self, digest: bytes, now_s: float) -> Taken | None:
        """The batches of an earlier try, their attempt counted up, which are the caller's again; none if there was none."""
        self._trim(now_s)
        kept = self._pop(digest)
        return None if kept is None else replace(kept.taken, messages=tuple(m.again() for m in kept.taken.messages))

    def keep(self, digest: bytes, taken: Taken, now_s: float) -> None:
        """Keep for the sender's next try."""
        kept = _Kept(taken, sum(m.size_bytes for m in taken.messages), now_s + KEEP_S)
        self._kept[digest] = kept
        self._bytes += kept.size_bytes
        self._trim(now_s)

    def close(self) -> None:
        """Give everything up."""
        self._trim(float("inf"))

    def _trim(self, now_s: float) -> None:
        for digest, kept in list(self._kept.items()):
            if kept.until_s > now_s and self._bytes <= self._bytes_max:
                return  # the rest is younger
            self._pop(digest)
            self._dropped(kept.taken.messages)

    def _pop(self, digest: bytes) -> _Kept | None:
        kept = self._kept.pop(digest, None)
        if kept is not None:
            self._bytes -= kept.size_bytes
        return kept
