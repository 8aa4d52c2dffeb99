"""Which days hold something, and which are retired: two small tables, read again after a bounded time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from .cassandra_connect import QUORUM, SERIAL
from .cassandra_known import Known
from .cassandra_session import CassandraSession
from .errors import StoreUnavailableError
from .port import RetiredDayError

_LOG = logging.getLogger(__name__)
_DAYS: Final = "SELECT day FROM days WHERE space = ?"
_PUT: Final = "INSERT INTO days (space, day) VALUES (?, ?)"
_RETIRED: Final = "SELECT day FROM retired WHERE space = ?"
_RETIRE: Final = "INSERT INTO retired (space, day) VALUES (?, ?) IF NOT EXISTS"
_TRIES: Final = 5


class Days:
    """The days of one space. A day that another process retires is refused here after `recheck_s` at the latest."""

    def __init__(
        self, session: CassandraSession, space: str, known: Known, recheck_s: float, clock: Callable[[], float]
    ) -> None:
        self._session = session
        self._space = space
        self._known = known
        self._recheck_s = recheck_s
        self._clock = clock
        self._lock = threading.Lock()
        self._retired: frozenset[int] = frozenset()
        self._read_at: float | None = None

    def held(self) -> list[int]:
        """Days that hold something, sorted, as of now."""
        return sorted(self._stored() - self._read_retired())

    def is_retired(self, day: int) -> bool:
        """As of `recheck_s` ago at the earliest."""
        if day in self._retired:
            return True
        with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= self._recheck_s:
                self._read_again()
        return day in self._retired

    def admit(self, day: int) -> None:
        """Before anything is written. Raises RetiredDayError."""
        if self.is_retired(day):
            raise RetiredDayError(day)

    def put(self, day: int) -> None:
        """The day holds something from now on."""
        if day not in self._known.days:
            self._session.write(_PUT, [((self._space, day), 100)], "noting a day")
            self._known.days.add(day)

    def retire(self, day: int) -> None:
        """Mark the day for ever. Idempotent."""
        for _ in range(_TRIES):
            if self._session.change([(_RETIRE, (self._space, day))], "retiring a day") is not None:
                break
            if day in self._read_retired(SERIAL):
                break
        else:
            raise StoreUnavailableError(f"day {day} could not be marked as retired: Cassandra did not answer in time")
        with self._lock:
            self._retired |= {day}

    def _read_again(self) -> None:
        now = self._clock()
        retired = self._read_retired()
        lost = self._known.days - self._stored()
        if lost:
            _LOG.warning(
                "Cassandra does not hold day %d any more: the keyspace was emptied, everything is given again",
                min(lost),
            )
            self._known.forget()
        self._retired |= retired
        self._read_at = now

    def _stored(self) -> frozenset[int]:
        return frozenset(day for (day,) in self._session.read_one(_DAYS, (self._space,), "reading the days"))

    def _read_retired(self, level: object = QUORUM) -> frozenset[int]:
        rows = self._session.read_one(_RETIRED, (self._space,), "reading the retired days", level)
        return frozenset(day for (day,) in rows)
