"""Delta temporality made cumulative before the bus: a running total per series, bounded in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from heliograph.points import Point

_ENTRY_BYTES = 400

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Deltas:
    """Totals since the start of this agent. Used by one thread.

    Over the limit the series that was not seen for longest is forgotten; if it comes again it starts at zero, as after a restart,
    which readers know as a counter reset.
    """

    def __init__(self, bytes_max: int = 64 * 1024 * 1024) -> None:
        self._bytes_max = bytes_max
        self._totals: dict[_Key, float] = {}
        self._bytes = 0
        self.forgotten = 0

    def accumulate(self, points: Sequence[Point]) -> list[Point]:
        """The same points with the total up to each of them as value."""
        return [replace(point, value=self._add(point)) for point in points]

    def _add(self, point: Point) -> float:
        key = (point.name, tuple(sorted(point.labels.items())))
        before = self._totals.pop(key, None)
        if before is None:
            self._bytes += _cost(key)
        total = (before or 0.0) + point.value
        self._totals[key] = total
        while self._bytes > self._bytes_max and len(self._totals) > 1:
            oldest = next(iter(self._totals))
            del self._totals[oldest]
            self._bytes -= _cost(oldest)
            self.forgotten += 1
        return total


def _cost(key: _Key) -> int:
    return _ENTRY_BYTES + len(key[0]) + sum(len(k) + len(v) for k, v in key[1])
