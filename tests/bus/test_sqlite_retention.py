"""Time, retention and the size of the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bus.errors import OffsetGapError
from bus.port import Listener
from bus.sqlite import SqliteBus
from heliograph.message import Message

_HOUR_MS = 3_600_000
_SILENT = Listener(lambda _: None, lambda _: None)


class _Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000 * _HOUR_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def bus(tmp_path: Path, clock: _Clock) -> SqliteBus:
    bus = SqliteBus(tmp_path / "bus.db", clock_ms=clock, retention_ms={"short": _HOUR_MS, "long": 10 * _HOUR_MS})
    bus.create_topics({"short": 1, "long": 1, "unnamed": 1})
    return bus


def _say(bus: SqliteBus, topic: str, text: str = "x") -> int:
    return bus.produce([Message(topic, 0, (), text.encode())])[0]


def test_append_time_stays_when_the_clock_is_set_back(bus: SqliteBus, clock: _Clock) -> None:
    _say(bus, "short")
    before = clock.now_ms
    clock.now_ms -= _HOUR_MS
    _say(bus, "short")
    clock.now_ms = before + 5
    _say(bus, "short")
    consumer = bus.consumer("g", ["short"], "m", _SILENT)
    assert [r.append_time_ms for r in consumer.poll(1.0, 1000)] == [before, before, before + 5]


def test_each_topic_keeps_its_messages_for_its_retention(bus: SqliteBus, clock: _Clock) -> None:
    for topic in ("short", "long", "unnamed"):
        _say(bus, topic, "old")
    clock.now_ms += 2 * _HOUR_MS
    for topic in ("short", "long", "unnamed"):
        _say(bus, topic, "new")
    assert bus.trim(clock.now_ms) == 1
    consumer = bus.consumer("g", ["long", "unnamed"], "m", _SILENT)
    assert sorted(r.body for r in consumer.poll(1.0, 1000)) == [b"new", b"new", b"old", b"old"]


def test_a_topic_that_fell_silent_expires_while_others_go_on(bus: SqliteBus, clock: _Clock) -> None:
    _say(bus, "short")
    clock.now_ms += 2 * _HOUR_MS
    assert bus.trim(clock.now_ms) == 0
    _say(bus, "long")
    assert bus.trim(clock.now_ms) == 1


def test_a_group_left_behind_learns_of_the_gap(bus: SqliteBus, clock: _Clock) -> None:
    _say(bus, "short", "old")
    clock.now_ms += 2 * _HOUR_MS
    _say(bus, "short", "new")
    bus.trim(clock.now_ms)
    consumer = bus.consumer("g", ["short"], "m", _SILENT)
    with pytest.raises(OffsetGapError) as caught:
        consumer.poll(1.0, 1000)
    assert (caught.value.expected, caught.value.log_start) == (0, 1)


def test_a_clock_far_in_the_future_drops_nothing_newer_than_the_newest_message_allows(
    bus: SqliteBus, clock: _Clock
) -> None:
    _say(bus, "short")
    clock.now_ms += _HOUR_MS // 2
    _say(bus, "short")
    assert bus.trim(clock.now_ms + 10**12) == 0


def test_the_file_shrinks_after_a_trim(tmp_path: Path, bus: SqliteBus, clock: _Clock) -> None:
    noise = random.Random(7)
    for _ in range(8):
        bus.produce([Message("short", 0, (), noise.randbytes(1_000_000)) for _ in range(10)])
    clock.now_ms += 2 * _HOUR_MS
    _say(bus, "short")
    assert bus.trim(clock.now_ms) == 80
    bus.close()
    assert (tmp_path / "bus.db").stat().st_size < 48_000_000
