"""Something that fails for the time being: why, and when to try again (exponential back-off with full jitter)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 0.2
_MAX_S: Final = 10.0


class Trouble:
    """`clock` gives seconds, `jitter` floats of [0, 1)."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._retry_at_s = 0.0
        self.reason = ""
        """A sentence; empty while all is well."""

    @property
    def wait_s(self) -> float:
        """Seconds until the next try; 0 when it may be made now."""
        return max(0.0, self._retry_at_s - self._clock()) if self.reason else 0.0

    def failed(self, reason: str) -> bool:
        """One more failure; whether its reason is news."""
        news = reason != self.reason
        self.reason = reason
        ceiling_s = min(_MAX_S, _FIRST_S * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._retry_at_s = self._clock() + ceiling_s * self._jitter()
        return news

    def over(self) -> None:
        """A success."""
        self._failures = 0
        self.reason = ""
