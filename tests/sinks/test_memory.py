from __future__ import annotations

import pytest

from bus.port import Record, TopicPartition
from sinks.memory import MemorySink
from sinks.port import Cut, CutLimits, Range, StoreUnavailableError

WHERE = TopicPartition("t", 0)
LIMITS = CutLimits(age_s=1.0, first_age_s=1.0, bytes_max=1)


def cut(*offsets: int) -> Cut:
    records = [Record("t", 0, offset, 0, (), b"%d" % offset) for offset in offsets]
    return Cut((Range(WHERE, "log", offsets[0], offsets[-1] + 1),), records, {})


def test_a_reader_sees_a_message_once_whatever_came_twice() -> None:
    sink = MemorySink(LIMITS)
    assert (sink.write(cut(0, 1)).duplicates, sink.write(cut(1, 2)).duplicates) == (0, 1)
    assert [offset for _, _, offset in sink.records] == [0, 1, 2]


def test_a_fault_is_returned_and_not_stored() -> None:
    sink = MemorySink(LIMITS, lambda record: ("not_avro", "a test") if record.offset == 1 else None)
    written = sink.write(cut(0, 1))
    assert [(f.record.offset, f.reason) for f in written.faults] == [(1, "not_avro")]
    assert (written.items, len(sink.records)) == (1, 1)


def test_a_store_that_is_away_says_so_and_keeps_nothing() -> None:
    sink = MemorySink(LIMITS)
    sink.unavailable = "down"
    with pytest.raises(StoreUnavailableError, match="down"):
        sink.write(cut(0))
    with pytest.raises(StoreUnavailableError, match="down"):
        sink.resume("log", WHERE)
    assert not sink.records


def test_the_store_resumes_only_when_told_to() -> None:
    sink = MemorySink(LIMITS)
    sink.write(cut(0, 1))
    assert sink.resume("log", WHERE) is None
    sink.store_resumes = True
    assert (sink.resume("log", WHERE), sink.resume("other", WHERE)) == (2, 0)
