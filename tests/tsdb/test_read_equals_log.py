"""Whatever cuts, replays, zombies and odd values: what is read is the log without duplicates, bit for bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.metrics import Layout
from sinks.samples import SampleSink
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

from .metric_log import NOW_MS, MetricLog, bits, from_bits, layout, read_all, samples, writer_schemas

LAYOUTS = (layout("a"), layout("b"), layout("a", 3, 2), layout("c", 1, 5))
ODD = (0.0, -0.0, float("inf"), float("-inf"), 5e-324, -1.5, 1e300, 0.125, 3.0)
NANS = (0x7FF0000000000002, 0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF)
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.sampled_from(NANS).map(from_bits),
    st.integers(0, 10**6).map(float),
    st.floats(width=64),
)
STEPS_MS = st.sampled_from((0, 0, 15_000, 30_000, 1_800_000, 86_400_000, -15_000))


@st.composite
def logs(draw: st.DrawFn) -> MetricLog:
    log = MetricLog()
    now = NOW_MS
    for _ in range(draw(st.integers(1, 12))):
        now += draw(STEPS_MS)
        of: Layout = draw(st.sampled_from(LAYOUTS))
        count = len(of.series)
        values = draw(st.lists(VALUES, min_size=count, max_size=count))
        offsets: list[int] = []
        if draw(st.integers(0, 3)) == 0:
            offsets = draw(st.lists(st.integers(-2_000_000, 2_000_000), min_size=count, max_size=count))
        log.append(of, now, values, offsets, append_time_ms=now)
    return log


CUTS = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12), st.sampled_from(("w1", "w2"))), max_size=6)
LAX = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@LAX
@given(logs(), CUTS)
def test_read_all_is_the_log_without_duplicates(log: MetricLog, zombies: list[tuple[int, int, str]]) -> None:
    end = len(log.records)
    with tempfile.TemporaryDirectory() as folder:
        blocks = SqliteBlocks(Path(folder))
        sinks = {writer: SampleSink(blocks, writer_schemas(), writer) for writer in ("w1", "w2")}
        reader = TsdbReader(blocks)
        for first, size, writer in [*zombies, (0, end, "w1")]:
            first = min(first, end - 1)
            written = sinks[writer].write(log.cut(first, min(first + size, end)))
            assert not written.faults
        assert read_all(reader) == log.expected
        blocks.close()


@LAX
@given(logs(), st.integers(-40, 40), st.integers(0, 200), st.sampled_from(("metric_0", "metric_2")))
def test_a_range_of_one_metric_holds_its_samples_only(log: MetricLog, start: int, length: int, metric: str) -> None:
    start_ms = NOW_MS + start * 15_000
    end_ms = start_ms + length * 15_000
    with tempfile.TemporaryDirectory() as folder:
        blocks = SqliteBlocks(Path(folder))
        sink = SampleSink(blocks, writer_schemas(), "w")
        for at in range(len(log.records)):
            sink.write(log.cut(at, at + 1))
        found = samples(
            TsdbReader(blocks).select("default", [Matcher("__name__", Match.EQUAL, metric)], start_ms, end_ms)
        )
        blocks.close()
    assert found == {
        (labels, stamp): value
        for (labels, stamp), value in log.expected.items()
        if ("__name__", metric) in labels and start_ms <= stamp <= end_ms
    }


def test_of_equal_stamps_the_greatest_is_read_whatever_the_order(tmp_path: Path) -> None:
    one = layout("x", 1, 1)
    for turn, values in enumerate(
        (
            [1.0, -0.0, from_bits(NANS[0])],
            [from_bits(NANS[1]), 2.0],
            [0.0, -0.0],
            [from_bits(NANS[0]), from_bits(NANS[1])],
        )
    ):
        log = MetricLog()
        for value in values:
            log.append(one, NOW_MS, [value])
        expected = log.expected
        for backwards in (False, True):
            blocks = SqliteBlocks(tmp_path / f"{turn}{backwards}")
            sink = SampleSink(blocks, writer_schemas(), "w")
            order = range(len(values))
            for at in reversed(order) if backwards else order:
                sink.write(log.cut(at, at + 1))
            assert read_all(TsdbReader(blocks)) == expected
            blocks.close()
    assert bits(-0.0) != bits(0.0)
