"""The sink of the time-series store: faults are the record's, failures are the store's, and nothing is stored twice or half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from bus.port import Record, TopicPartition
from heliograph import contracts
from heliograph.metrics import Layout
from sinks.port import Cut, Range, StoreUnavailableError
from sinks.samples import SampleSink
from tests.tsdb.metric_log import DAY_MS, NOW_MS, MetricLog, layout, read_all, writer_schemas
from tsdb.errors import RowTooLargeError
from tsdb.errors import StoreUnavailableError as BlocksUnavailableError
from tsdb.port import DayFlush, FlushRecord
from tsdb.reader import TsdbReader
from tsdb.samples import Match, Matcher
from tsdb.sqlite import SqliteBlocks

DAY = NOW_MS // DAY_MS


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[SqliteBlocks]:
    store = SqliteBlocks(tmp_path / "tsdb")
    yield store
    store.close()


def sink_on(blocks: SqliteBlocks, writer: str = "w") -> SampleSink:
    return SampleSink(blocks, writer_schemas(), writer)


def changed(record: Record, body: bytes | None = None, **headers: bytes) -> Record:
    kept = tuple((k, headers.get(k.removeprefix("hg."), v)) for k, v in record.headers)
    if body is not None:
        kept = tuple(pair for pair in kept if pair[0] != "hg.crc32c")
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.append_time_ms,
        kept,
        record.body if body is None else body,
    )


def cut_of(*records: Record) -> Cut:
    where = TopicPartition(contracts.METRICS_TOPIC, 0)
    return Cut((Range(where, "log-1", 0, 100),), records, {})


def test_it_is_the_sink_of_the_metrics_topic(blocks: SqliteBlocks) -> None:
    sink = sink_on(blocks)
    assert (sink.name, sink.topics) == ("tsdb", (contracts.METRICS_TOPIC,))
    assert (sink.limits.age_s, sink.limits.first_age_s) == (15.0, 1.0)
    assert sink.resume("log-1", TopicPartition(contracts.METRICS_TOPIC, 0)) is None
    sink.close()


def test_each_bad_record_is_a_fault_with_its_reason_and_the_rest_is_stored(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    good = [log.append(layout(t), NOW_MS, [1.0] * 6) for t in ("a", "b")]
    other = MetricLog().append(layout("c"), NOW_MS, [2.0] * 6)
    bad = {
        "crc_mismatch": changed(other, crc32c=b"\0\0\0\0"),
        "not_avro": changed(other, body=other.body[:-4]),
        "layout_mismatch": changed(other, body=other.body[:22] + b"\xff" * 16 + other.body[38:]),
        "bad_headers": changed(other, tenant=b"\xff"),
    }
    written = sink_on(blocks).write(cut_of(good[0], *bad.values(), good[1]))
    assert {fault.reason for fault in written.faults} == set(bad)
    assert all(fault.record is bad[fault.reason] for fault in written.faults)
    assert written.items == 12
    assert read_all(TsdbReader(blocks)) == log.expected


def test_a_frame_of_something_else_is_a_fault(blocks: SqliteBlocks) -> None:
    record = changed(MetricLog().append(layout("a"), NOW_MS, [1.0] * 6), body=b"hello")
    short = changed(record, body=b"")
    assert [f.reason for f in sink_on(blocks).write(cut_of(record, short)).faults] == ["not_avro", "not_avro"]


def test_a_schema_that_the_registry_lacks_is_tried_again_before_it_is_a_fault(blocks: SqliteBlocks) -> None:
    record = MetricLog().append(layout("a"), NOW_MS, [1.0] * 6)
    unknown = changed(record, body=b"\0\0\0\0\7" + record.body[5:], schema=b"\7" * 16)
    with pytest.raises(StoreUnavailableError):
        sink_on(blocks).write(cut_of(unknown))


@pytest.mark.parametrize(
    ("ahead_ms", "reason"),
    [(DAY_MS + 1, "too_new"), (-40 * DAY_MS - 1, "too_late"), (2**62, "too_new"), (-(2**62), "too_late")],
)
@pytest.mark.parametrize("offsets", [[], [0, 0, 0, 0, 0, 1]])
def test_time_is_judged_by_the_append_time(
    blocks: SqliteBlocks, ahead_ms: int, reason: str, offsets: list[int]
) -> None:
    stamp = NOW_MS + ahead_ms + (-2 if offsets and reason == "too_late" else 0)
    late = changed(MetricLog().append(layout("a"), 0, [1.0] * 6, offsets))
    body = _with_timestamp(late.body, stamp)
    written = sink_on(blocks).write(cut_of(changed(late, body=body)))
    assert [f.reason for f in written.faults] == [reason]
    assert written.items == 0
    assert read_all(TsdbReader(blocks)) == {}


def test_at_the_limits_samples_are_stored(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    for stamp in (NOW_MS + DAY_MS, NOW_MS - 40 * DAY_MS):
        log.append(layout("a"), stamp, [1.0] * 6)
    assert sink_on(blocks).write(log.cut(0, 2)).faults == ()
    assert read_all(TsdbReader(blocks)) == log.expected


def test_of_a_batch_with_stamps_of_its_own_only_the_odd_samples_are_faults(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    offsets = [0, -DAY_MS, -2 * DAY_MS, 5, 6, 7]
    record = log.append(layout("a"), NOW_MS - 39 * DAY_MS, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], offsets)
    written = sink_on(blocks).write(cut_of(record))
    assert [(f.reason, f.indexes) for f in written.faults] == [("too_late", (2,))]
    assert written.items == 5
    gone = NOW_MS - 41 * DAY_MS
    assert read_all(TsdbReader(blocks)) == {key: v for key, v in log.expected.items() if key[1] != gone}


def test_what_falls_into_a_retired_day_is_expired(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    log.append(layout("a"), NOW_MS - 5 * DAY_MS, [1.0] * 6)
    log.append(layout("a"), NOW_MS, [2.0] * 6)
    log.append(layout("a"), NOW_MS - 4 * DAY_MS, [3.0] * 6, [0, 0, 0, -DAY_MS, 0, 0])
    blocks.retire(DAY - 5)
    written = sink_on(blocks).write(log.cut(0, 3))
    assert [(f.reason, f.indexes) for f in written.faults] == [("expired", ()), ("expired", (3,))]
    assert written.items == 11
    found = read_all(TsdbReader(blocks))
    assert found == {key: value for key, value in log.expected.items() if key[1] // DAY_MS != DAY - 5}


def test_a_cut_of_nothing_but_a_replay_changes_nothing(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    for i in range(4):
        log.append(layout("a"), NOW_MS + i, [float(i)] * 6)
    sink_on(blocks).write(log.cut(0, 4))
    before = [r.block for r in blocks.rows("default", DAY, ["s/0"], 0, 1 << 40)]
    sink_on(blocks).write(log.cut(0, 4))
    assert [r.block for r in blocks.rows("default", DAY, ["s/0"], 0, 1 << 40)] == before


def test_flush_records_cover_every_offset_and_hold_what_the_rows_hold(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    for i in range(6):
        log.append(layout("a"), NOW_MS + i * DAY_MS // 4, [float(i)] * 6, append_time_ms=NOW_MS + i * DAY_MS // 4)
    sink = sink_on(blocks)
    sink.write(log.cut(0, 2))
    sink.write(log.cut(2, 2))
    sink.write(log.cut(2, 6))
    records = [record for day in blocks.days() for record in blocks.flush_records(day)]
    ranges = sorted((r.source.ranges[0].first, r.source.ranges[0].next) for r in records)
    assert ranges == [(0, 2), (2, 2), (2, 6)]
    assert sum(row.samples for record in records for row in record.rows) == 36


def test_the_flush_hash_does_not_depend_on_the_cut_or_the_path(tmp_path: Path) -> None:
    log = MetricLog()
    for i in range(4):
        log.append(layout("ab"[i % 2]), NOW_MS + i, [i + 0.5] * 6, [0] * 6 if i == 3 else [])
    sums = []
    for turn, cuts in enumerate(([(0, 4)], [(0, 1), (1, 3), (3, 4)], [(0, 2), (2, 4)])):
        blocks = SqliteBlocks(tmp_path / str(turn))
        sink = sink_on(blocks)
        for first, following in cuts:
            sink.write(log.cut(first, following))
        rows = [row for record in blocks.flush_records(DAY) for row in record.rows]
        sums.append((sum(row.samples for row in rows), sum(row.hash_sum for row in rows) % 2**64))
        blocks.close()
    assert len(set(sums)) == 1


class Narrow:
    """A block store that takes rows of so many samples at most."""

    def __init__(self, blocks: SqliteBlocks, samples_max: int) -> None:
        self._blocks = blocks
        self._samples_max = samples_max

    def write(self, flush: DayFlush) -> None:
        widest = max((row.samples for row in flush.rows), default=0)
        if widest > self._samples_max:
            raise RowTooLargeError("a row", widest, self._samples_max)
        self._blocks.write(flush)

    def __getattr__(self, name: str) -> object:
        return getattr(self._blocks, name)


@pytest.mark.parametrize("messages_per_row", [1, 2, 5])
def test_a_row_too_large_is_cut_at_the_log_and_nothing_is_stored_twice(
    blocks: SqliteBlocks, messages_per_row: int
) -> None:
    log = MetricLog()
    for i in range(11):
        log.append(layout("a"), NOW_MS + i, [float(i)] * 6)
    narrow = cast(SqliteBlocks, Narrow(blocks, 6 * messages_per_row))
    whole = Cut((Range(TopicPartition(contracts.METRICS_TOPIC, 0), "log-1", 0, 12),), log.records, {})
    for _ in range(2):
        assert sink_on(narrow).write(whole).items == 66
    assert read_all(TsdbReader(blocks)) == log.expected
    ranges = sorted({(r.source.ranges[0].first, r.source.ranges[0].next) for r in blocks.flush_records(DAY)})
    assert ranges[0][0] == 0 and ranges[-1][1] == 12
    assert [following for _, following in ranges[:-1]] == [first for first, _ in ranges[1:]]


def test_a_message_that_is_too_large_alone_is_the_stores_fault(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    with pytest.raises(StoreUnavailableError, match="cut the log's range shorter"):
        sink_on(cast(SqliteBlocks, Narrow(blocks, 5))).write(log.cut(0, 1))


def test_a_batch_without_series_is_nothing(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    log.append(Layout.of([]), NOW_MS, [])
    assert sink_on(blocks).write(log.cut(0, 1)).items == 0
    assert len(blocks.flush_records(DAY)) == 1
    assert read_all(TsdbReader(blocks)) == {}


def test_tenants_are_apart(blocks: SqliteBlocks) -> None:
    log, other = MetricLog(), MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    other.append(layout("a"), NOW_MS, [2.0] * 6, tenant="other")
    sink_on(blocks).write(cut_of(*log.records, *other.records))
    assert read_all(TsdbReader(blocks)) == log.expected
    assert read_all(TsdbReader(blocks), "other") == other.expected
    assert read_all(TsdbReader(blocks), "none") == {}


class Failing:
    """A block store that fails at the n-th call, before or after the call took effect."""

    def __init__(self, blocks: SqliteBlocks, at: int, after: bool) -> None:
        self._blocks = blocks
        self._left = at
        self._after = after

    def _call(self, act: object, *args: object) -> object:
        assert callable(act)
        self._left -= 1
        if self._left == 0 and not self._after:
            raise BlocksUnavailableError("away")
        answer: object = act(*args)
        if self._left == 0:
            raise BlocksUnavailableError("the answer was lost")
        return answer

    def __getattr__(self, name: str) -> object:
        act = getattr(self._blocks, name)
        return lambda *args: self._call(act, *args)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_failure_at_any_call_is_mended_by_the_same_cut_again(blocks: SqliteBlocks, at: int, after: bool) -> None:
    log = MetricLog()
    for i in range(4):
        log.append(layout("ab"[i % 2]), NOW_MS + i * DAY_MS // 3, [float(i)] * 6)
    sink = SampleSink(Failing(blocks, at, after), writer_schemas(), "w")  # type: ignore[arg-type]
    failed = 0
    for first, following in ((0, 2), (2, 4)):
        while True:
            try:
                assert sink.write(log.cut(first, following)).items == 12
                break
            except StoreUnavailableError:
                failed += 1
    assert failed == 1
    assert read_all(TsdbReader(blocks)) == log.expected


def test_a_store_that_was_emptied_is_filled_again_whole(blocks: SqliteBlocks, tmp_path: Path) -> None:
    log = MetricLog()
    for i in range(2):
        log.append(layout("a"), NOW_MS + i, [float(i)] * 6)
    sink = sink_on(blocks)
    sink.write(log.cut(0, 1))
    for path in (tmp_path / "tsdb").iterdir():
        path.unlink()
    with pytest.raises(StoreUnavailableError):
        sink.write(log.cut(1, 2))
    sink.write(log.cut(1, 2))
    assert read_all(TsdbReader(blocks)) == {key: v for key, v in log.expected.items() if key[1] == NOW_MS + 1}


def test_resource_attributes_become_target_info(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    resource = {
        "service.name": "shop",
        "service.namespace": "eu",
        "service.instance.id": "i1",
        "host.name": "h",
        "9p": "x",
    }
    for i in range(3):
        log.append(layout("ab"[i % 2]), NOW_MS + i // 2, [1.0] * 6, resource=resource)
    written = sink_on(blocks).write(log.cut(0, 3))
    assert written.items == 18
    info = [Matcher("__name__", Match.EQUAL, "target_info")]
    found = read_all(TsdbReader(blocks), matchers=info)
    labels = (("__name__", "target_info"), ("host_name", "h"), ("instance", "i1"), ("job", "eu/shop"), ("key_9p", "x"))
    assert sorted(found) == [(labels, NOW_MS), (labels, NOW_MS + 1)]


def test_the_record_of_a_flush_comes_after_all_its_rows(blocks: SqliteBlocks) -> None:
    calls: list[str] = []

    class Watched(SqliteBlocks):
        def write(self, flush: DayFlush) -> None:
            calls.append("write")
            super().write(flush)

        def record(self, day: int, flush: FlushRecord) -> None:
            calls.append("record")
            super().record(day, flush)

    log = MetricLog()
    for i in range(2):
        log.append(layout("a"), NOW_MS + i * DAY_MS, [1.0] * 6)
    watched = Watched(Path(blocks._files._root))
    SampleSink(watched, writer_schemas(), "w").write(log.cut(0, 2))
    watched.close()
    assert calls == ["write", "write", "record"]


def _with_timestamp(body: bytes, timestamp_ms: int) -> bytes:
    """The message with another timestamp (of one byte before: 0)."""
    from heliograph.framing import zigzag

    at = 5 + 16 + 1 + 16
    assert body[at] == 0
    return body[:at] + zigzag(timestamp_ms) + body[at + 1 :]
