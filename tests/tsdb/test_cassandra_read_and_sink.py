"""The reader's and the sink's own tests, unchanged, over Cassandra: what they call SqliteBlocks is a key space of the node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sinks.port import StoreUnavailableError as SinkUnavailableError
from sinks.samples import SampleSink
from tests.servers.cassandra import cassandra
from tests.sinks import test_samples
from tests.tsdb import test_columns_not_records, test_read_equals_log, test_reader
from tsdb.cassandra import CassandraBlocks
from tsdb.errors import CorruptBlockError, StoreUnavailableError
from tsdb.port import Manifest, MergedWindow, Version
from tsdb.reader import TsdbReader

from .metric_log import DAY_MS, NOW_MS, MetricLog, layout, read_all, writer_schemas

DAY = NOW_MS // DAY_MS
WINDOW = NOW_MS // 1_800_000
OF_FILES = {
    "test_damage_is_an_error_never_a_partial_answer",
    "test_a_store_that_was_emptied_is_filled_again_whole",
    "test_the_record_of_a_flush_comes_after_all_its_rows",
    "test_reading_calls_nothing_per_sample",
}
"""Tests that reach into SQLite's files, whose like stand below; and one that counts lines, which vary with how long a thread waits."""


def _tests_of(module: ModuleType) -> dict[str, object]:
    return {name: test for name, test in vars(module).items() if name.startswith("test_") and name not in OF_FILES}


globals().update(_tests_of(test_reader))
globals().update(_tests_of(test_read_equals_log))
globals().update(_tests_of(test_columns_not_records))
globals().update(_tests_of(test_samples))


class TestMergedVersions(test_reader.TestMergedVersions):
    """See there."""

    test_a_damaged_version_is_an_error = None  # type: ignore[assignment]


def _space_of(folder: Path) -> str:
    return hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()


def _blocks_in(folder: Path) -> CassandraBlocks:
    return CassandraBlocks(cassandra().settings(space=_space_of(folder)))


@pytest.fixture(scope="module", autouse=True)
def _cassandra_for_sqlite() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (test_reader, test_read_equals_log, test_columns_not_records, test_samples):
            patch.setattr(module, "SqliteBlocks", _blocks_in)
        yield


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[CassandraBlocks]:
    store = _blocks_in(tmp_path / "tsdb")
    yield store
    store.close()


@pytest.fixture
def filled(blocks: CassandraBlocks) -> MetricLog:
    log = MetricLog()
    log.append(layout("a"), NOW_MS, [1.0] * 6)
    SampleSink(blocks, writer_schemas(), "w").write(log.cut(0, 1))
    return log


def test_a_damaged_row_is_an_error_never_a_partial_answer(filled: MetricLog, tmp_path: Path) -> None:
    node, space = cassandra(), _space_of(tmp_path / "tsdb")
    with node.session() as session:
        key = (space, "default", WINDOW, 0, "s/0")
        where = "space = %s AND tenant = %s AND window = %s AND slot = %s AND bucket = %s"
        (row,) = session.execute(f"SELECT log_id, ranges, writer, data FROM l0 WHERE {where}", key)
        data = row.data[:-3] + bytes([row.data[-3] ^ 0xFF]) + row.data[-2:]
        put = "INSERT INTO l0 (space, tenant, window, slot, bucket, log_id, ranges, writer, data) VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s)"
        session.execute(put, (*key, row.log_id, row.ranges, row.writer, data))
    with pytest.raises(StoreUnavailableError, match="damaged"):
        read_all(TsdbReader(_blocks_in(tmp_path / "tsdb")))


def test_a_set_that_is_gone_although_a_row_refers_to_it_is_an_error(
    blocks: CassandraBlocks, filled: MetricLog, tmp_path: Path
) -> None:
    (row,) = blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)
    with cassandra().session() as session:
        where = "space = %s AND day = %s AND hash = %s"
        session.execute(f"DELETE FROM sets WHERE {where}", (_space_of(tmp_path / "tsdb"), DAY, row.set_hash))
    with pytest.raises(CorruptBlockError, match="missing"):
        blocks.series_set(DAY, row.set_hash)
    with pytest.raises(StoreUnavailableError, match="damaged"):
        read_all(TsdbReader(blocks))


@pytest.mark.parametrize("gone", [True, False])
def test_a_merged_row_that_is_gone_or_damaged_is_an_error(blocks: CassandraBlocks, tmp_path: Path, gone: bool) -> None:
    version = Version("v", b"h" * 16, 1, 0)
    manifest = Manifest("default", DAY, "m", 0, 1, (version,), {WINDOW: MergedWindow("v", ())})
    assert blocks.merge(manifest, {"v": b"a block"}, [])
    assert blocks.merged("default", DAY, ["v"]) == {"v": b"a block"}
    key = (_space_of(tmp_path / "tsdb"), "default", DAY, "v")
    with cassandra().session() as session:
        if gone:
            session.execute("DELETE FROM merged WHERE space = %s AND tenant = %s AND day = %s AND version = %s", key)
        else:
            session.execute(
                "INSERT INTO merged (space, tenant, day, version, data) VALUES (%s,%s,%s,%s,%s)", (*key, b"1234a bloc")
            )
    with pytest.raises(CorruptBlockError):
        blocks.merged("default", DAY, ["v"])


def test_a_store_that_was_emptied_is_filled_again_whole(tmp_path: Path) -> None:
    space = _space_of(tmp_path)
    blocks = CassandraBlocks(cassandra().settings(space=space, recheck_s=0.0))
    log = MetricLog()
    for i in range(2):
        log.append(layout("a"), NOW_MS + i, [float(i)] * 6)
    sink = SampleSink(blocks, writer_schemas(), "w")
    sink.write(log.cut(0, 1))
    with cassandra().session() as session:
        session.execute("DELETE FROM days WHERE space = %s", (space,))
        for table in ("sets", "metric_sets", "directory", "catalog", "l0", "flushes"):
            session.execute(f"TRUNCATE {table}")
    with pytest.raises(SinkUnavailableError, match="lacks series sets"):
        sink.write(log.cut(1, 2))
    sink.write(log.cut(1, 2))
    assert read_all(TsdbReader(blocks)) == {key: v for key, v in log.expected.items() if key[1] == NOW_MS + 1}
    blocks.close()
