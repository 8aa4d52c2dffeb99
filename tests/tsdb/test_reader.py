"""Selection by matchers, metadata, merged versions, and damage."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.metrics import Layout, Series
from sinks.samples import SampleSink
from tsdb.errors import StoreUnavailableError
from tsdb.l0 import L0Block, decode_l0, encode_l0
from tsdb.label_columns import LabelColumns
from tsdb.matching import select
from tsdb.port import Absorbed, Manifest, MergedWindow, NewSet, Version
from tsdb.reader import TsdbReader
from tsdb.samples import Labels, Match, Matcher, MetricMetadata
from tsdb.series_set import decode_set, encode_set
from tsdb.sqlite import SqliteBlocks

from .metric_log import DAY_MS, NOW_MS, MetricLog, layout, read_all, samples, writer_schemas

DAY = NOW_MS // DAY_MS
WINDOW = NOW_MS // 1_800_000


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[SqliteBlocks]:
    store = SqliteBlocks(tmp_path / "tsdb")
    yield store
    store.close()


def fill(blocks: SqliteBlocks, log: MetricLog, cuts: int = 1) -> None:
    sink = SampleSink(blocks, writer_schemas(), "w")
    size = -(-len(log.records) // cuts)
    for first in range(0, len(log.records), size):
        assert not sink.write(log.cut(first, min(first + size, len(log.records)))).faults


TEXT = st.sampled_from(("", "a", "b", "ab", "a\nb", "10.5", "a|b", "é"))
LABELS = st.dictionaries(st.sampled_from(("job", "x", "__name__")), TEXT.filter(bool)).map(
    lambda d: tuple(sorted(d.items()))
)
PATTERNS = st.sampled_from(
    ("", "a", "a|b", ".*", ".+", "a.*", "a.b", "[ab]+", "(?i)A", "a|", "1.*", r"10\.5", "a||b", "b.+")
)
MATCHERS = st.builds(
    lambda name, op, text, pattern: Matcher(name, op, text if op in (Match.EQUAL, Match.NOT_EQUAL) else pattern),
    st.sampled_from(("job", "x", "none", "__name__")),
    st.sampled_from(Match),
    TEXT,
    PATTERNS,
)


def naive(labels: Labels, matcher: Matcher) -> bool:
    value = dict(labels).get(matcher.name, "")
    if matcher.op is Match.EQUAL:
        return value == matcher.value
    if matcher.op is Match.NOT_EQUAL:
        return value != matcher.value
    found = re.fullmatch(matcher.value, value, re.DOTALL) is not None
    return found if matcher.op is Match.REGEX else not found


@settings(deadline=None)
@given(st.lists(LABELS, max_size=12), st.lists(MATCHERS, max_size=3))
def test_matchers_do_what_they_say(series: list[Labels], matchers: list[Matcher]) -> None:
    columns = LabelColumns.of(series)
    expected = [i for i, labels in enumerate(series) if all(naive(labels, m) for m in matchers)]
    assert select(columns, matchers).tolist() == expected
    assert columns.labels(np.arange(len(series))) == series


def test_a_pattern_that_is_none_is_the_callers_fault(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    fill(blocks, log)
    with pytest.raises(ValueError, match="regular expression"):
        TsdbReader(blocks).select("default", [Matcher("job", Match.REGEX, "(")], 0, NOW_MS)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(LABELS.filter(lambda labels: "__name__" in dict(labels)), min_size=1, max_size=20, unique=True),
    st.integers(0, 3),
)
def test_a_series_set_comes_back(series: list[Labels], groups: int) -> None:
    ids = np.arange(16 * len(series), dtype=np.uint8).reshape(-1, 16)
    sizes = [0] * groups + [len(series)]
    key, blob = encode_set(ids, np.arange(len(series), dtype=np.uint32), sizes, LabelColumns.of(series))
    held = decode_set(key, blob)
    assert held.ids.tobytes() == ids.tobytes()
    assert held.shard_hashes.tolist() == list(range(len(series)))
    assert held.groups.tolist() == [0] * (groups + 1) + [len(series)]
    assert held.labels.labels(np.arange(len(series))) == series
    assert set(held.metrics) == {dict(labels)["__name__"] for labels in series}


def test_series_names_and_values_of_labels(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    log.append(layout("b", 1, 2), NOW_MS + DAY_MS // 2, [1.0] * 2)
    fill(blocks, log)
    reader = TsdbReader(blocks)
    always = (0, NOW_MS + DAY_MS)
    assert reader.series("default", [], *always) == sorted({labels for labels, _ in log.expected})
    b = [Matcher("instance", Match.EQUAL, "b")]
    assert {dict(labels)["path"] for labels in reader.series("default", b, *always)} == {"/0", "/1"}
    assert reader.label_names("default", [], *always) == ["__name__", "instance", "job", "path"]
    assert reader.label_names("default", [Matcher("job", Match.EQUAL, "no")], *always) == []
    assert reader.label_values("default", "path", [], *always) == ["/0", "/1", "/2"]
    assert reader.label_values("default", "path", b, *always) == ["/0", "/1"]
    assert reader.label_values("default", "__name__", [], *always) == ["metric_0", "metric_1"]
    assert reader.label_values("default", "none", [], *always) == []
    assert reader.series("default", [], 0, NOW_MS - 2 * DAY_MS) == []
    two_names = [Matcher("__name__", Match.EQUAL, "metric_0"), Matcher("__name__", Match.EQUAL, "metric_1")]
    assert reader.series("default", two_names, *always) == []


def test_metadata_are_of_the_family(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    histogram = [
        Series(f"h{suffix}", (("job", "x"),), "histogram", "s", "how long", "h")
        for suffix in ("_bucket", "_count", "_sum")
    ]
    log.append(Layout.of([Series("a", (), "gauge", "By", "bytes"), *histogram]), NOW_MS, [1.0] * 4)
    fill(blocks, log)
    reader = TsdbReader(blocks)
    a, h = MetricMetadata("a", "gauge", "By", "bytes"), MetricMetadata("h", "histogram", "s", "how long")
    assert reader.metadata("default") == [a, h]
    assert reader.metadata("default", "h") == reader.metadata("default", "h_sum") == [h]
    assert reader.metadata("default", "none") == reader.metadata("other") == []


def test_a_large_metric_is_spread_over_buckets_and_read_whole(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    series = [Series("big", (("job", "x"), ("k", f"{k:05d}"))) for k in range(9000)]
    of = Layout.of([*series, Series("small", (("job", "x"),))])
    for i in range(3):
        log.append(of, NOW_MS + 15_000 * i, [float(k * (i + 1)) for k in range(9001)])
    fill(blocks, log, cuts=3)
    entries = {entry.metric: entry for entry in blocks.catalog("default", DAY, None)}
    assert entries["big"].shards == 9
    assert len(entries["big"].buckets) == 3
    assert entries["small"].buckets == ("s/0",)
    reader = TsdbReader(blocks)
    assert read_all(reader) == log.expected
    one = samples(
        reader.select(
            "default", [Matcher("__name__", Match.EQUAL, "big"), Matcher("k", Match.EQUAL, "00017")], 0, 1 << 50
        )
    )
    assert sorted(one.values()) == sorted(v for (labels, _), v in log.expected.items() if ("k", "00017") in labels)


def test_layouts_that_come_and_go_share_few_sets(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    layouts = [layout(f"t{i}") for i in range(10)]
    sink = SampleSink(blocks, writer_schemas(), "w")
    for turn in range(20):
        first = len(log.records)
        for i, of in enumerate(layouts):
            if turn == 0 or (turn + i) % 4:
                log.append(of, NOW_MS + 1000 * turn, [float(turn)] * 6)
        sink.write(log.cut(first, len(log.records)))
    rows = blocks.rows("default", DAY, ["s/0"], 0, 1 << 40)
    assert len(rows) == 20
    assert len({row.set_hash for row in rows}) == 1
    assert read_all(TsdbReader(blocks)) == log.expected


def test_a_restarted_writer_finds_the_same_set(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    targets = [layout(f"t{i}") for i in range(8)]
    for turn, order in enumerate((targets, targets[::-1], targets[3:] + targets[:3])):
        first = len(log.records)
        for of in order:
            log.append(of, NOW_MS + 1000 * turn, [float(turn)] * 6)
        SampleSink(blocks, writer_schemas(), f"w{turn}").write(log.cut(first, len(log.records)))
    assert len({row.set_hash for row in blocks.rows("default", DAY, ["s/0"], 0, 1 << 40)}) == 1
    assert read_all(TsdbReader(blocks)) == log.expected


def test_many_rows_are_read_by_several_threads_at_once(blocks: SqliteBlocks) -> None:
    log = MetricLog()
    for i in range(150):
        log.append(layout("a"), NOW_MS + i * 1000, [float(i)] * 6)
    fill(blocks, log, cuts=150)
    reader = TsdbReader(blocks)
    with ThreadPoolExecutor(4) as threads:
        assert all(found == log.expected for found in threads.map(lambda _: read_all(reader), range(8)))


def test_damage_is_an_error_never_a_partial_answer(blocks: SqliteBlocks, tmp_path: Path) -> None:
    import apsw

    log = MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    fill(blocks, log)
    db = apsw.Connection(str(next((tmp_path / "tsdb").glob("*.db"))))
    db.execute("UPDATE l0 SET data = CAST(substr(data, 1, 90) || x'ff' || substr(data, 92) AS BLOB)")
    with pytest.raises(StoreUnavailableError, match="damaged"):
        read_all(TsdbReader(blocks))
    db.execute("DELETE FROM sets")
    db.close()
    with pytest.raises(StoreUnavailableError, match="damaged"):
        read_all(TsdbReader(blocks))


class TestMergedVersions:
    """A version stands for the rows inside its absorbed intervals, for its own metric, shard and window only."""

    @pytest.fixture
    def log(self, blocks: SqliteBlocks) -> MetricLog:
        log = MetricLog()
        for i in range(4):
            log.append(layout("a"), NOW_MS + i * 1000, [10.0 * i + k for k in range(6)])
        fill(blocks, log, cuts=4)
        return log

    def merge(self, blocks: SqliteBlocks, rows: int, upto: int, generation: int = 1, mark: float = 0.0) -> None:
        """metric_0's first `rows` rows into one version that claims offsets [0, upto); `mark` is added to tell it apart."""
        found = sorted(blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW), key=lambda r: r.source.ranges[0].first)[
            :rows
        ]
        held = decode_set(found[0].set_hash, blocks.series_set(DAY, found[0].set_hash))
        at = select(held.labels, [Matcher("__name__", Match.EQUAL, "metric_0")])
        decoded = [decode_l0(row.block, held.groups) for row in found]
        series = held.labels.labels(at)
        key, blob = encode_set(held.ids[at], held.shard_hashes[at], [len(at)], LabelColumns.of(series))
        values = np.stack([block.values[at] for block in decoded]).T.ravel() + mark
        stamps = np.concatenate([block.stamps for block in decoded])
        block = encode_l0(L0Block(key, np.array([rows]), stamps, values), np.array([0, len(at)]))
        version = Version(f"v{generation}", key, len(values), zlib.crc32(block))
        window = MergedWindow(version.id, (Absorbed("log-1", 0, 0, upto),))
        manifest = Manifest("default", DAY, "metric_0", 0, generation, (version,), {WINDOW: window})
        new = NewSet("default", key, blob, ("metric_0",))
        assert blocks.merge(manifest, {version.id: block}, [new])

    def test_reading_is_the_same_after_a_merge(self, blocks: SqliteBlocks, log: MetricLog) -> None:
        self.merge(blocks, rows=3, upto=3)
        assert read_all(TsdbReader(blocks)) == log.expected

    def test_absorbed_rows_do_not_answer_for_their_metric(self, blocks: SqliteBlocks, log: MetricLog) -> None:
        self.merge(blocks, rows=3, upto=3, mark=-1000.0)
        found = read_all(TsdbReader(blocks))
        assert found.keys() == log.expected.keys()
        changed = {
            (dict(labels)["__name__"], stamp)
            for (labels, stamp), v in found.items()
            if v != log.expected[labels, stamp]
        }
        assert changed == {("metric_0", NOW_MS + i * 1000) for i in range(3)}

    def test_a_row_that_is_partly_inside_still_answers(self, blocks: SqliteBlocks, log: MetricLog) -> None:
        SampleSink(blocks, writer_schemas(), "zombie").write(log.cut(2, 4))
        self.merge(blocks, rows=3, upto=3, mark=-1000.0)
        found = read_all(TsdbReader(blocks))
        changed = {stamp for (labels, stamp), v in found.items() if v != log.expected[labels, stamp]}
        assert changed == {NOW_MS, NOW_MS + 1000}

    def test_a_damaged_version_is_an_error(self, blocks: SqliteBlocks, log: MetricLog, tmp_path: Path) -> None:
        import apsw

        self.merge(blocks, rows=4, upto=4)
        db = apsw.Connection(str(next((tmp_path / "tsdb").glob("*.db"))))
        db.execute("DELETE FROM merged")
        db.close()
        with pytest.raises(StoreUnavailableError):
            read_all(TsdbReader(blocks))
