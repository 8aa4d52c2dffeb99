"""The embedded block store: its contract, and what files do to it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.contracts.block_store_suite import DAY, WINDOW, BlockStoreSuite, entry, flush, row, source
from tests.tsdb.metric_log import NOW_MS, MetricLog, layout, read_all
from tsdb.errors import StoreUnavailableError
from tsdb.port import RetiredDayError
from tsdb.reader import TsdbReader
from tsdb.sqlite import SqliteBlocks

FILE = "day-20261213.db"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteBlocks]:
    blocks = SqliteBlocks(tmp_path / "tsdb")
    yield blocks
    blocks.close()


class TestSqliteBlocks(BlockStoreSuite):
    """The contract."""


def test_a_day_is_a_wal_file_of_full_safety(store: SqliteBlocks, tmp_path: Path) -> None:
    store.write(flush(row()))
    path = tmp_path / "tsdb" / FILE
    assert sorted(p.name for p in path.parent.iterdir() if p.suffix == ".db") == [FILE]
    db = apsw.Connection(str(path))
    assert (db.pragma("journal_mode"), db.pragma("page_size"), db.pragma("auto_vacuum")) == ("wal", 16384, 2)
    db.close()


def test_another_handle_sees_rows_at_once(store: SqliteBlocks, tmp_path: Path) -> None:
    reader = SqliteBlocks(tmp_path / "tsdb")
    store.write(flush(row()))
    assert len(reader.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 1
    store.write(flush(row(), of=source(10, 20)))
    assert len(reader.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 2
    reader.close()


@pytest.mark.parametrize(
    ("kept_bytes", "noise"), [(0, b"this is no database"), (100, b"noise"), (16384, b"noise"), (0, b"")]
)
def test_a_corrupt_file_is_set_aside_by_the_writer(
    store: SqliteBlocks, tmp_path: Path, caplog: pytest.LogCaptureFixture, kept_bytes: int, noise: bytes
) -> None:
    store.write(flush(row()))
    store.close()
    path = tmp_path / "tsdb" / FILE
    path.write_bytes(path.read_bytes()[:kept_bytes] + noise * 50_000)
    with pytest.raises(StoreUnavailableError):
        store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)
    with caplog.at_level(logging.ERROR), pytest.raises(StoreUnavailableError):
        store.write(flush(row()))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "set aside" in caplog.text
    assert (path.parent / f"{FILE}.corrupt-1").exists()
    store.write(flush(row()))
    assert len(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 1


def test_a_reader_follows_when_the_file_is_replaced(store: SqliteBlocks, tmp_path: Path) -> None:
    reader = SqliteBlocks(tmp_path / "tsdb")
    store.write(flush(row(block=b"old")))
    assert reader.rows("default", DAY, ["s/0"], WINDOW, WINDOW)[0].block == b"old"
    for path in (tmp_path / "tsdb").iterdir():
        path.unlink()
    store.write(flush(row(block=b"new")))
    assert [r.block for r in reader.rows("default", DAY, ["s/0"], WINDOW, WINDOW)] == [b"new"]
    reader.close()


def test_a_writer_that_holds_the_file_open_meets_the_mark(store: SqliteBlocks, tmp_path: Path) -> None:
    store.write(flush(row()))
    SqliteBlocks(tmp_path / "tsdb").retire(DAY)
    with pytest.raises(RetiredDayError):
        store.write(flush(row(), of=source(10, 20)))
    assert [p.name for p in (tmp_path / "tsdb").iterdir()] == ["day-20261213.retired"]


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "tsdb").write_text("a file in the way")
    blocks = SqliteBlocks(tmp_path / "tsdb")
    with pytest.raises(StoreUnavailableError):
        blocks.write(flush(row()))
    with pytest.raises(StoreUnavailableError):
        blocks.claim("default", DAY, [entry("cpu")])
    with pytest.raises(StoreUnavailableError):
        blocks.retire(DAY)


def test_a_locked_file_is_unavailable_not_lost(
    store: SqliteBlocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsdb.day_files._BUSY_TIMEOUT_MS", 1)
    store.write(flush(row()))
    store.close()
    other = apsw.Connection(str(tmp_path / "tsdb" / FILE))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        store.write(flush(row(), of=source(10, 20)))
    other.execute("ROLLBACK")
    other.close()
    store.write(flush(row(), of=source(10, 20)))
    assert len(store.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    blocks = SqliteBlocks(mount / "tsdb")
    try:
        blocks.write(flush(row()))
        with pytest.raises(StoreUnavailableError):
            blocks.write(flush(row(block=os.urandom(4_000_000)), of=source(10, 20)))
        assert len(blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 1
    finally:
        blocks.close()
        subprocess.run(["umount", mount], check=True)


_WRITER = """
import sys
from pathlib import Path
from tests.contracts.block_store_suite import flush, row, source
from tsdb.sqlite import SqliteBlocks
blocks = SqliteBlocks(Path(sys.argv[1]))
for i in range(100_000):
    blocks.write(flush(*(row(bucket=f"s/{k}", block=bytes([i % 256]) * 5000) for k in range(20)), of=source(i, i + 1)))
    print(i, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 25])
def test_what_a_killed_writer_acknowledged_is_there_whole(tmp_path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / "tsdb")], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(acknowledged):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    blocks = SqliteBlocks(tmp_path / "tsdb")
    rows = blocks.rows("default", DAY, [f"s/{k}" for k in range(20)], WINDOW, WINDOW)
    flushes = {r.source.ranges[0].first for r in rows}
    assert flushes.issuperset(range(acknowledged))
    assert len(rows) == 20 * len(flushes)
    blocks.write(flush(row(), of=source(10**6, 10**6 + 1)))
    blocks.close()


_RACER = """
import sys
from pathlib import Path
from tests.contracts.block_store_suite import DAY, entry, flush, row, source
from tsdb.sqlite import SqliteBlocks
blocks = SqliteBlocks(Path(sys.argv[1]))
sys.stdin.readline()
print(blocks.claim("default", DAY, [entry("cpu", "s/" + sys.argv[2])])["cpu"].bucket, flush=True)
for i in range(20):
    blocks.write(flush(row(), of=source(i, i + 1, writer=sys.argv[2])))
"""


def test_processes_that_make_the_same_day_at_once_share_one_file(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _RACER, str(tmp_path / "tsdb")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*arguments, str(i)], **pipes) for i in range(3)]  # type: ignore[call-overload]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    answers = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(set(answers)) == 1
    blocks = SqliteBlocks(tmp_path / "tsdb")
    assert len(blocks.rows("default", DAY, ["s/0"], WINDOW, WINDOW)) == 60
    assert [p.name for p in (tmp_path / "tsdb").iterdir() if p.suffix in (".db", ".new")] == [FILE]
    blocks.close()


_SINK = """
import sys
from pathlib import Path
from sinks.samples import SampleSink
from tests.tsdb.metric_log import NOW_MS, MetricLog, layout, writer_schemas
from tsdb.sqlite import SqliteBlocks
sink = SampleSink(SqliteBlocks(Path(sys.argv[1])), writer_schemas(), sys.argv[2])
log = MetricLog()
for i in range(400):
    log.append(layout("abc"[i % 3]), NOW_MS + i * 1000, [float(i + k) for k in range(6)])
first = int(sys.argv[3])
while first < 400:
    following = min(first + 3, 400)
    sink.write(log.cut(first, following))
    print(following, flush=True)
    first = following
"""


def test_a_sink_killed_again_and_again_loses_nothing_and_shows_nothing_twice(tmp_path: Path) -> None:
    log = MetricLog()
    for i in range(400):
        log.append(layout("abc"[i % 3]), NOW_MS + i * 1000, [float(i + k) for k in range(6)])
    committed, turn = 0, 0
    while committed < 60:
        turn += 1
        arguments = [sys.executable, "-c", _SINK, str(tmp_path / "tsdb"), f"writer-{turn}", str(committed)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(4 + turn % 2):
                committed = int(child.stdout.readline())
            child.kill()
        found = read_all(TsdbReader(SqliteBlocks(tmp_path / "tsdb")))
        assert found.items() <= log.expected.items()
        assert {stamp for _, stamp in found} >= {NOW_MS + i * 1000 for i in range(committed)}
