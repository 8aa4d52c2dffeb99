"""Invariant 8: from an encoded message to a row, and from a row to columns, nothing runs once per sample."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sinks.samples import SampleSink
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

from .metric_log import NOW_MS, MetricLog, layout, writer_schemas

METRIC = [Matcher("__name__", Match.EQUAL, "metric_0")]


def calls_of(act: Callable[[], object]) -> int:
    """Python and C calls, and lines of Python executed."""
    count = 0

    def profile(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    def trace(_frame: FrameType, event: str, _arg: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    sys.setprofile(profile)
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        act()
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return count


def writing(folder: Path, series: int, offsets: bool) -> int:
    blocks = SqliteBlocks(folder)
    sink = SampleSink(blocks, writer_schemas(), "w")
    log = MetricLog()
    of = layout("a", 2, series // 2)
    stamps = [i % 7 for i in range(series)] if offsets else []
    for turn in range(4):
        log.append(of, NOW_MS + turn * 1000, [1.25 * k + turn for k in range(series)], stamps)
    for turn in range(2):
        sink.write(log.cut(turn, turn + 1))
    count = calls_of(lambda: sink.write(log.cut(2, 3)))
    blocks.close()
    return count


def reading(folder: Path, samples: int) -> int:
    blocks = SqliteBlocks(folder)
    sink = SampleSink(blocks, writer_schemas(), "w")
    log = MetricLog()
    for turn in range(samples):
        log.append(layout("a", 2, 20), NOW_MS + turn * 1000, [float(turn + k) for k in range(40)])
    sink.write(log.cut(0, samples))
    reader = TsdbReader(blocks)
    reader.select("default", METRIC, 0, 1 << 50)
    count = calls_of(lambda: reader.select("default", METRIC, 0, 1 << 50))
    blocks.close()
    return count


def test_writing_calls_nothing_per_sample(tmp_path: Path) -> None:
    few, many = (writing(tmp_path / str(n), n, offsets=False) for n in (2000, 8000))
    assert many - few < 300


def test_writing_samples_with_stamps_of_their_own_calls_nothing_per_sample(tmp_path: Path) -> None:
    few, many = (writing(tmp_path / str(n), n, offsets=True) for n in (2000, 8000))
    assert many - few < 300


def test_reading_calls_nothing_per_sample(tmp_path: Path) -> None:
    few, many = (reading(tmp_path / str(n), n) for n in (50, 400))
    assert many - few < 50
