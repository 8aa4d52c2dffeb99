"""The bus' contract on the SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.port import Bus
from bus.sqlite import SqliteBus
from tests.contracts.bus_adapter import BusAdapter
from tests.contracts.bus_group_suite import BusGroupSuite
from tests.contracts.bus_suite import BusConsumerSuite, BusLogSuite

_SESSION_TIMEOUT_S = 1.0


class SqliteAdapter:
    """A fresh file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[Bus] = []
        self.spec = f"sqlite|{path}|{_SESSION_TIMEOUT_S}"

    def open(self) -> Bus:
        self._opened.append(SqliteBus(self._path, session_timeout_s=_SESSION_TIMEOUT_S))
        return self._opened[-1]

    def forget_all(self, topic: str) -> None:
        bus = SqliteBus(self._path, retention_ms={topic: -1})
        bus.trim(now_ms=2**60)
        bus.close()

    def close(self) -> None:
        for bus in self._opened:
            bus.close()


class _OnSqlite:
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[BusAdapter]:
        made = SqliteAdapter(tmp_path / "bus" / "bus.db")
        yield made
        made.close()


class TestSqliteLog(_OnSqlite, BusLogSuite):
    pass


class TestSqliteConsumer(_OnSqlite, BusConsumerSuite):
    pass


class TestSqliteGroup(_OnSqlite, BusGroupSuite):
    pass
