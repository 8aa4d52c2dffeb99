"""Whether the query service's stores can be read, asked of the stores themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from search.port import SearchError
from tsdb.errors import TsdbError

KEEP_S: Final = 2.0


class StoreChecks:
    """Runs one cheap read per store, at most every KEEP_S; safe from several threads, which may then ask twice."""

    def __init__(self, reads: Mapping[str, Callable[[], object]], clock_s: Callable[[], float]) -> None:
        self._reads = reads
        self._clock_s = clock_s
        self._asked_at_s = -KEEP_S
        self._reasons: dict[str, str] = {}

    def reasons(self) -> dict[str, str]:
        """Why a store cannot be read, by name; empty when all can."""
        now_s = self._clock_s()
        if now_s - self._asked_at_s >= KEEP_S:
            self._reasons = {name: why for name, read in self._reads.items() if (why := _failure(read))}
            self._asked_at_s = now_s
        return self._reasons


def _failure(read: Callable[[], object]) -> str:
    try:
        read()
    except (SearchError, TsdbError, OSError) as error:
        return str(error)
    return ""
