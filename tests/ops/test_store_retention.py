"""Retention of stores and bus, with clocks and stores that are handed in."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import structlog

from bus.errors import BusUnavailableError
from bus.port import Record, TopicPartition
from heliograph import contracts
from ops import logs
from ops.bus_retention import trim_once
from ops.store_retention import INTERVAL_S, Retiring, first_day_kept, retire_blocks
from sinks.memory import MemorySink
from sinks.port import Cut, CutLimits, Range
from tsdb.sqlite import SqliteBlocks

LIMITS = CutLimits(1.0, 1.0, 1024)
DAY_S = 86_400.0
NOW_S = 20_000 * DAY_S
TODAY = date(1970, 1, 1) + timedelta(days=20_000)


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def cut(append_time_s: float) -> Cut:
    record = Record(contracts.LOGS_TOPIC, 0, 0, round(append_time_s * 1000), (), b"")
    return Cut((Range(record.where, "log", 0, 1),), [record], {record.where: 0})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retired() -> list[date]:
    return []


@pytest.fixture
def sink(clock: Clock, retired: list[date]) -> Retiring:
    return Retiring(MemorySink(LIMITS), retired.append, 7 * DAY_S, clock)


def test_the_first_write_retires_what_is_too_old(sink: Retiring, retired: list[date]) -> None:
    sink.write(cut(NOW_S))
    assert retired == [TODAY - timedelta(days=7)]


def test_it_retires_once_an_hour(sink: Retiring, retired: list[date], clock: Clock) -> None:
    sink.write(cut(NOW_S))
    sink.write(cut(NOW_S))
    assert len(retired) == 1
    clock.now_s += INTERVAL_S
    sink.write(cut(clock.now_s))
    assert len(retired) == 2


def test_a_clock_that_runs_ahead_removes_nothing_early(sink: Retiring, retired: list[date], clock: Clock) -> None:
    clock.now_s = NOW_S + 400 * DAY_S
    sink.write(cut(NOW_S))
    assert retired == [TODAY - timedelta(days=7)]


def test_a_message_from_the_future_removes_nothing_early(sink: Retiring, retired: list[date]) -> None:
    sink.write(cut(NOW_S + 400 * DAY_S))
    assert retired == [TODAY - timedelta(days=7)]


def test_the_sink_inside_does_the_work(clock: Clock) -> None:
    inner = MemorySink(LIMITS)
    outer = Retiring(inner, lambda day: None, DAY_S, clock)
    assert (outer.name, outer.topics, outer.limits) == (inner.name, inner.topics, inner.limits)
    where = TopicPartition(contracts.LOGS_TOPIC, 0)
    assert outer.resume("log", where) == inner.resume("log", where)


def test_the_day_of_the_oldest_moment_is_kept() -> None:
    assert first_day_kept(NOW_S + 1, DAY_S) == TODAY - timedelta(days=1)


def test_old_day_files_go_two_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[int] = []
    blocks = SqliteBlocks(tmp_path)
    monkeypatch.setattr(SqliteBlocks, "days", lambda self: [19_999, 20_000, 19_990, 19_991, 19_992])
    monkeypatch.setattr(SqliteBlocks, "retire", lambda self, day: gone.append(day))
    retire_blocks(blocks)(TODAY)
    blocks.close()
    assert gone == [19_990, 19_991]


class Log:
    def __init__(self, error: Exception | None = None) -> None:
        self.asked_ms: list[int] = []
        self._error = error

    def trim(self, now_ms: int) -> int:
        self.asked_ms.append(now_ms)
        if self._error:
            raise self._error
        return 3


@pytest.fixture
def logged() -> Iterator[tuple[structlog.stdlib.BoundLogger, io.StringIO]]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    yield logs.configure("agent", "debug", "json", stream), stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_the_bus_is_trimmed_and_a_bus_that_is_away_is_only_logged(
    logged: tuple[structlog.stdlib.BoundLogger, io.StringIO],
) -> None:
    log, stream = logged
    trim_once(Log(), log)
    trim_once(Log(BusUnavailableError("the disk is full")), log)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["msg"], line["level"]) for line in lines] == [
        ("bus trimmed", "debug"),
        ("bus not trimmed", "warning"),
    ]
