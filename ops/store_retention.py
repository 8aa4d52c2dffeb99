"""A sink that also retires days past retention, between writes and in the writing thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bus.port import TopicPartition
from sinks.port import Cut, Sink, Written

if TYPE_CHECKING:
    from tsdb.port import AuditedBlockStore

INTERVAL_S: Final = 3600.0
DAYS_PER_RUN_MAX: Final = 2
"""A clock that is wrong can cost no more than this in one run (PROTOCOLS §7)."""

Retire = Callable[[date], object]
"""Removes the days before the date, or the oldest of them; raises what the store raises."""


class Retiring:
    """The sink inside; every INTERVAL_S a write is followed by a retirement.

    How late it is comes from whichever is earlier, our clock or the newest message written, so that neither alone removes anything.
    """

    def __init__(
        self,
        sink: Sink,
        retire: Retire,
        retention_s: float,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._retire = retire
        self._retention_s = retention_s
        self._clock_s = clock_s
        self._due_s = 0.0
        self.name = sink.name
        self.topics = sink.topics
        self.limits = sink.limits

    def resume(self, log_id: str, where: TopicPartition) -> int | None:
        """As the sink inside."""
        return self._sink.resume(log_id, where)

    def write(self, cut: Cut) -> Written:
        """As the sink inside."""
        written = self._sink.write(cut)
        now_s = self._clock_s()
        if cut.records and now_s >= self._due_s:
            self._due_s = now_s + INTERVAL_S
            newest_s = max(record.append_time_ms for record in cut.records) / 1000
            self._retire(first_day_kept(min(now_s, newest_s), self._retention_s))
        return written

    def close(self) -> None:
        """As the sink inside."""
        self._sink.close()


def first_day_kept(now_s: float, retention_s: float) -> date:
    """The day that holds the oldest moment within retention."""
    return (datetime.fromtimestamp(now_s, UTC) - timedelta(seconds=retention_s)).date()


def retire_blocks(blocks: AuditedBlockStore) -> Retire:
    """Retirement of days of the time-series store."""

    def retire(before: date) -> None:
        limit = (before - date(1970, 1, 1)).days
        for day in sorted(day for day in blocks.days() if day < limit)[:DAYS_PER_RUN_MAX]:
            blocks.retire(day)

    return retire
