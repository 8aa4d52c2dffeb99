"""Of several processes that must not work twice, one is active."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.errors import BusUnavailableError
from bus.port import Bus
from bus.sqlite import SqliteBus
from heliograph import contracts
from ops.active import PATIENCE_S, Active
from tests.oracle.platform_under_test import wait_for


@pytest.fixture
def buses(tmp_path: Path) -> Iterator[list[Bus]]:
    made: list[Bus] = []
    for _ in range(3):
        bus = SqliteBus(tmp_path / "bus.db", session_timeout_s=3.0)
        bus.create_topics({contracts.LOGS_TOPIC: 1})
        made.append(bus)
    yield made


def test_one_is_active_and_another_takes_over(buses: list[Bus]) -> None:
    stops = [threading.Event() for _ in buses]
    them = [
        Active(lambda bus=bus: bus, "rules", f"m{i}", stops[i], time.monotonic)  # type: ignore[misc]
        for i, bus in enumerate(buses)
    ]
    wait_for("one is active", lambda: [a.is_active() for a in them].count(True) == 1, 30.0)
    for _ in range(2):
        active = next(i for i, a in enumerate(them) if a.is_active())
        stops[active].set()
        del them[active], stops[active]
        wait_for("one of the others is", lambda: [a.is_active() for a in them].count(True) == 1, 30.0)
    stops[0].set()


def test_with_the_bus_away_it_works_rather_than_nobody() -> None:
    now_s = [0.0]

    def away() -> Bus:
        raise BusUnavailableError("nobody answers")

    stop = threading.Event()
    active = Active(away, "rules", "m", stop, lambda: now_s[0])
    assert not active.is_active()
    now_s[0] = PATIENCE_S + 1
    wait_for("it is active", active.is_active, 10.0)
    stop.set()
