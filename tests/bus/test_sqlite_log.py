"""Reading a log whose beginning goes away meanwhile, and how the file is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import OffsetGapError
from bus.port import TopicPartition
from bus.sqlite import SqliteBus
from bus.sqlite_file import connect, pragma, query, transaction
from bus.sqlite_log import LogReader
from bus.sqlite_retention import drop_some
from heliograph.message import Message

_T0 = TopicPartition("t", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one log of six messages in chunks of two."""
    path = tmp_path / "bus.db"
    bus = SqliteBus(path, clock_ms=lambda: 1000)
    bus.create_topics({"t": 1})
    for i in range(0, 6, 2):
        bus.produce([Message("t", 0, (), f"{n}".encode()) for n in (i, i + 1)])
    bus.close()
    return path


def test_a_read_from_within_a_chunk_starts_there(path: Path) -> None:
    connection = connect(path)
    reader = LogReader(connection)
    assert [r.offset for r in reader.read(_T0, 1, 3, 10**6)] == [3, 4, 5]
    assert [r.offset for r in reader.read(_T0, 1, 1, 2)] == [1, 2]
    assert reader.read(_T0, 1, 6, 10**6) == []
    connection.close()


def test_messages_that_go_between_two_reads_are_a_gap_not_a_skip(path: Path) -> None:
    connection = connect(path)
    reader = LogReader(connection)
    assert [r.offset for r in reader.read(_T0, 1, 0, 2)] == [0, 1]
    query(connection, "DELETE FROM chunk WHERE id <= ?", (1 << 40 | 3,))
    with pytest.raises(OffsetGapError) as caught:
        reader.read(_T0, 1, 2, 10**6)
    assert (caught.value.expected, caught.value.log_start) == (2, 4)
    connection.close()


def test_retention_drops_whole_chunks_and_says_where_the_log_starts(path: Path) -> None:
    connection = connect(path)
    query(connection, "UPDATE chunk SET append_time_ms = 10 WHERE id <= ?", (1 << 40 | 3,))
    with transaction(connection):
        assert drop_some(connection, 1, 10) == 0
        assert drop_some(connection, 1, 11) == 4
        assert drop_some(connection, 1, 11) == 0
    held = LogReader(connection).ranges([1])[1]
    assert (held.start, held.next) == (4, 6)
    connection.close()


def test_the_file_is_kept_durably_and_can_shrink(path: Path) -> None:
    connection = connect(path)
    assert query(connection, "PRAGMA journal_mode") == [("wal",)]
    assert (pragma(connection, "synchronous"), pragma(connection, "auto_vacuum")) == (2, 2)
    connection.close()
